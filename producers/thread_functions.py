"""The functions that change a thread, on the producer of this process: who answers in it, its policy, its copies."""

from sqlalchemy import Connection

from conversation.errors import InvalidInput
from conversation.ids import new_id
from conversation.validation import check_id, check_tenant
from conversation.when_busy import WhenBusy
from producers.api import default_producer, move_to_thread
from store.threads.editing import edit_thread
from store.threads.forks import fork_visible_thread
from store.threads.visible_threads import Viewer


def hand_over_thread(thread_id: str, agent: str | None, *, tenant: str = "default") -> None:
    """Hand a thread over to an agent: it answers what is sent to it from now on, where the sender names no agent.

    None gives it back to the default agent. Turns that are queued keep their own. The agent need not be registered yet:
    sends that name none are refused with `UnknownAgent` until it is. An agent does the same with a tool,
    `hand_over_to`. Raises `ThreadNotFound`, `InvalidInput` and `DatabaseUnavailable`.
    """
    runner = default_producer().database.acting_for(tenant)
    runner.run(edit_thread, Viewer(check_tenant(tenant)), thread_id, assigned_agent=agent)


hand_over_thread_async = move_to_thread(hand_over_thread)


def set_when_busy(thread_id: str, when_busy: WhenBusy | str | None, *, tenant: str = "default") -> None:
    """Set the policy of a thread for messages that name none: what becomes of them while it has an unfinished turn.

    None leaves it to the agent. Messages that were sent keep their own. Raises `ThreadNotFound`, `InvalidInput` and
    `DatabaseUnavailable`.
    """
    runner = default_producer().database.acting_for(tenant)
    runner.run(edit_thread, Viewer(check_tenant(tenant)), thread_id, when_busy=when_busy)


set_when_busy_async = move_to_thread(set_when_busy)


def fork_thread(
    thread_id: str, *, at: int | None = None, new_thread_id: str | None = None, tenant: str = "default"
) -> str:
    """The id of a new thread that begins as this one, up to and with the message whose `seq` is `at`, or the last.

    Its history is shared, so it costs the same however long that is. Raises `ThreadNotFound`, `DatabaseUnavailable`,
    and `InvalidInput` for the id of a thread that exists, and where `at` parts a tool call from its result.
    """
    fork_id = new_id() if new_thread_id is None else check_id("new_thread_id", new_thread_id)
    runner = default_producer().database.acting_for(tenant)
    runner.run(_fork, Viewer(check_tenant(tenant)), thread_id, fork_id, at=at, is_named=new_thread_id is not None)
    return fork_id


def _fork(
    connection: Connection, viewer: Viewer, thread_id: str, fork_id: str, *, at: int | None, is_named: bool
) -> None:
    view = fork_visible_thread(connection, viewer, thread_id, fork_id, at=at)
    # An id that was made here is this fork's own, whose commit went through before its answer was lost.
    if view is None and is_named:
        raise InvalidInput("new_thread_id", f"{fork_id!r} is the id of a thread already", "pass another one")


fork_thread_async = move_to_thread(fork_thread)
