"""The `threadmill` command. Each command, or group of commands, is a module of its own here.

What stays true: asking for help loads no database driver, no server and no model library; what the
caller or the operator can mend is printed on standard error without a traceback.
"""

import sys
from contextlib import suppress
from pathlib import Path

import threadmill_packages

__all__ = ["main"]

#: Exit status of a command that Ctrl-C ended, as shells have it.
INTERRUPTED = 130


def main() -> None:
    """Run the command that this process was started with, on our packages alone."""
    try:
        threadmill_packages.pin()
        # Modules of agents are found in this folder, as by `python -m threadmill` and by workers.
        with suppress(OSError):  # a folder that is gone has none
            sys.path.append(str(Path.cwd()))
        from threadmill.cli.command import run
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except ImportError as error:
        if error.name not in threadmill_packages.NAMES:
            raise
        sys.exit(f"threadmill: {error}")
    run()
