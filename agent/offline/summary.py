"""A summary without a model: the sentences of a conversation that hold what must not be lost.

What stays true: equal material, equal summary; every entry stands in the conversation, word for word; where
nothing can be picked it says how much was said; and entries beyond the budget are named.
"""

import re
from collections.abc import Callable, Iterable

from agent.summaries.prompt import OMISSION_MARK, Material
from agent.summaries.salience import (
    is_counting,
    is_decision,
    is_naming,
    is_preference,
    is_task,
    match_closed_request,
    sentences_of,
    strong_values_in,
)
from agent.summaries.sections import PROTECTED, SummarySections, split_by_budget

#: Facts that say nothing of ids, dates or amounts: the newest, for a reader to see what it was about.
PLAIN_FACTS = 5
#: The part of the budget of each section: a half, an eighth, …; all of them are less than the whole.
#: Open tasks and preferences are bounded where a summary is checked.
BUDGET_DIVISORS = {"facts": 2, "decisions": 8, "names": 12, "numbers": 8, "attachments": 8}
_ENTRY_LISTS = ("facts", "open_tasks", "preferences", "decisions", "names", "numbers", "plain", "questions", "closed")
#: Entries by the name of their list.
EntryLists = dict[str, list[str]]

_ATTACHED = re.compile(r"^\[attached: (.+)\]$", re.MULTILINE)


def build_summary(material: Material) -> dict[str, list[str]]:
    """Build the next summary, in the form in which a model is asked for one.

    A sentence `done: …` of a user closes the open task or preference that it repeats, as far as it was
    said before. `left_out` names the entries that the budget does not allow.
    """
    entries = _sort_into_lists(material)
    sections = _carry_over_protected(material.previous_sections, entries)
    sections, left_out = _fill_by_budget(sections, entries, material)
    if sections.is_empty:
        sections = SummarySections(facts=(f"{len(material.texts)} messages were exchanged.",))
    return sections.to_json() | {"closed": entries["closed"], "left_out": left_out}


def _sort_into_lists(material: Material) -> EntryLists:
    """Sort what users said, and the names of attached files, into lists; none holds what was closed since."""
    entries: EntryLists = {name: [] for name in _ENTRY_LISTS}
    for sentence in sentences_of(material.user_texts):
        if sentence == OMISSION_MARK or _ATTACHED.match(sentence):
            continue
        if (closed_request := match_closed_request(sentence)) is None:
            entries[_section_of(sentence)].append(sentence)
            continue
        entries["closed"].append(closed_request)
        for name in PROTECTED:
            # A request that is repeated later on is open again.
            entries[name] = [entry for entry in entries[name] if entry != closed_request]
    entries["attachments"] = [name for text in material.texts for name in _ATTACHED.findall(text)]
    return entries


def _carry_over_protected(previous_sections: SummarySections, entries: EntryLists) -> SummarySections:
    """Open tasks and preferences: those of the summary before that are still open, and the new ones."""
    sections = SummarySections()
    for name in PROTECTED:
        open_entries = [entry for entry in getattr(previous_sections, name) if entry not in entries["closed"]]
        sections = sections.with_more(name, (*open_entries, *entries[name]))
    return sections


def _fill_by_budget(
    sections: SummarySections, entries: EntryLists, material: Material
) -> tuple[SummarySections, list[str]]:
    """Fill the other sections, each within its part of the budget; also the entries that did not fit."""
    left_out: list[str] = []
    for name, divisor in BUDGET_DIVISORS.items():
        candidates: Iterable[str] = (*getattr(material.previous_sections, name), *entries[name])
        if name == "facts":
            candidates = _limit_plain_facts((*candidates, *entries["plain"]))
        crowded_out, retained = split_by_budget(dict.fromkeys(candidates), material.max_chars // divisor)
        sections = sections.with_more(name, retained)
        left_out += crowded_out
    return sections, left_out


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
