"""A summary without a model: the sentences of a conversation that hold what must not be lost.

What stays true: equal material, equal summary; every entry was said by somebody, word for word; where
nothing can be picked it says how much was said; and what there was no room for is named.
"""

import re
from collections.abc import Callable, Iterable

from agent.summaries.prompt import CUT, Material
from agent.summaries.salience import (
    closed_by,
    is_counting,
    is_decision,
    is_naming,
    is_preference,
    is_task,
    sentences_of,
    strong_values_in,
)
from agent.summaries.sections import PROTECTED, Sections, parted

#: Facts that say nothing of ids, dates or amounts: the newest, for a person to see what it was about.
PLAIN_FACTS = 5
#: Which part of the room each section has: a half, an eighth, …; all of them are less than the whole.
#: Open tasks and preferences are bounded where a summary is checked.
PARTS = {"facts": 2, "decisions": 8, "names": 12, "numbers": 8, "attachments": 8}
_FOUND = (
    "facts",
    "open_tasks",
    "preferences",
    "decisions",
    "names",
    "numbers",
    "plain",
    "questions",
    "closed",
)
_ATTACHED = re.compile(r"^\[attached: (.+)\]$", re.MULTILINE)


def extracted(material: Material) -> dict[str, list[str]]:
    """The next summary, in the form in which a model is asked for one.

    A sentence `done: …` of a user closes the open task or preference that it repeats, as far as it was
    said before. `left_out` names what would have been an entry, were there room.
    """
    old = material.previous
    found: dict[str, list[str]] = {name: [] for name in _FOUND}
    for sentence in sentences_of(material.asked):
        if sentence == CUT or _ATTACHED.match(sentence):
            continue
        if (done := closed_by(sentence)) is None:
            found[_section_of(sentence)].append(sentence)
            continue
        found["closed"].append(done)
        for name in PROTECTED:
            # Asked for again later on, it is open again.
            found[name] = [entry for entry in found[name] if entry != done]
    closed = found["closed"]
    found["attachments"] = [name for text in material.said for name in _ATTACHED.findall(text)]
    found["facts"] = _few_plain((*old.facts, *found["facts"], *found["plain"]))
    written = Sections()
    for name in PROTECTED:
        still_open = (entry for entry in getattr(old, name) if entry not in closed)
        written = written.with_more(name, (*still_open, *found[name]))
    left_out: list[str] = []
    for name, part in PARTS.items():
        entries = found[name] if name == "facts" else (*getattr(old, name), *found[name])
        crowded_out, kept = parted(dict.fromkeys(entries), material.room // part)
        written = written.with_more(name, kept)
        left_out += crowded_out
    if written.is_empty:
        written = Sections(facts=(f"{len(material.said)} messages were exchanged.",))
    return written.to_json() | {"closed": closed, "left_out": left_out}


def _section_of(sentence: str) -> str:
    for name, is_one in _KINDS:
        if is_one(sentence):
            return name
    return "questions" if sentence.endswith("?") else "plain"


def _is_statement(sentence: str) -> bool:
    return not sentence.endswith("?")


#: The first that fits.
_KINDS: tuple[tuple[str, Callable[[str], object]], ...] = (
    ("open_tasks", is_task),
    ("preferences", is_preference),
    ("decisions", lambda sentence: is_decision(sentence) and _is_statement(sentence)),
    ("facts", strong_values_in),
    ("names", lambda sentence: is_naming(sentence) and _is_statement(sentence)),
    ("numbers", lambda sentence: is_counting(sentence) and _is_statement(sentence)),
)


def _few_plain(entries: Iterable[str]) -> list[str]:
    """Facts, of those without a value only the newest."""
    kept: list[str] = []
    plain = 0
    for entry in reversed(list(dict.fromkeys(entries))):
        if not strong_values_in(entry):
            plain += 1
            if plain > PLAIN_FACTS:
                continue
        kept.append(entry)
    return kept[::-1]
