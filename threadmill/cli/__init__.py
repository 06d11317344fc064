"""The `threadmill` command. Each command, or group of commands, is a module of its own here.

What stays true: asking for help loads no database driver, no server and no model library; what the
caller or the operator can mend is printed on standard error without a traceback.
"""

from threadmill.cli.command import main

__all__ = ["main"]
