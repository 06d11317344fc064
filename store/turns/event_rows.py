"""Reading a thread's events out of its rows, from any number on.

What stays true: pages end at ends of turns, and what a page costs depends on what comes after `after`, never on the
history before it. A turn's row and its messages are read in one statement, so that nobody sees an
end without what was said before it; and the turns under way before the messages, so that nobody sees one begin
without what it was asked.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from itertools import chain
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, case, false, func, null, or_, select

from conversation.branch_address import MAIN, split_address
from conversation.events import (
    MessageDone,
    ThreadEvent,
    ThreadSwitched,
    TurnEnded,
    fence_of,
    number_after_turn,
    number_of_switch,
    seq_after_turn,
)
from conversation.message import Message, Usage
from conversation.step import Step
from store.database.sqlite import read_only
from store.database.statements import AnyRow, convert_row
from store.history import message_rows
from store.history.row_ids import is_row_of
from store.lineage import Lineage, row_lineage, select_range
from store.tables import messages, steps, threads, turns
from store.tables.turns import is_unfinished_in_thread
from store.threads.branch_rows import not_found
from store.turns.agent_steps import list_agent_steps
from store.turns.events_of_turn import ClaimedTurnLog, JournalledStep, TurnRow, end_of
from store.turns.notices import Notice, read_notices
from store.turns.records import is_turn, turn_not_found

#: Messages of a page, about: whole turns are read.
PAGE_MESSAGES = 500
#: Turns that wait, of which followers are told.
WAITING_TURNS_MAX = 100

#: The turns that messages were sent with, beside those that answer them.
_sent = turns.alias("sent")
_TURN_COLUMNS = [field.name for field in fields(TurnRow)]
#: The columns of a turn that its events are made of, by names of their own.
turn_columns = [turns.c[name].label(f"turns_{name}") for name in _TURN_COLUMNS]


@dataclass(frozen=True, slots=True, kw_only=True)
class EventPage:
    """Events that come after a number."""

    #: With rising numbers.
    events: tuple[ThreadEvent, ...] = ()
    #: Of the last page: the turns that wait, in their order, behind what agents do in the one that runs; of a turn's:
    #: that it waits, or ended without beginning, or what agents do in it.
    notices: tuple[Notice, ...] = ()
    #: There is more after the last of them.
    has_more: bool = False
    #: The id of the turn that is under way.
    running: str | None = None
    #: The id of the row that they are of, where that is a thread's or a branch's.
    address: str | None = None
    #: The newest switch to this branch.
    switch: ThreadSwitched | None = None
    #: Of a turn that was merged: that it was. The events are those of the turn that answers it.
    merged: TurnEnded | None = None


@read_only
def read_thread_events(
    connection: Connection, tenant: str, thread_id: str, *, after: int = 0, limit: int = PAGE_MESSAGES
) -> EventPage:
    """The events of a thread behind a number, a page at a time. Raises `ThreadNotFound`."""
    names = ("key", "id", "lineage", "history_starts_after", "chosen_fence", "chosen_after_seq")
    is_thread = is_row_of(tenant, thread_id)
    thread = connection.execute(select(*(threads.c[name] for name in names)).where(is_thread)).one_or_none()
    if thread is None:
        raise not_found(tenant, thread_id)
    thread_id = split_address(thread_id)[0]
    lineage, switch = Lineage.of(thread), _switch_of(thread)
    while True:
        open_rows = _read_open_turns(connection, thread.key)
        rows, has_more = _read_messages(connection, thread, after, limit)
        open_rows = [] if has_more else _bring_up_to_date(open_rows, rows)
        logs = _load_logs(connection, lineage, thread_id, _list_claimed(open_rows, rows), rows)
        loose = message_rows.load(connection, lineage, [row for row in rows if row.turns_fencing_token is None])
        events = list(_arrange(thread, after, (*rows, *open_rows), logs, {each.id: each for each in loose}))
        if switch is not None and after < switch.number and not (has_more and _is_before(events, switch)):
            events = sorted([*events, switch], key=_number_of)
        if events or not has_more:
            break
        # All that was read came before: one turn that fills the page.
        limit *= 4
    waiting = enumerate(open_rows)
    notices = [notice for position, row in waiting for notice in _notices_of(connection, thread_id, row, position)]
    return EventPage(
        events=tuple(events),
        notices=(*list_agent_steps(logs), *notices) if not has_more else (),
        has_more=has_more,
        running=next((row.turns_id for row in open_rows if row.turns_state == "running"), None),
        address=thread.id,
        switch=switch,
    )


def _switch_of(thread: AnyRow) -> ThreadSwitched | None:
    """The newest switch to a branch; None where it was never chosen in the place of another."""
    if thread.chosen_fence is None:
        return None
    thread_id, branch = split_address(thread.id)
    return ThreadSwitched(
        thread_id=thread_id,
        number=number_of_switch(thread.chosen_fence),
        branch=branch or MAIN,
        shared_to_seq=Lineage.of(thread).shared_to_seq,
    )


def _is_before(events: Sequence[ThreadEvent], switch: ThreadSwitched) -> bool:
    return not events or _number_of(events[-1]) < switch.number


def _number_of(event: ThreadEvent) -> int:
    return event.number or 0


@read_only
def resume_thread_events(connection: Connection, tenant: str, thread_id: str, *, after: int = 0) -> EventPage:
    """As `read_thread_events`, for a viewer who comes again: from the newest switch on, where they have not seen it."""
    page = read_thread_events(connection, tenant, thread_id, after=after)
    if page.switch is not None and 0 < after < page.switch.number:
        return read_thread_events(connection, tenant, thread_id, after=page.switch.number - 1)
    return page


@read_only
def read_turn_events(connection: Connection, turn_id: str, *, tenant: str | None = None, after: int = 0) -> EventPage:
    """The events of a turn, of this tenant where one is named, behind a number. Raises `TurnNotFound`."""
    answered = select(_sent.c.id).where(or_(_sent.c.id == turns.c.id, _sent.c.merged_into == turns.c.id))
    of_turn = and_(
        messages.c.turn_id.in_(answered), messages.c.thread_key == turns.c.thread_key, messages.c.rolled_back.is_(False)
    )
    is_visible = or_(messages.c.seq.is_(None), messages.c.seq > threads.c.history_starts_after)
    statement = (
        select(*message_rows.stored_columns(), *_waiting_columns(), threads.c.id.label("thread_id"), turns.c.thread_key)
        .select_from(turns.join(threads).outerjoin(messages, of_turn))
        .where(is_turn(turn_id, tenant), is_visible)
        .order_by(messages.c.seq)
    )
    rows = connection.execute(statement).all()
    if not rows:
        raise turn_not_found(turn_id, tenant)
    turn, thread_id = turn_of(rows[0]), split_address(rows[0].thread_id)[0]
    if turn.merged_into is not None:
        page: EventPage = read_turn_events(connection, turn.merged_into, tenant=tenant, after=after)
        return replace(page, merged=end_of(thread_id, turn))
    position = _count_before(connection, rows[0]) if turn.state == "queued" else 0
    notices = _notices_of(connection, thread_id, rows[0], position)
    if turn.fencing_token is None and turn.is_final:
        notices.append(end_of(thread_id, turn))
    spoken_rows = [row for row in rows if row.seq is not None]
    logs = _load_logs(connection, row_lineage(rows[0].thread_key), thread_id, [turn], spoken_rows)
    notices += list_agent_steps(logs)
    events = [event for log in logs for event in log.events()]
    return EventPage(
        events=tuple(event for event in events if (event.number or 0) > after),
        notices=tuple(notices),
        running=turn.id if turn.state == "running" else None,
    )


def number_loose(thread: AnyRow, fence: int, seq: int) -> int:
    """The number of a message of no turn: behind the turn before it, and behind the switch before it."""
    is_behind_switch = thread.chosen_fence is not None and seq > thread.chosen_after_seq
    return number_after_turn(max(fence, thread.chosen_fence) if is_behind_switch else fence, seq)


def _read_messages(connection: Connection, thread: AnyRow, after: int, limit: int) -> tuple[list[AnyRow], bool]:
    """The messages that may have events behind a number, each with its turn's row, and whether there are more."""
    lineage = Lineage.of(thread)
    answering_id = func.coalesce(_sent.c.merged_into, messages.c.turn_id)
    is_own = messages.c.thread_key == thread.key
    # A turn of what is shared is another's: what it said has no events but itself.
    of_turn = and_(turns.c.id == answering_id, turns.c.thread_key == thread.key, is_own)
    with_turns = messages.outerjoin(_sent, _sent.c.id == messages.c.turn_id).outerjoin(turns, of_turn)
    start_seq: Any = seq_after_turn(after) or 0
    # All that is shared has the token 0.
    begins_after = lineage.shared_to_seq if fence_of(after) else start_seq
    if not start_seq:
        earlier = select(messages.c.seq).select_from(with_turns).where(is_own)
        earlier = earlier.where(turns.c.fencing_token < fence_of(after)).order_by(messages.c.seq.desc()).limit(1)
        start_seq = func.coalesce(earlier.scalar_subquery(), 0)
    statement = partial(
        select_range,
        lineage,
        [*message_rows.stored_columns(), *turn_columns, messages.c.rolled_back],
        source=with_turns,
        after_seq=begins_after,
    )
    is_behind = (messages.c.seq > start_seq) & (messages.c.seq > thread.history_starts_after)
    rows = list(connection.execute(statement(where=[is_behind], limit=limit + 1)))
    if len(rows) <= limit:
        return rows, False
    rows.pop()
    # The page ends with the end of its last turn.
    last_turn_id = next((row.turns_id or row.turn_id for row in reversed(rows) if row.turn_id), None)
    is_rest = (answering_id == last_turn_id) & (messages.c.seq > rows[-1].seq)
    return [*rows, *connection.execute(statement(where=[is_rest]))], True


