"""Checking a summary before it is used: what a model left out is put back, word for word.

What stays true: an open task or a preference of the summary before leaves only where the model says
that it is over and somebody spoke of it since; an id that nobody said does not come in, whichever model
brought it; and whatever is put back or left out stands in the report, by all that is covered and not by
what the model was shown of it.
"""

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from agent.summaries.prompt import shown_of
from agent.summaries.salience import (
    closed_by,
    content_words_in,
    ids_in,
    is_preference,
    is_task,
    parts_words,
    sentence_ends,
    sentences_of,
    strong_values_in,
    values_in,
    words_in,
)
from agent.summaries.sections import ENTRY_MAX_CHARS, PROTECTED, Sections, line, parted, room_of
from conversation.message import Message

#: Entries of each list of a report, and characters of an entry: enough to see what it is about.
REPORTED_MAX = 50
REPORTED_CHARS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What became of what had to be kept."""

    #: Entries of the summary before that the model left out, and that are in again.
    carried: tuple[str, ...] = ()
    #: Requests and preferences of users whose values the model left out, or that it was not shown: they
    #: are in again.
    put_back: tuple[str, ...] = ()
    #: Open tasks that the comparison by a model missed, and that are in.
    found_missing: tuple[str, ...] = ()
    #: Entries of the summary before that are over.
    closed: tuple[str, ...] = ()
    #: Entries that the model said are over, and of which nobody had spoken, or that it lists as open, too:
    #: they stay.
    kept_open: tuple[str, ...] = ()
    #: Entries with an id that nobody said: they are out.
    made_up: tuple[str, ...] = ()
    #: Ids, dates and amounts of the summary before and of the messages since that this one does not have;
    #: of requests and preferences also numbers and names; and files.
    dropped: tuple[str, ...] = ()
    #: The oldest entries of sections that were full, and what was too long for the room that was left.
    crowded_out: tuple[str, ...] = ()

    def counts(self) -> dict[str, int]:
        """How much of each: what a log may say."""
        return {name: len(found) for name, found in asdict(self).items()}

    def to_json(self) -> dict[str, Any]:
        """The counts, and what was counted, up to a bound."""
        listed = {
            name: [entry[:REPORTED_CHARS] for entry in found[:REPORTED_MAX]]
            for name, found in asdict(self).items()
            if found
        }
        return {"counts": self.counts(), **listed}


def checked(
    written: Sections,
    closed: Collection[str],
    previous: Sections,
    covered: Sequence[Message],
    *,
    max_chars: int,
    left_out: Sequence[str] = (),
) -> tuple[Sections, Report]:
    """The summary as it may be used, and what was done to it.

    Open tasks and preferences together take half of the room in `max_chars`, at most; of more, the oldest go.
    `left_out` is what its model says that it had no room for.
    """
    said = _said(covered)
    written, made_up = _without_made_up(written, f"{previous.render()}\n{said}")
    over, kept_open = _closed(set(map(line, closed)), written, previous, said)
    written, carried = _carried_over(written, previous, over)
    written, put_back = _put_back(written, covered, over)
    written, crowded_out = _bounded(written, max_chars)
    return written, Report(
        carried=carried,
        put_back=put_back,
        closed=tuple(sorted(over)),
        kept_open=tuple(sorted(kept_open)),
        made_up=made_up,
        dropped=_dropped(written, previous, covered),
        crowded_out=(*crowded_out, *left_out),
    )


def with_missing(
    written: Sections,
    report: Report,
    missing: Sequence[str],
    previous: Sections,
    covered: Sequence[Message],
    *,
    max_chars: int,
) -> tuple[Sections, Report]:
    """A checked summary with the open tasks that a model found missing, as far as they can be used."""
    fitting = [task for task in missing if len(task) <= ENTRY_MAX_CHARS]
    new = Sections(open_tasks=tuple(task for task in fitting if task not in report.closed))
    new, made_up = _without_made_up(new, f"{previous.render()}\n{_said(covered)}")
    found: list[str] = []
    crowded_out = [task for task in missing if task not in fitting]
    for task in new.open_tasks:
        if task in written.open_tasks:
            continue
        more, out = _bounded(written.with_more("open_tasks", [task]), max_chars)
        if len(more.render()) > max_chars:
            crowded_out.append(task)
        else:
            written = more
            found.append(task)
            crowded_out += out
    return written, replace(
        report,
        found_missing=tuple(found),
        made_up=(*report.made_up, *made_up),
        dropped=_dropped(written, previous, covered),
        crowded_out=(*report.crowded_out, *crowded_out),
    )


def has(text: str, value: str) -> bool:
    """Whether a value stands in a text by itself, not as a piece of a longer one."""
    at = text.find(value)
    while at >= 0:
        before, behind = text[at - 1 : at] if at else "", text[at + len(value) : at + len(value) + 1]
        if not (_goes_on(before) and _goes_on(value[:1])) and not (_goes_on(value[-1:]) and _goes_on(behind)):
            return True
        at = text.find(value, at + 1)
    return False


def _goes_on(char: str) -> bool:
    return char.isalnum()


def _said(covered: Sequence[Message]) -> str:
    return "\n".join(map(_all_of, covered))


def _all_of(message: Message) -> str:
    calls = [call.arguments for call in message.tool_calls]
    files = [file.filename for file in message.attachments]
    return "\n".join((message.content, *calls, *files))


def _without_made_up(written: Sections, known: str) -> tuple[Sections, tuple[str, ...]]:
    """Only where it would be acted upon: in open tasks and preferences."""
    made_up: list[str] = []
    for name in PROTECTED:
        entries = getattr(written, name)
        wrong = [entry for entry in entries if not all(has(known, found) for found in ids_in(entry))]
        written = replace(written, **{name: tuple(entry for entry in entries if entry not in wrong)})
        made_up += wrong
    return written, tuple(made_up)


def _closed(claimed: set[str], written: Sections, previous: Sections, said: str) -> tuple[set[str], set[str]]:
    """The entries that are over, and those of which that is only claimed."""
    entries = _protected(previous) & claimed
    # What the model lists itself as well was asked for again.
    claimed_alone = entries - _protected(written)
    words = words_in(said) if claimed_alone else set()
    over = {entry for entry in claimed_alone if _is_spoken_of(entry, said, words)}
    return over, entries - over


def _is_spoken_of(entry: str, said: str, words: set[str]) -> bool:
    """By one of its values; where it has none, by a word that tells what it is about."""
    if values := values_in(entry):
        return any(has(said, value) for value in values)
    # Where words are not parted, there is none to be found again: the model is believed.
    return not parts_words(entry) or bool(content_words_in(entry) & words)


def _protected(sections: Sections) -> set[str]:
    return {entry for name in PROTECTED for entry in getattr(sections, name)}


def _carried_over(
    written: Sections, previous: Sections, over: Collection[str]
) -> tuple[Sections, tuple[str, ...]]:
    carried: list[str] = []
    for name in PROTECTED:
        old = [entry for entry in getattr(previous, name) if entry not in over]
        new = getattr(written, name)
        carried += [entry for entry in old if entry not in new]
        # In their old order, and in front: the beginning of the text stays the same.
        written = replace(written, **{name: ()}).with_more(name, (*old, *new))
    return written, tuple(carried)


def _put_back(
    written: Sections, covered: Sequence[Message], over: Collection[str]
) -> tuple[Sections, tuple[str, ...]]:
    """Requests and preferences of users whose values the summary has nowhere, or that no model saw."""
    text = written.render()
    back: dict[str, str] = {}
    for content in (message.content for message in covered if message.role == "user"):
        unseen = set(shown_of(content)[1])
        for sentence in sentences_of([content]):
            name = _section_of(sentence)
            done = closed_by(sentence) or ""
            if name is None or sentence in over or done in over or back.pop(done, ""):
                continue
            # By the summary alone: two requests about one id are not the same request.
            is_lost = not all(has(text, value) for value in values_in(sentence))
            if is_lost or (sentence in unseen and sentence not in text):
                back[sentence] = name
    for name in PROTECTED:
        more = (sentence for sentence, section in back.items() if section == name)
        written = written.with_more(name, more)
    return written, tuple(back)


def _section_of(sentence: str) -> str | None:
    return "open_tasks" if is_task(sentence) else "preferences" if is_preference(sentence) else None


def _bounded(written: Sections, max_chars: int) -> tuple[Sections, tuple[str, ...]]:
    """The newest open tasks and preferences, in half of the room, and those that are out."""
    out: list[str] = []
    for name in PROTECTED:
        crowded_out, kept = parted(getattr(written, name), room_of(max_chars) // 2 // len(PROTECTED))
        out += crowded_out
        written = replace(written, **{name: kept})
    return written, tuple(out)


def _dropped(written: Sections, previous: Sections, covered: Sequence[Message]) -> tuple[str, ...]:
    """What stood in the summary before or in the messages since, and does not stand here."""
    wanted = strong_values_in(previous.render()) | set(previous.attachments)
    for entry in (*previous.open_tasks, *previous.preferences):
        wanted |= values_in(entry)
    for message in covered:
        # System messages stay in every window as they are.
        if message.role != "system":
            wanted |= strong_values_in(_all_of(message)) | {file.filename for file in message.attachments}
        if message.role == "user":
            requests = (sentence for _, sentence in sentence_ends(message.content) if _section_of(sentence))
            wanted |= values_in("\n".join(requests))
    text = written.render()
    return tuple(sorted(value for value in wanted - values_in(text) if not has(text, value)))
