"""Threads as a viewer is shown them: their row, how much they hold, and what runs there; never their messages.

What stays true: a view is one statement, whatever the length of the history; a page of them as well.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, ScalarSelect, Select, select

from conversation.branch_address import split_address
from conversation.events import number_after_turn, number_of_end, number_of_start, number_of_switch
from conversation.thread import LAST_UPDATED
from conversation.when_busy import WhenBusy
from store.database.sqlite import read_only
from store.database.statements import AnyRow
from store.history.arrival_order import first_turns
from store.tables import messages, threads, turns
from store.tables.turns import is_unfinished_in_thread
from store.threads.listing import Order, ThreadFilter, apply_filters, list_rows
from store.threads.visible_threads import Viewer, is_seen, thread_not_found


@dataclass(frozen=True, slots=True, kw_only=True)
class ThreadView:
    """A thread, without its messages."""

    key: int
    id: str
    title: str | None
    #: Whose it is; None where it is nobody's.
    user: str | None
    metadata: Mapping[str, Any]
    #: The agent that it was handed over to; None where the default one answers.
    agent: str | None
    created_at: datetime
    updated_at: datetime
    #: Messages of its history.
    messages: int
    #: The id of the turn that runs there.
    running_turn: str | None
    #: The policy of its messages that name none; None takes the agent's.
    when_busy: WhenBusy | None
    #: The number behind which its events tell what is not in its history yet.
    last_event_id: int


class ThreadViewPage(list[ThreadView]):
    """Views of threads, newest first; `next_cursor` is None on the last page."""

    next_cursor: str | None = None


@read_only
def read_view(connection: Connection, viewer: Viewer, thread_id: str) -> ThreadView:
    """The view of a thread's chosen branch, or of an address. Raises `ThreadNotFound`, `BranchNotFound`."""
    row = connection.execute(_select_views().where(is_seen(viewer, thread_id))).one_or_none()
    if row is None:
        raise thread_not_found(viewer, thread_id)
    return _view_of(row)


@read_only
def list_views(
    connection: Connection, filters: ThreadFilter, *, limit: int, cursor: str | None = None, order: Order = "created"
) -> ThreadViewPage:
    """List threads as `store.threads.listing.list_threads` does."""
    rows, next_cursor = list_rows(connection, _select_views(), filters, limit=limit, cursor=cursor, order=order)
    page = ThreadViewPage(_view_chosen(connection, rows))
    page.next_cursor = next_cursor
    return page


@read_only
def read_views(connection: Connection, filters: ThreadFilter, thread_ids: Collection[str]) -> dict[str, ThreadView]:
    """The views of threads by id: of those that meet the filters."""
    statement = apply_filters(connection, _select_views(), filters).where(threads.c.id.in_(sorted(thread_ids)))
    return {view.id: view for view in _view_chosen(connection, connection.execute(statement).all())}


def _view_chosen(connection: Connection, rows: Sequence[AnyRow]) -> Iterator[ThreadView]:
    """The views of threads, each of its chosen branch: a statement more where one is another than the first."""
    keys = [row.chosen_key for row in rows if row.chosen_key is not None]
    of_chosen = connection.execute(_select_views().where(threads.c.key.in_(keys))) if keys else ()
    chosen_rows = {row.key: row for row in of_chosen}
    return (_view_of(chosen_rows.get(row.chosen_key, row)) for row in rows)


def _select_views() -> Select[Any]:
    """The rows of threads, with their open turn and the fencing tokens by which their last event is numbered."""
    is_running = _is_begun & (_turn.c.state == "running")
    newest_message = (messages.c.thread_key == threads.c.key) & (messages.c.seq == threads.c.last_seq)
    of_message = (_turn.c.thread_key == messages.c.thread_key) & (_turn.c.id == messages.c.turn_id)
    token_of_newest = select(_turn.c.fencing_token).join_from(messages, _turn, of_message)
    # As `number_messages` finds it for a message of no turn.
    is_before = (_turn.c.thread_key == threads.c.key) & (_turn.c.window_to_seq < threads.c.last_seq)
    before = select(_turn.c.fencing_token, _turn.c.arrival_seq).where(is_before).correlate(threads)
    token_before = select(first_turns(before, _turn, limit=1, newest=True).c.fencing_token)
    return select(
        threads,
        _first(select(_turn.c.id).where(is_running)).label("running_turn"),
        _first(select(_turn.c.first_fencing_token).where(_is_begun)).label("token_of_open"),
        _first(token_of_newest.where(newest_message)).label("token_of_newest"),
        _first(token_before).label("token_before"),
    )


def _first(statement: Select[Any]) -> ScalarSelect[Any]:
    return statement.limit(1).correlate(threads).scalar_subquery()


_turn = turns.alias("turn")
#: The turn of a thread that has begun and is not over: one, or none. An index has it first.
_is_begun = (_turn.c.thread_key == threads.c.key) & is_unfinished_in_thread("turn") & (_turn.c.attempt > 0)


def view_new(row: AnyRow) -> ThreadView:
    """The view of a row that was just made, and that no turn has run on."""
    return _build_view(row, running_turn=None, last_event_id=number_after_turn(0, row.last_seq) if row.last_seq else 0)


def _view_of(row: AnyRow) -> ThreadView:
    return _build_view(row, running_turn=row.running_turn, last_event_id=_last_event_id(row))


def _build_view(row: AnyRow, *, running_turn: str | None, last_event_id: int) -> ThreadView:
    return ThreadView(
        key=row.key,
        id=split_address(row.id)[0],
        title=row.title,
        user=row.owner,
        metadata={name: value for name, value in row.metadata.items() if name != LAST_UPDATED},
        agent=row.assigned_agent,
        created_at=row.created_at,
        updated_at=row.updated_at,
        # Every message got the next seq, and those at the front are hidden first.
        messages=row.last_seq - row.history_starts_after,
        running_turn=running_turn,
        when_busy=None if row.when_busy is None else WhenBusy(row.when_busy),
        last_event_id=last_event_id,
    )


def _last_event_id(row: AnyRow) -> int:
    return max(_last_turn_event(row), 0 if row.chosen_fence is None else number_of_switch(row.chosen_fence))


def _last_turn_event(row: AnyRow) -> int:
    if row.token_of_open is not None:
        # What it has said is in the history when it is over.
        return number_of_start(row.token_of_open) - 1
    if row.token_of_newest is not None:
        return number_of_end(row.token_of_newest)
    fence = row.token_before or 0
    if row.chosen_fence is not None and row.last_seq > row.chosen_after_seq:
        fence = max(fence, row.chosen_fence)
    return number_after_turn(fence, row.last_seq) if row.last_seq else 0
