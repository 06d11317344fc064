"""The sight of a principal: one place decides for threads and turns, and so for all that belongs to them.

What stays true: what one may not see does not exist: it raises what an id that is not stored raises.
"""

from collections.abc import Mapping
from typing import Any

from conversation.branch_address import checked_address_of
from conversation.errors import InvalidInput, ThreadNotFound, TurnNotFound
from conversation.user import named_user
from conversation.validation import check_metadata
from producers.http.dependencies import Gateway
from producers.http.principal import Principal
from store.database.engine import PatientRunner
from store.threads.thread_views import ThreadView, read_view
from store.threads.visible_threads import Viewer
from store.turns.visible_turns import TurnView, read_turn


def viewer_of(principal: Principal) -> Viewer:
    """The principal as the store knows it."""
    return Viewer(principal.tenant, principal.user)


def database_of(gateway: Gateway, principal: Principal) -> PatientRunner:
    """The database, for the principal's tenant alone."""
    return gateway.producer.database.acting_for(principal.tenant)


async def visible_thread(
    gateway: Gateway, principal: Principal, thread_id: str, *, branch: str | None = None
) -> ThreadView:
    """A thread, or one of its branches. Raises `ThreadNotFound`, and `InvalidInput` for what is no id."""
    address = checked_address_of(thread_id, branch)
    view = await database_of(gateway, principal).run_async(read_view, viewer_of(principal), address)
    if principal.thread_id not in (None, thread_id):
        raise ThreadNotFound(f"no thread {thread_id!r} is stored for tenant {principal.tenant!r}")
    return view


async def visible_turn(
    gateway: Gateway, principal: Principal, turn_id: str, *, with_messages: bool = False
) -> TurnView:
    """A turn; with its messages, once it is over. Raises `TurnNotFound`."""
    view = await database_of(gateway, principal).run_async(
        read_turn, viewer_of(principal), turn_id, with_messages=with_messages
    )
    if principal.thread_id not in (None, view.record.thread_id):
        raise TurnNotFound("turn_id: no such turn is stored")
    return view


def acting_user(principal: Principal, user: str | None, metadata: Mapping[str, Any] | None) -> str | None:
    """The user for whom a principal acts, where a request may name one.

    Raises `InvalidInput` where a credential of one user names another one, in whichever way the store would read it.
    """
    if principal.user is None:
        return user
    if user not in (None, principal.user):
        raise InvalidInput("user", "is not the user of your credential", "leave it out")
    if named_user(None, check_metadata("metadata", metadata)) not in (None, principal.user):
        raise InvalidInput("metadata.user", "is not the user of your credential", "leave it out")
    return principal.user
