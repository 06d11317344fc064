"""A summary without a model: the sentences of a conversation that hold what must not be lost.

What stays true: equal material, equal summary; every entry was said by somebody, word for word, and where
nothing can be picked it says how much was said.
"""

import re
from collections.abc import Iterable

from agent.protected import is_preference, is_task, sentences_of, strong_values_in
from agent.sections import Sections
from agent.summary_request import Material

#: Facts that say nothing of ids, dates or amounts: the newest, for a person to see what it was about.
PLAIN_FACTS = 5
#: Characters of all other facts together: of more, the oldest go.
FACTS_MAX_CHARS = 6_000
_FOUND = ("facts", "open_tasks", "preferences", "plain", "questions", "closed")
_ATTACHED = re.compile(r"^\[attached: (.+)\]$", re.MULTILINE)
_DONE = re.compile(r"^(?:done|closed|finished): (.+)$", re.IGNORECASE)


def extracted(material: Material) -> dict[str, list[str]]:
    """The next summary, in the form in which a model is asked for one.

    A sentence `done: …` of a user closes the open task or preference that it repeats.
    """
    old = material.previous
    found: dict[str, list[str]] = {name: [] for name in _FOUND}
    for sentence in sentences_of(material.asked):
        done = _DONE.match(sentence)
        found[_section_of(sentence)].append(done[1] if done else sentence)
    closed = found["closed"]
    attached = [name for text in material.said for name in _ATTACHED.findall(text)]
    written = (
        Sections(decisions=old.decisions, names=old.names, numbers=old.numbers)
        .with_more("facts", _facts((*old.facts, *found["facts"], *found["plain"])))
        .with_more("open_tasks", _open((*old.open_tasks, *found["open_tasks"]), closed))
        .with_more("preferences", _open((*old.preferences, *found["preferences"]), closed))
        .with_more("attachments", (*old.attachments, *attached))
    )
    if written.is_empty:
        written = Sections(facts=(f"{len(material.said)} messages were exchanged.",))
    return written.to_json() | {"closed": closed}


def _section_of(sentence: str) -> str:
    if _DONE.match(sentence):
        return "closed"
    if is_task(sentence):
        return "open_tasks"
    if is_preference(sentence):
        return "preferences"
    if strong_values_in(sentence):
        return "facts"
    return "questions" if sentence.endswith("?") else "plain"


def _open(entries: Iterable[str], closed: list[str]) -> list[str]:
    return [entry for entry in entries if entry not in closed]


def _facts(entries: Iterable[str]) -> list[str]:
    """The newest facts within the bound, those without a value being only a few."""
    kept: list[str] = []
    plain = chars = 0
    for entry in reversed(list(dict.fromkeys(entries))):
        if not strong_values_in(entry):
            plain += 1
            if plain > PLAIN_FACTS or _ATTACHED.match(entry):
                continue
        chars += len(entry)
        if chars > FACTS_MAX_CHARS:
            break
        kept.append(entry)
    return kept[::-1]
