"""A summary without a model: the sentences of a conversation that hold what must not be lost.

What stays true: equal material, equal summary; every entry stands in the conversation, word for word; where
nothing can be picked it says how much was said; and entries beyond the budget are named.
"""

import re
from collections.abc import Callable, Iterable

from agent.summaries.prompt import OMISSION_MARK, Material
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
from agent.summaries.sections import PROTECTED, SummarySections, split_by_budget

#: Facts that say nothing of ids, dates or amounts: the newest, for a reader to see what it was about.
PLAIN_FACTS = 5
#: The part of the budget of each section: a half, an eighth, …; all of them are less than the whole.
#: Open tasks and preferences are bounded where a summary is checked.
BUDGET_DIVISORS = {"facts": 2, "decisions": 8, "names": 12, "numbers": 8, "attachments": 8}
_ENTRY_LISTS = (
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


def build_summary(material: Material) -> dict[str, list[str]]:
    """Build the next summary, in the form in which a model is asked for one.

    A sentence `done: …` of a user closes the open task or preference that it repeats, as far as it was
    said before. `left_out` names the entries that the budget does not allow.
    """
    previous_sections = material.previous_sections
    entries_by_list: dict[str, list[str]] = {name: [] for name in _ENTRY_LISTS}
    for sentence in sentences_of(material.user_texts):
        if sentence == OMISSION_MARK or _ATTACHED.match(sentence):
            continue
        if (closed_request := closed_by(sentence)) is None:
            entries_by_list[_section_of(sentence)].append(sentence)
            continue
        entries_by_list["closed"].append(closed_request)
        for name in PROTECTED:
            # A request that is repeated later on is open again.
            entries_by_list[name] = [entry for entry in entries_by_list[name] if entry != closed_request]
    closed = entries_by_list["closed"]
    entries_by_list["attachments"] = [name for text in material.texts for name in _ATTACHED.findall(text)]
    entries_by_list["facts"] = _limit_plain_facts(
        (*previous_sections.facts, *entries_by_list["facts"], *entries_by_list["plain"])
    )
    sections = SummarySections()
    for name in PROTECTED:
        still_open = (entry for entry in getattr(previous_sections, name) if entry not in closed)
        sections = sections.with_more(name, (*still_open, *entries_by_list[name]))
    left_out: list[str] = []
    for name, divisor in BUDGET_DIVISORS.items():
        entries = (
            entries_by_list[name]
            if name == "facts"
            else (*getattr(previous_sections, name), *entries_by_list[name])
        )
        crowded_out, retained = split_by_budget(dict.fromkeys(entries), material.max_chars // divisor)
        sections = sections.with_more(name, retained)
        left_out += crowded_out
    if sections.is_empty:
        sections = SummarySections(facts=(f"{len(material.texts)} messages were exchanged.",))
    return sections.to_json() | {"closed": closed, "left_out": left_out}


def _section_of(sentence: str) -> str:
    for name, matches in _KINDS:
        if matches(sentence):
            return name
    return "questions" if sentence.endswith("?") else "plain"


def _is_statement(sentence: str) -> bool:
    return not sentence.endswith("?")


#: The section of a sentence, by the first predicate that is true of it.
_KINDS: tuple[tuple[str, Callable[[str], object]], ...] = (
    ("open_tasks", is_task),
    ("preferences", is_preference),
    ("decisions", lambda sentence: is_decision(sentence) and _is_statement(sentence)),
    ("facts", strong_values_in),
    ("names", lambda sentence: is_naming(sentence) and _is_statement(sentence)),
    ("numbers", lambda sentence: is_counting(sentence) and _is_statement(sentence)),
)


def _limit_plain_facts(entries: Iterable[str]) -> list[str]:
    """Limit the facts: of those without a value, only the newest stay."""
    facts: list[str] = []
    plain_count = 0
    for entry in reversed(list(dict.fromkeys(entries))):
        if not strong_values_in(entry):
            plain_count += 1
            if plain_count > PLAIN_FACTS:
                continue
        facts.append(entry)
    return facts[::-1]
