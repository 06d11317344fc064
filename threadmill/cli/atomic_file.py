"""Files that commands write: whole, or not at all."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from conversation.errors import InvalidInput


@contextmanager
def written_whole(output: Path) -> Iterator[IO[bytes]]:
    """A file beside `output` that takes its place once all is written, and is removed if that fails.

    Raises `InvalidInput` where none can be made.
    """
    unfinished = output.with_name(f"{output.name}.part")
    try:
        file = unfinished.open("wb")
    except OSError as error:
        problem = f"{str(output)!r} cannot be written ({error.strerror})"
        raise InvalidInput("output", problem, "name a file in a folder that you may write to") from None
    try:
        with file:
            yield file
        unfinished.replace(output)
    finally:
        # What is written of a person stays nowhere that nobody looks.
        unfinished.unlink(missing_ok=True)
