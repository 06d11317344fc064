"""The check of a summary before it is used: what a model left out is restored, word for word.

What stays true: an open task or a preference of the summary before leaves only where the model says
that it is over and the messages since speak of it; an id that stands nowhere does not come in, whichever
model wrote it; and whatever is restored or left out stands in the report, by all that is covered and not
by the part that the model saw.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from agent.summaries.prompt import SHOWN_CHARS, select_shown_text
from agent.summaries.salience import (
    content_words_in,
    has_separable_words,
    ids_in,
    is_preference,
    is_task,
    match_closed_request,
    sentence_ends,
    sentences_of,
    strong_values_in,
    values_in,
    words_in,
)
from agent.summaries.sections import (
    ENTRY_MAX_CHARS,
    PROTECTED,
    SummarySections,
    entries_max_chars,
    split_by_budget,
    to_line,
)
from conversation.message import Message

#: Entries of each list of a report, and characters of an entry: enough to see what it is about.
REPORTED_MAX = 50
REPORTED_CHARS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The report of a check: what was restored, closed, dropped and left out."""

    #: Entries of the summary before that the model left out, and that are in again.
    carried: tuple[str, ...] = ()
    #: Requests and preferences of users whose values the model left out, or that it was not shown: they
    #: are in again.
    put_back: tuple[str, ...] = ()
    #: Open tasks that the comparison by a model missed, and that are in.
    found_missing: tuple[str, ...] = ()
    #: Entries of the summary before that are over.
    closed: tuple[str, ...] = ()
    #: Entries that the model said are over, and that no message speaks of, or that it lists as open, too:
    #: they stay.
    kept_open: tuple[str, ...] = ()
    #: Entries with an id that stands in no message: they are out.
    made_up: tuple[str, ...] = ()
    #: Ids, dates and amounts of the summary before and of the messages since that this one does not have;
    #: of requests and preferences also numbers and names; and files.
    dropped: tuple[str, ...] = ()
    #: The oldest entries of sections that were full, and entries too long for the rest of the budget.
    crowded_out: tuple[str, ...] = ()

    def __add__(self, other: "Report") -> "Report":
        """The report of two parts of one summary: each entry once."""
        theirs = asdict(other)
        return Report(**{name: tuple(dict.fromkeys((*mine, *theirs[name]))) for name, mine in asdict(self).items()})

    def counts(self) -> dict[str, int]:
        """The number of entries of each list, for a log."""
        return {name: len(found) for name, found in asdict(self).items()}

    def to_json(self) -> dict[str, Any]:
        """The counts, and what was counted, up to a bound."""
        listed = {
            name: [entry[:REPORTED_CHARS] for entry in found[:REPORTED_MAX]]
            for name, found in asdict(self).items()
            if found
        }
        return {"counts": self.counts(), **listed}


def check_summary(
    sections: SummarySections,
    claimed_entries: Collection[str],
    previous_sections: SummarySections,
    covered_messages: Sequence[Message],
    *,
    max_chars: int,
    left_out: Sequence[str] = (),
    shown_chars: int = SHOWN_CHARS,
) -> tuple[SummarySections, Report]:
    """Check and mend a summary: as it may be used, and the report of what was changed.

    Open tasks and preferences together take half of `max_chars`, at most; of more, the oldest go.
    `left_out` are the entries that its model says did not fit; it saw `shown_chars` of each long message.
    """
    covered_text = _covered_text(covered_messages)
    sections, made_up = _remove_made_up(sections, f"{previous_sections.render()}\n{covered_text}")
    closed_entries, kept_open = _confirm_closed(
        set(map(to_line, claimed_entries)), sections, previous_sections, covered_text
    )
    sections, carried = _carry_over(sections, previous_sections, closed_entries)
    sections, put_back = _restore_requests(sections, covered_messages, closed_entries, shown_chars)
    sections, crowded_out = _bound_protected(sections, max_chars)
    return sections, Report(
        carried=carried,
        put_back=put_back,
        closed=tuple(sorted(closed_entries)),
        kept_open=tuple(sorted(kept_open)),
        made_up=made_up,
        dropped=_find_dropped(sections, previous_sections, covered_messages),
        crowded_out=(*crowded_out, *left_out),
    )


