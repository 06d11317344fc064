"""The numbers of a history's messages among the events of its thread: where a stream goes on behind a page of them.

What stays true: a message has the number that its event has; what a branch shares is numbered by its seqs alone.
"""

from collections.abc import Collection, Sequence

from sqlalchemy import Connection, select

from conversation.events import number_after_turn
from conversation.message import Message
from store.database.sqlite import read_only
from store.database.statements import AnyRow
from store.history.arrival_order import first_turns
from store.lineage import Lineage
from store.tables import turns
from store.turns.event_rows import number_loose, read_journals, turn_columns, turn_of
from store.turns.events_of_turn import ClaimedTurnLog


@read_only
def number_messages(connection: Connection, thread: AnyRow, history: Sequence[Message]) -> dict[str, int]:
    """The numbers of messages of a history, in their order, by id: a stream goes on behind them.

    What a branch shares is numbered by its seqs alone: its turns are another's, and may go on there.
    """
    lineage = Lineage.of(thread)
    shared = {message.id: message.seq or 0 for message in history if (message.seq or 0) <= lineage.shared_to_seq}
    shared_numbers = {message_id: number_after_turn(0, seq) for message_id, seq in shared.items()}
    own = [message for message in history if message.id not in shared]
    return shared_numbers | (_number_own(connection, thread, own) if own else {})


def _number_own(connection: Connection, thread: AnyRow, history: Sequence[Message]) -> dict[str, int]:
    turn_ids = sorted({message.turn_id for message in history if message.turn_id})
    answering = _read_answering(connection, turn_ids)
    turn_ids = sorted(set(turn_ids) | set(answering.values()))
    of_page = select(*turn_columns).where(turns.c.thread_key == thread.key, turns.c.id.in_(turn_ids))
    page_turns = [turn_of(row) for row in connection.execute(of_page)] if turn_ids else []
    claimed = {turn.id: turn for turn in page_turns if turn.fencing_token is not None}
    journals = read_journals(connection, claimed.values())
    numbers: dict[str, int] = {}
    for turn in claimed.values():
        own = [message for message in history if answering.get(message.turn_id or "", message.turn_id) == turn.id]
        log = ClaimedTurnLog("", turn, own, journals.get(turn.id, ()))
        numbers |= {message.id: number for message, number in log.numbers()}
    fence: int | None = None
    for message in history:
        if message.id in numbers:
            fence = claimed[answering.get(message.turn_id or "", message.turn_id or "")].fencing_token
            continue
        if fence is None:
            fence = _find_fence_before(connection, thread.key, message.seq or 0)
        numbers[message.id] = number_loose(thread, fence, message.seq or 0)
    return numbers


def _read_answering(connection: Connection, turn_ids: Collection[str]) -> dict[str, str]:
    """The turns that answer others with their own, by the ids of those."""
    merged = select(turns.c.id, turns.c.merged_into).where(turns.c.id.in_(turn_ids), turns.c.merged_into.is_not(None))
    return {row.id: row.merged_into for row in connection.execute(merged)} if turn_ids else {}


def _find_fence_before(connection: Connection, thread_key: int, seq: int) -> int:
    """The fencing token of the newest turn whose question stands before a seq; 0 where there is none."""
    of_thread = turns.c.thread_key == thread_key, turns.c.window_to_seq < seq
    before = first_turns(
        select(turns.c.fencing_token, turns.c.arrival_seq).where(*of_thread), turns, limit=1, newest=True
    )
    return connection.execute(select(before.c.fencing_token)).scalar_one_or_none() or 0
