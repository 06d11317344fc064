"""The `threadmill` command. Each command, or group of commands, is a module of its own here.

What stays true: asking for help loads no database driver, no server and no model library; what the
caller or the operator can mend is printed on standard error without a traceback.
"""

import sys

__all__ = ["main"]

#: Exit status of a command that Ctrl-C ended, as shells have it.
INTERRUPTED = 130


def main() -> None:
    """Run the command that this process was started with."""
    try:
        from threadmill.cli.command import run
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    run()
