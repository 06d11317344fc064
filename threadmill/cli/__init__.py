"""The `threadmill` command. Each command, or group of commands, is a module of its own here.

What stays true: asking for help loads no database driver, no server and no model library; what the
caller or the operator can mend is printed on standard error without a traceback.
"""

import sys

import threadmill_packages

__all__ = ["main"]


def main() -> None:
    """Run the command that this process was started with, on our packages alone."""
    try:
        threadmill_packages.pin()
    except ImportError as error:
        sys.exit(f"threadmill: {error}")
    from threadmill.cli import command

    command.main()