def _bring_up_to_date(open_rows: Sequence[AnyRow], rows: Sequence[AnyRow]) -> list[AnyRow]:
    """The turns under way: where one has become another since, as the newer row beside its messages says."""
    newer_rows = {row.turns_id: row for row in rows}
    pairs = [(row, newer_rows.get(row.turns_id, row)) for row in open_rows]
    current_rows = [row if row.turns_state == newer.turns_state else newer for row, newer in pairs]
    return [row for row in current_rows if row.turns_state in ("queued", "running", "waiting")]


def _list_claimed(*rows: Sequence[AnyRow]) -> Collection[TurnRow]:
    """The turns in rows that were claimed, each once."""
    return {row.turns_id: turn_of(row) for row in chain(*rows) if row.turns_fencing_token is not None}.values()


def _arrange(
    thread: AnyRow, after: int, rows: Sequence[AnyRow], logs: Sequence[ClaimedTurnLog], loose: Mapping[str, Message]
) -> Iterator[ThreadEvent]:
    """The events behind a number: turn by turn, each followed by the messages of no turn after it."""
    thread_id, _ = split_address(thread.id)
    unread_logs = {log.turn.id: log for log in logs}
    fence = fence_of(after) if seq_after_turn(after) is not None else 0
    groups: list[tuple[ClaimedTurnLog | None, list[ThreadEvent]]] = [(None, [])]
    for row in rows:
        if (log := unread_logs.pop(row.turns_id, None)) is not None:
            fence = log.turn.fencing_token or 0
            groups.append((log, []))
        elif row.id in loose:
            number = number_loose(thread, fence, row.seq)
            done = MessageDone(thread_id=thread_id, turn_id=None, number=number, message=loose[row.id])
            groups[-1][1].append(done)
    for log, loose_events in groups:
        yield from _behind(after, log.events() if log is not None else [])
        if log is not None and not log.turn.is_final:
            # What was added meanwhile comes after its end.
            return
        yield from _behind(after, loose_events)


