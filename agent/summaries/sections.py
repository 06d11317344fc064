"""A summary in its sections: how a model writes it, and how a model reads it.

What stays true: equal sections give equal text; an entry is one line, and never cut; what a model wrote
is taken only if it has this shape.
"""

import json
import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from agent.summaries.salience import sentence_ends

#: Characters of one entry.
ENTRY_MAX_CHARS = 500
#: Characters that an entry takes beside its own, as models read it.
_ENTRY_CHARS = len("- \n")

#: As models read them.
_TITLES = {
    "facts": "Facts",
    "decisions": "Decisions",
    "open_tasks": "Open tasks",
    "preferences": "Preferences",
    "names": "Names",
    "numbers": "Numbers, ids and dates",
    "attachments": "Attachments",
}
#: Characters of all titles, and of what stands between sections.
_TITLES_CHARS = sum(len(f"{title}:\n\n") for title in _TITLES.values())
#: The sections whose entries are carried over from summary to summary.
PROTECTED = ("open_tasks", "preferences")
_FENCE = re.compile(r"```(?:json)?\s*\n(.*)\n\s*```", re.DOTALL)


class NotSections(ValueError):
    """A text is no summary in sections; the message says why, without quoting it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sections:
    """What somebody must know to go on with a conversation."""

    facts: tuple[str, ...] = ()
    decisions: tuple[str, ...] = ()
    #: What somebody still has to do.
    open_tasks: tuple[str, ...] = ()
    #: How somebody wants to be treated.
    preferences: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    numbers: tuple[str, ...] = ()
    attachments: tuple[str, ...] = ()

    @classmethod
    def from_json(cls, value: object) -> "Sections":
        """The sections out of JSON; those that are missing are empty. Raises `NotSections`."""
        if not isinstance(value, Mapping):
            raise NotSections("it is no JSON object")
        found = {name: entries_of(name, value.get(name)) for name in _TITLES}
        for name, entries in found.items():
            longest = max(map(len, entries), default=0)
            if longest > ENTRY_MAX_CHARS:
                raise NotSections(f"an entry of {name} has {longest} characters, and {ENTRY_MAX_CHARS} fit")
        return cls(**found)

    @classmethod
    def of_text(cls, text: str) -> "Sections":
        """A summary that is text alone, as facts: a line each, of a longer one its sentences, all of it."""
        return cls(facts=_lines(piece for each in text.splitlines() for piece in _pieces(each)))

    def to_json(self) -> dict[str, list[str]]:
        return {name: list(getattr(self, name)) for name in _TITLES}

    @property
    def is_empty(self) -> bool:
        return not any(getattr(self, field.name) for field in fields(self))

    def with_more(self, name: str, entries: Iterable[str]) -> "Sections":
        """With further entries in a section, those that stand there already once."""
        return replace(self, **{name: _lines((*getattr(self, name), *entries))})

    def render(self) -> str:
        """The text that a model reads."""
        parts = [
            "\n".join((f"{title}:", *(f"- {entry}" for entry in getattr(self, name))))
            for name, title in _TITLES.items()
            if getattr(self, name)
        ]
        return "\n\n".join(parts)


def parsed(text: str) -> Mapping[str, Any]:
    """The JSON object that a model answered with, fenced or not. Raises `NotSections`."""
    fenced = _FENCE.search(text)
    try:
        value = json.loads(fenced[1] if fenced else text)
    except (ValueError, RecursionError):
        raise NotSections("it is no JSON") from None
    if not isinstance(value, Mapping):
        raise NotSections("it is no JSON object")
    return value


def line(text: str) -> str:
    """Text as an entry: one line, without what a database refuses, as NULs and lone surrogates."""
    return " ".join(text.replace("\x00", "").encode("utf-8", "replace").decode("utf-8").split())


def room_of(max_chars: int) -> int:
    """Characters that the entries of a summary have, whichever sections they are in."""
    return max_chars - _TITLES_CHARS


def parted(entries: Iterable[str], max_chars: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The entries of a section for which there is no room, and the others.

    The newest come first; one that is too long for what is left makes room for shorter ones before it.
    """
    out: list[str] = []
    kept: list[str] = []
    for entry in reversed(tuple(entries)):
        takes = len(entry) + _ENTRY_CHARS
        if takes > max_chars:
            out.append(entry)
        else:
            kept.append(entry)
            max_chars -= takes
    return tuple(reversed(out)), tuple(reversed(kept))


def entries_of(name: str, value: object) -> tuple[str, ...]:
    """The entries of a list in JSON, of any length. Raises `NotSections`."""
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(entry, str | int | float) for entry in value):
        raise NotSections(f"{name} is no list of texts")
    return _lines(str(entry) for entry in value)


def _pieces(text: str) -> Iterator[str]:
    """A line of a text as entries: itself, or its sentences, or parts of those that are too long."""
    text = line(text)
    if len(text) <= ENTRY_MAX_CHARS:
        yield text
        return
    for _, sentence in sentence_ends(text):
        yield from textwrap.wrap(sentence, ENTRY_MAX_CHARS, break_on_hyphens=False)


def _lines(entries: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(filter(None, map(line, entries))))
