"""Reading a thread's events out of its rows, from any number on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from conversation.events import ThreadEvent, TurnEnded, TurnQueued


@dataclass(frozen=True, slots=True, kw_only=True)
class EventPage:
    """Events that come after a number."""

    #: With rising numbers.
    events: tuple[ThreadEvent, ...] = ()
    #: Of the last page: the turns that wait, in their order; of a turn's: that it waits, or ended without beginning.
    notices: tuple[TurnQueued | TurnEnded, ...] = ()
    #: There is more after the last of them.
    has_more: bool = False
    #: The id of the turn that is under way.
    running: str | None = None


def read_thread_events(
    connection: Connection, tenant: str, thread_id: str, *, after: int = 0, limit: int = 500
) -> EventPage:
    """The events of a thread behind a number, a page at a time. Raises `ThreadNotFound`."""
    raise NotImplementedError


def read_turn_events(connection: Connection, turn_id: str, *, after: int = 0) -> EventPage:
    """The events of a turn behind a number, all in one page. Raises `TurnNotFound`."""
    raise NotImplementedError


def peek_threads(connection: Connection, of: Sequence[tuple[str, str]]) -> Mapping[tuple[str, str], object]:
    """A mark of each thread that is stored, by tenant and id: another one where its rows changed."""
    raise NotImplementedError


def list_active_threads(connection: Connection, tenant: str, owner: str, since: datetime) -> Sequence[str]:
    """The ids of a user's threads that were in use since a moment."""
    raise NotImplementedError