def _behind(after: int, events: Iterable[ThreadEvent]) -> Iterator[ThreadEvent]:
    return (event for event in events if (event.number or 0) > after)


def _load_logs(
    connection: Connection, lineage: Lineage, thread_id: str, of_turns: Iterable[TurnRow], rows: Sequence[AnyRow]
) -> list[ClaimedTurnLog]:
    """The logs of those turns that were claimed."""
    claimed = [turn for turn in of_turns if turn.fencing_token is not None]
    if not claimed:
        return []
    ids = {turn.id for turn in claimed}
    own_messages: dict[str, list[Message]] = {}
    own_rows = [row for row in rows if row.turns_id in ids and not getattr(row, "rolled_back", False)]
    for row, message in zip(own_rows, message_rows.load(connection, lineage, own_rows), strict=True):
        own_messages.setdefault(row.turns_id, []).append(message)
    journals = read_journals(connection, claimed)
    return [
        ClaimedTurnLog(thread_id, turn, own_messages.get(turn.id, ()), journals.get(turn.id, ())) for turn in claimed
    ]


def read_journals(connection: Connection, of_turns: Collection[TurnRow]) -> Mapping[str, list[JournalledStep]]:
    """The journals of turns; results only of those that are not over, whose replies are no messages yet.

    What agents did that were called as tools is there without results, and only of those as well.
    """
    if not of_turns:
        return {}
    open_ids = [turn.id for turn in of_turns if not turn.is_final]
    is_open: ColumnElement[bool] = steps.c.turn_id.in_(open_ids) if open_ids else false()
    columns = [column for column in steps.c if column.name != "result"]
    is_own = steps.c.parent.is_(None)
    statement = (
        select(*columns, case((is_open & is_own, steps.c.result), else_=null()).label("result"))
        .where(steps.c.turn_id.in_([turn.id for turn in of_turns]), or_(is_own, is_open))
        .order_by(steps.c.turn_id, steps.c["index"])
    )
    journals: dict[str, list[JournalledStep]] = {}
    fences = {turn.id: turn.fencing_token or 0 for turn in of_turns}
    for row in connection.execute(statement):
        if row.fencing_token > fences[row.turn_id]:
            # Of an attempt that began since: its beginning comes first.
            continue
        step = convert_row(row, Step, usage=Usage(**row.usage) if row.usage else None)
        journals.setdefault(row.turn_id, []).append(JournalledStep(step, row.fencing_token))
    return journals


