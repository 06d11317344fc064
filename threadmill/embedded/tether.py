"""A program that ties its life to its parent's, then becomes another program.

    python tether.py PARENT_PID SIGNAL_NUMBER PROGRAM [ARGUMENT ...]

Linux sends the signal when the thread that forked us ends, even by SIGKILL. It keeps that promise
across `exec`, except into a program that changes user. macOS has no such promise: there a child
outlives a killed parent, until the next owner of its folder stops it.

It is a program rather than a `preexec_fn`, because Python code between fork and exec can deadlock
in a process that has threads.
"""

import ctypes
import os
import sys

#: `PR_SET_PDEATHSIG` of <linux/prctl.h>.
SET_PARENT_DEATH_SIGNAL = 1


def main() -> None:
    """Ask for the signal first and check the parent afterwards, so that no death falls in between."""
    parent, signal_number, *program = sys.argv[1:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(SET_PARENT_DEATH_SIGNAL, int(signal_number), 0, 0, 0)
    if os.getppid() != int(parent):
        sys.exit("the owner of this program is gone")
    try:
        os.execvp(program[0], program)  # noqa: S606 - becoming another program is what this one is for
    except OSError as error:
        sys.exit(f"{program[0]}: {error.strerror}")


if __name__ == "__main__":
    main()