def add_missing(
    sections: SummarySections,
    report: Report,
    missing: Sequence[str],
    previous_sections: SummarySections,
    covered_messages: Sequence[Message],
    *,
    max_chars: int,
) -> tuple[SummarySections, Report]:
    """Add the open tasks that a model found missing to a checked summary, as far as they can be used."""
    fitting_tasks = [task for task in missing if len(task) <= ENTRY_MAX_CHARS]
    open_tasks = tuple(task for task in fitting_tasks if task not in report.closed)
    new_sections, made_up = _remove_made_up(
        SummarySections(open_tasks=open_tasks), f"{previous_sections.render()}\n{_covered_text(covered_messages)}"
    )
    sections, added_tasks, crowded_out = _add_tasks(sections, new_sections.open_tasks, max_chars)
    too_long_tasks = [task for task in missing if task not in fitting_tasks]
    return sections, replace(
        report,
        found_missing=tuple(added_tasks),
        made_up=(*report.made_up, *made_up),
        dropped=_find_dropped(sections, previous_sections, covered_messages),
        crowded_out=(*report.crowded_out, *too_long_tasks, *crowded_out),
    )


def _add_tasks(
    sections: SummarySections, tasks: Iterable[str], max_chars: int
) -> tuple[SummarySections, list[str], list[str]]:
    """Add open tasks, each if the summary still fits; also those that were added, and what is out for it."""
    added_tasks: list[str] = []
    crowded_out: list[str] = []
    for task in tasks:
        if task in sections.open_tasks:
            continue
        extended_sections, displaced_entries = _bound_protected(sections.with_more("open_tasks", [task]), max_chars)
        if len(extended_sections.render()) > max_chars:
            crowded_out.append(task)
            continue
        sections = extended_sections
        added_tasks.append(task)
        crowded_out += displaced_entries
    return sections, added_tasks, crowded_out


def has_value(text: str, value: str) -> bool:
    """Whether a value stands in a text by itself, not as a piece of a longer one."""
    index = text.find(value)
    while index >= 0:
        preceding_char, following_char = (
            text[index - 1 : index] if index else "",
            text[index + len(value) : index + len(value) + 1],
        )
        if not (_is_word_char(preceding_char) and _is_word_char(value[:1])) and not (
            _is_word_char(value[-1:]) and _is_word_char(following_char)
        ):
            return True
        index = text.find(value, index + 1)
    return False


def _is_word_char(char: str) -> bool:
    return char.isalnum()


def _covered_text(covered_messages: Sequence[Message]) -> str:
    return "\n".join(map(_message_text, covered_messages))


def _message_text(message: Message) -> str:
    calls = [call.arguments for call in message.tool_calls]
    files = [file.filename for file in message.attachments]
    return "\n".join((message.content, *calls, *files))


def _remove_made_up(sections: SummarySections, known_text: str) -> tuple[SummarySections, tuple[str, ...]]:
    """Remove entries with made-up ids where they would be acted upon: open tasks and preferences."""
    made_up: list[str] = []
    for name in PROTECTED:
        entries = getattr(sections, name)
        wrong_entries = [entry for entry in entries if not all(has_value(known_text, found) for found in ids_in(entry))]
        sections = replace(sections, **{name: tuple(entry for entry in entries if entry not in wrong_entries)})
        made_up += wrong_entries
    return sections, tuple(made_up)


def _confirm_closed(
    claimed_entries: set[str], sections: SummarySections, previous_sections: SummarySections, covered_text: str
) -> tuple[set[str], set[str]]:
    """Tell the entries that are over from those of which the model only claims it."""
    entries = _protected_entries(previous_sections) & claimed_entries
    # An entry that the model lists itself as well was requested again.
    only_claimed_entries = entries - _protected_entries(sections)
    words = words_in(covered_text) if only_claimed_entries else set()
    closed_entries = {entry for entry in only_claimed_entries if _is_spoken_of(entry, covered_text, words)}
    return closed_entries, entries - closed_entries


