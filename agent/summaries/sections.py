"""A summary in its sections: how a model writes it, and how a model reads it.

What stays true: equal sections give equal text; an entry is one line, and never truncated; what a model wrote
is taken only if it has this shape.
"""

import json
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from agent.summaries.salience import sentence_ends
from conversation.storable_text import make_storable

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
_FENCE = "```"


class InvalidSections(ValueError):
    """A text is no summary in sections; the message says why, without quoting it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SummarySections:
    """The sections of a summary: what a reader must know to continue a conversation."""

    facts: tuple[str, ...] = ()
    decisions: tuple[str, ...] = ()
    #: What user or assistant still has to do.
    open_tasks: tuple[str, ...] = ()
    #: How the user wants to be treated.
    preferences: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    numbers: tuple[str, ...] = ()
    attachments: tuple[str, ...] = ()

    @classmethod
    def from_json(cls, value: object) -> "SummarySections":
        """The sections out of JSON; those that are missing are empty. Raises `InvalidSections`."""
        if not isinstance(value, Mapping):
            raise InvalidSections("it is no JSON object")
        entries_by_section = {name: entries_of(name, value.get(name)) for name in _TITLES}
        for name, entries in entries_by_section.items():
            longest = max(map(len, entries), default=0)
            if longest > ENTRY_MAX_CHARS:
                raise InvalidSections(f"an entry of {name} has {longest} characters, and {ENTRY_MAX_CHARS} fit")
        return cls(**entries_by_section)

    @classmethod
    def from_text(cls, text: str) -> "SummarySections":
        """A summary that is text alone, as facts: a line each, of a longer one its sentences, all of it."""
        return cls(facts=_unique_lines(piece for each in text.splitlines() for piece in _split_into_entries(each)))

    def to_json(self) -> dict[str, list[str]]:
        return {name: list(getattr(self, name)) for name in _TITLES}

    @property
    def is_empty(self) -> bool:
        return not any(getattr(self, field.name) for field in fields(self))

    def with_more(self, name: str, entries: Iterable[str]) -> "SummarySections":
        """The sections with further entries in one of them, each entry once."""
        return replace(self, **{name: _unique_lines((*getattr(self, name), *entries))})

    def render(self) -> str:
        """The text that a model reads."""
        parts = [
            "\n".join((f"{title}:", *(f"- {entry}" for entry in getattr(self, name))))
            for name, title in _TITLES.items()
            if getattr(self, name)
        ]
        return "\n\n".join(parts)


def parse_json_object(text: str) -> Mapping[str, Any]:
    """Parse the JSON object of a model's answer, in a code fence or not. Raises `InvalidSections`."""
    try:
        value = json.loads(_unfence(text))
    except (ValueError, RecursionError):
        raise InvalidSections("it is no JSON") from None
    if not isinstance(value, Mapping):
        raise InvalidSections("it is no JSON object")
    return value


def _unfence(text: str) -> str:
    """The text in a code fence, from the first that says nothing or `json` to the last; all of one without a fence."""
    lines = text.split("\n")
    ends = [line.rpartition(_FENCE) for line in lines]
    first = next((i for i, (_, fence, word) in enumerate(ends) if fence and word.strip() in ("", "json")), None)
    last = next((i for i in range(len(lines) - 1, 0, -1) if lines[i].lstrip().startswith(_FENCE)), None)
    return text if first is None or last is None or last <= first else "\n".join(lines[first + 1 : last])


def to_line(text: str) -> str:
    """Convert text to an entry: one line, without characters that a database refuses."""
    return " ".join(make_storable(text).split())


def entries_max_chars(max_chars: int) -> int:
    """The characters that the entries of a summary may have, whichever sections they are in."""
    return max_chars - _TITLES_CHARS


def split_by_budget(entries: Iterable[str], max_chars: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Split the entries of a section: those that do not fit into `max_chars`, and the others.

    The newest come first; one that is too long for the rest is skipped for shorter ones before it.
    """
    excess_entries: list[str] = []
    retained_entries: list[str] = []
    for entry in reversed(tuple(entries)):
        entry_chars = len(entry) + _ENTRY_CHARS
        if entry_chars > max_chars:
            excess_entries.append(entry)
        else:
            retained_entries.append(entry)
            max_chars -= entry_chars
    return tuple(reversed(excess_entries)), tuple(reversed(retained_entries))


def entries_of(name: str, value: object) -> tuple[str, ...]:
    """The entries of a list in JSON, of any length. Raises `InvalidSections`."""
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(entry, str | int | float) for entry in value):
        raise InvalidSections(f"{name} is no list of texts")
    return _unique_lines(str(entry) for entry in value)


def _split_into_entries(text: str) -> Iterator[str]:
    """Split a line into entries: itself, or its sentences, or parts of those that are too long."""
    text = to_line(text)
    if len(text) <= ENTRY_MAX_CHARS:
        yield text
        return
    for _, sentence in sentence_ends(text):
        yield from textwrap.wrap(sentence, ENTRY_MAX_CHARS, break_on_hyphens=False)


def _unique_lines(entries: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(filter(None, map(to_line, entries))))
