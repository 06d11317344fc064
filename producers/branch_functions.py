"""The functions of branches, on the producer of this process."""

from typing import TYPE_CHECKING, Unpack

from conversation.parts import Content
from producers.api import default_producer, move_to_thread
from producers.send_options import AnswerKeywords, SendKeywords
from producers.turn import AsyncTurn, Turn

if TYPE_CHECKING:
    from store.branches.branches import Branch, Comparison


def regenerate(thread_id: str, **options: Unpack[AnswerKeywords]) -> Turn:
    """Another answer to a thread's last question, on a branch that is chosen: the old answer stays on its own.

    The agent that answered before answers again, unless `agent` names another one. `options` are the fields of
    `SendOptions` but for those of a message. The same `idempotency_key` gives the first turn again.

    Raises `ThreadNotFound`, `BranchNotFound`, `MessageNotFound` where nothing was asked yet, `BranchInUse` while a turn
    of the branch waits or runs, and what `send_message` raises.
    """
    return default_producer().branches.regenerate(thread_id, **options)


async def regenerate_async(thread_id: str, **options: Unpack[AnswerKeywords]) -> AsyncTurn:
    """As `regenerate`, on the event loop."""
    return await default_producer().branches.regenerate_async(thread_id, **options)


def edit_message(thread_id: str, message_id: str, content: Content, **options: Unpack[SendKeywords]) -> Turn:
    """A message in the place of a user's earlier one, on a branch from before it, which is chosen.

    The message and all that came after it stay on their branch. Its files are the new one's, unless `attachments`
    are passed. `options` are the fields of `SendOptions`. Raises as `regenerate`, `MessageNotFound` for an id that the
    branch does not have, and `InvalidInput` for a message that is not a user's.
    """
    return default_producer().branches.edit_message(thread_id, message_id, content, **options)


async def edit_message_async(
    thread_id: str, message_id: str, content: Content, **options: Unpack[SendKeywords]
) -> AsyncTurn:
    """As `edit_message`, on the event loop."""
    return await default_producer().branches.edit_message_async(thread_id, message_id, content, **options)


def make_branch(
    thread_id: str,
    *,
    at: int | str | None = None,
    name: str | None = None,
    branch: str | None = None,
    tenant: str = "default",
) -> "Branch":
    """A new branch behind a message, by its id or `seq`, of the chosen branch or of `branch`; it is not chosen by that.

    Without `at`, behind the last message. Its history is shared, so it costs the same however long that is. Raises
    `ThreadNotFound`, `BranchNotFound`, `MessageNotFound`, `LimitReached` (1,000 branches), and `InvalidInput` where
    `at` parts a tool call from its result.
    """
    return default_producer().branches.make(thread_id, at=at, name=name, branch=branch, tenant=tenant)


make_branch_async = move_to_thread(make_branch)


def list_branches(thread_id: str, *, tenant: str = "default") -> "list[Branch]":
    """The branches of a thread, the oldest first. Raises `ThreadNotFound`."""
    return default_producer().branches.list(thread_id, tenant=tenant)


list_branches_async = move_to_thread(list_branches)


def choose_branch(thread_id: str, branch: str, *, tenant: str = "default") -> "Branch":
    """The branch for which the thread's id stands from now on; its viewers get the event `thread.switched`.

    Raises `ThreadNotFound`, `BranchNotFound`, and `BranchInUse` while a worker answers on that branch.
    """
    return default_producer().branches.choose(thread_id, branch, tenant=tenant)


choose_branch_async = move_to_thread(choose_branch)


def rename_branch(thread_id: str, branch: str, name: str | None, *, tenant: str = "default") -> "Branch":
    """The branch with another name of at most 200 characters, or none. Raises `ThreadNotFound`, `BranchNotFound`."""
    return default_producer().branches.rename(thread_id, branch, name, tenant=tenant)


rename_branch_async = move_to_thread(rename_branch)


def compare_branches(thread_id: str, ours: str, theirs: str, *, tenant: str = "default") -> "Comparison":
    """The messages of two branches behind what they share, 200 of each at most.

    Raises `ThreadNotFound` and `BranchNotFound`.
    """
    return default_producer().branches.compare(thread_id, ours, theirs, tenant=tenant)


compare_branches_async = move_to_thread(compare_branches)


def delete_branch(thread_id: str, branch: str, *, tenant: str = "default") -> None:
    """Deletion of a branch; what others share of it stays for them.

    Raises `ThreadNotFound`, `BranchNotFound`, `BranchInUse` for one that is chosen or has turns that are not over,
    `ThreadUnderLegalHold`, and `InvalidInput` for `main`, which goes with its thread.
    """
    default_producer().branches.delete(thread_id, branch, tenant=tenant)


delete_branch_async = move_to_thread(delete_branch)