def _is_spoken_of(entry: str, covered_text: str, words: set[str]) -> bool:
    """Whether messages name one of an entry's values or, where it has none, a word of its content."""
    if values := values_in(entry):
        return any(has_value(covered_text, value) for value in values)
    # Where words cannot be told apart, there is none to be found again: the model is believed.
    return not has_separable_words(entry) or bool(content_words_in(entry) & words)


def _protected_entries(sections: SummarySections) -> set[str]:
    return {entry for name in PROTECTED for entry in getattr(sections, name)}


def _carry_over(
    sections: SummarySections, previous_sections: SummarySections, closed_entries: Collection[str]
) -> tuple[SummarySections, tuple[str, ...]]:
    carried_entries: list[str] = []
    for name in PROTECTED:
        old_entries = [entry for entry in getattr(previous_sections, name) if entry not in closed_entries]
        new_entries = getattr(sections, name)
        carried_entries += [entry for entry in old_entries if entry not in new_entries]
        # In their old order, and in front: the beginning of the text stays the same.
        sections = replace(sections, **{name: ()}).with_more(name, (*old_entries, *new_entries))
    return sections, tuple(carried_entries)


def _restore_requests(
    sections: SummarySections, covered_messages: Sequence[Message], closed_entries: Collection[str], shown_chars: int
) -> tuple[SummarySections, tuple[str, ...]]:
    """Restore users' requests and preferences whose values the summary lacks, or that no model saw."""
    text = sections.render()
    section_by_request: dict[str, str] = {}
    for content in (message.content for message in covered_messages if message.role == "user"):
        unseen_sentences = set(select_shown_text(content, shown_chars)[1])
        for sentence in sentences_of([content]):
            name = _section_of(sentence)
            closed_request = match_closed_request(sentence) or ""
            if (
                name is None
                or sentence in closed_entries
                or closed_request in closed_entries
                or section_by_request.pop(closed_request, "")
            ):
                continue
            # By the summary alone: two requests about one id are not the same request.
            is_lost = not all(has_value(text, value) for value in values_in(sentence))
            if is_lost or (sentence in unseen_sentences and sentence not in text):
                section_by_request[sentence] = name
    for name in PROTECTED:
        requests = (sentence for sentence, section in section_by_request.items() if section == name)
        sections = sections.with_more(name, requests)
    return sections, tuple(section_by_request)


def _section_of(sentence: str) -> str | None:
    return "open_tasks" if is_task(sentence) else "preferences" if is_preference(sentence) else None


def _bound_protected(sections: SummarySections, max_chars: int) -> tuple[SummarySections, tuple[str, ...]]:
    """Limit open tasks and preferences to the newest, in half of the budget; also those that are out."""
    removed_entries: list[str] = []
    for name in PROTECTED:
        crowded_out, retained_entries = split_by_budget(
            getattr(sections, name), entries_max_chars(max_chars) // 2 // len(PROTECTED)
        )
        removed_entries += crowded_out
        sections = replace(sections, **{name: retained_entries})
    return sections, tuple(removed_entries)


def _find_dropped(
    sections: SummarySections, previous_sections: SummarySections, covered_messages: Sequence[Message]
) -> tuple[str, ...]:
    """Find the values of the summary before and of the messages since that this one lacks."""
    expected_values = strong_values_in(previous_sections.render()) | set(previous_sections.attachments)
    for entry in (*previous_sections.open_tasks, *previous_sections.preferences):
        expected_values |= values_in(entry)
    for message in covered_messages:
        # System messages stay in every window as they are.
        if message.role != "system":
            expected_values |= strong_values_in(_message_text(message)) | {
                file.filename for file in message.attachments
            }
        if message.role == "user":
            requests = (sentence for _, sentence in sentence_ends(message.content) if _section_of(sentence))
            expected_values |= values_in("\n".join(requests))
    text = sections.render()
    return tuple(sorted(value for value in expected_values - values_in(text) if not has_value(text, value)))