def _waiting_columns() -> list[ColumnElement[Any]]:
    due_at = func.coalesce(turns.c.retry_at, turns.c.not_before).label("due_at")
    return [*turn_columns, due_at, turns.c.arrival_seq]


def _read_open_turns(connection: Connection, thread_key: int) -> list[AnyRow]:
    """The turns of a thread that are not over, the next one first. Their columns of a message are not there."""
    nothing = [null().label(name) for name in ("id", "seq")]
    statement = (
        select(*_waiting_columns(), *nothing)
        .where(turns.c.thread_key == thread_key, is_unfinished_in_thread())
        .order_by(turns.c.attempt == 0, turns.c.arrival_seq)
        .limit(WAITING_TURNS_MAX)
    )
    return list(connection.execute(statement))


def _count_before(connection: Connection, row: AnyRow) -> int:
    """How many turns of its thread come before a turn that waits."""
    if row.turns_attempt:
        return 0
    is_before = or_(turns.c.attempt > 0, turns.c.arrival_seq < row.arrival_seq)
    statement = select(func.count()).select_from(turns)
    of_thread = turns.c.thread_key == row.thread_key, is_unfinished_in_thread()
    return int(connection.execute(statement.where(*of_thread, is_before)).scalar_one())


def turn_of(row: AnyRow) -> TurnRow:
    """The turn in a row with `turn_columns`."""
    columns = row._mapping  # noqa: SLF001 - public
    return TurnRow(**{name: columns[f"turns_{name}"] for name in _TURN_COLUMNS})


def _notices_of(connection: Connection, thread_id: str, row: AnyRow, position: int) -> list[Notice]:
    # A row beside messages is one of a turn that has begun.
    due_at = getattr(row, "due_at", None)
    return read_notices(connection, thread_id, turn_of(row), due_at=due_at, position=position)
