"""Files that commands write: whole, or not at all."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from conversation.errors import InvalidInput


@contextmanager
def write_atomically(output: Path) -> Iterator[IO[bytes]]:
    """Write a file beside `output` that replaces it once all is written, and is removed if that fails.

    Raises `InvalidInput` where none can be made.
    """
    temporary_path = output.with_name(f"{output.name}.part")
    try:
        file = temporary_path.open("wb")
    except OSError as error:
        problem = f"{str(output)!r} cannot be written ({error.strerror})"
        raise InvalidInput("output", problem, "name a file in a folder that you may write to") from None
    try:
        with file:
            yield file
        temporary_path.replace(output)
    finally:
        # A user's data must not stay behind in a file that no operator knows of.
        temporary_path.unlink(missing_ok=True)
