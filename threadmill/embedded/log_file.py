"""The log file of a program that writes to its standard output: it is kept short while the program goes on.

What stays true: a log and what is set aside of it are bounded. The program is not asked: it appends to whatever the
file has, so that the file is copied and emptied. A line that it writes between the two is lost.
"""

import shutil
from pathlib import Path

#: Bytes of a log above which it is set aside, as `NAME.1`.
LIMIT_BYTES = 5 * 1024 * 1024
#: Parts of a log that are set aside; the oldest has the highest number.
PARTS = 3


def rotate(log: Path) -> bool:
    """Set a log aside, if it has grown too long. Returns whether it was."""
    try:
        if log.stat().st_size <= LIMIT_BYTES:
            return False
    except FileNotFoundError:
        return False
    for number in range(PARTS - 1, 0, -1):
        if part_of(log, number).exists():
            part_of(log, number).replace(part_of(log, number + 1))
    shutil.copy2(log, part_of(log, 1))
    with log.open("ab") as file:
        file.truncate(0)
    return True


def parts_of(log: Path) -> list[Path]:
    """A log with what was set aside of it, the oldest first."""
    return [path for number in range(PARTS, 0, -1) if (path := part_of(log, number)).exists()] + [log]


def part_of(log: Path, number: int) -> Path:
    """The name of a part that was set aside."""
    return log.with_name(f"{log.name}.{number}")
