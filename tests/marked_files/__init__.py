"""Files with a marked word in every place where their format can keep text: a module of this package a format.

What stays true: each place is either shown by its reader or named as left out. A module has `build`, which
returns a `MarkedFile`, or several of them by name; whoever adds a format adds a module.
"""

import pkgutil
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module


@dataclass(frozen=True, slots=True)
class MarkedFile:
    """A file whose places each have a word of their own."""

    media_type: str
    content: bytes
    #: By the place (`a footnote`, `a cell of a nested table`): the kind that names it among what is left out;
    #: "" for a place that has to be shown. Its word is `mark_of(place)`.
    places: Mapping[str, str]


def mark_of(place: str) -> str:
    """The marked word of a place: letters alone, so that no reader takes it apart."""
    number, letters = zlib.crc32(place.encode()), ""
    for _ in range(7):
        number, letter = divmod(number, 26)
        letters += chr(ord("a") + letter)
    return f"zq{letters}"


def build_all() -> Mapping[str, MarkedFile]:
    """Build the files of each format, by the name of its module, and of the file where there are several."""
    files: dict[str, MarkedFile] = {}
    for name in sorted(module.name for module in pkgutil.iter_modules(__path__)):
        built: MarkedFile | Mapping[str, MarkedFile] = import_module(f"{__name__}.{name}").build()
        if isinstance(built, MarkedFile):
            files[name] = built
        else:
            files |= {f"{name}: {part}": file for part, file in built.items()}
    return files
