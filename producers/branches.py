"""Branches for web backends: another answer, a changed message, and the choice between what came of them.

What stays true: the branch, its turn and the switch to it are committed together before a worker or a viewer is told of
them; a broker that is away delays both, and loses neither.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Unpack

from conversation.branch_address import checked_address_of, new_branch_id, split_address
from conversation.parts import Content
from conversation.validation import check_id
from producers.connections import Connections
from producers.send_options import AnswerKeywords, SendKeywords, SendOptions
from producers.send_request import build_answer_request, build_request, limits_of
from producers.turn import AsyncTurn, Turn
from store.blobs import BlobStore
from store.branches import branch_turns, branches
from store.branches.branch_turns import BranchTurn, branch_id_for
from store.branches.branches import Branch, Comparison
from store.branches.delete_branch import delete_branch
from store.database.engine import PatientRunner
from store.files.ingest import FileIngest
from store.live.event_channel import Ring, seal, topic_of
from store.threads.visible_threads import Viewer
from store.turns.send_request import SendRequest


@dataclass(frozen=True, slots=True)
class Branches:
    """The branches of a producer's threads."""

    connections: Connections
    #: Opens the store of attachments, with the first one.
    open_blobs: Callable[[], BlobStore]

    def regenerate(self, thread_id: str, **options: Unpack[AnswerKeywords]) -> Turn:
        """Have the last question answered once more; see `producers.regenerate`."""
        request = build_answer_request(thread_id, SendOptions(**options), self.connections.settings)
        made = self._run(request, branch_turns.regenerate, keeps_agent=options.get("agent") is None)
        return self._finish(request, made)

    async def regenerate_async(self, thread_id: str, **options: Unpack[AnswerKeywords]) -> AsyncTurn:
        """As `regenerate`, on the event loop."""
        return self._twin(await asyncio.to_thread(partial(self.regenerate, thread_id, **options)))

    def edit_message(self, thread_id: str, message_id: str, content: Content, **options: Unpack[SendKeywords]) -> Turn:
        """Send another message in the place of a user's; see `producers.edit_message`."""
        message_id = check_id("message_id", message_id)
        request = build_request(thread_id, content, SendOptions(**options), self.connections.settings)
        if request.attachments:
            FileIngest(self.connections.database, self.open_blobs()).store(request.tenant, request.attachments)
        keeps_files = options.get("attachments") is None
        made = self._run(request, branch_turns.edit_message, message_id=message_id, keeps_files=keeps_files)
        return self._finish(request, made)

    async def edit_message_async(
        self, thread_id: str, message_id: str, content: Content, **options: Unpack[SendKeywords]
    ) -> AsyncTurn:
        """As `edit_message`, on the event loop."""
        return self._twin(
            await asyncio.to_thread(partial(self.edit_message, thread_id, message_id, content, **options))
        )

    def make(
        self,
        thread_id: str,
        *,
        at: int | str | None = None,
        name: str | None = None,
        branch: str | None = None,
        tenant: str = "default",
    ) -> Branch:
        """Make a branch; see `producers.make_branch`."""
        make = partial(branches.make_branch, branch_id=new_branch_id(), at=at, name=name)
        return self._runner(tenant).run(make, Viewer(tenant), checked_address_of(thread_id, branch))

    def list(self, thread_id: str, *, tenant: str = "default") -> list[Branch]:
        """The branches of a thread; see `producers.list_branches`."""
        return self._runner(tenant).run(branches.list_branches, Viewer(tenant), check_id("thread_id", thread_id))

    def choose(self, thread_id: str, branch: str, *, tenant: str = "default") -> Branch:
        """Have a thread's id stand for a branch; see `producers.choose_branch`."""
        of_thread = check_id("thread_id", thread_id), branch
        chosen, before = self._runner(tenant).run(branches.choose_branch, Viewer(tenant), *of_thread)
        if before is not None:
            self._ring(tenant, thread_id)
        return chosen

    def rename(self, thread_id: str, branch: str, name: str | None, *, tenant: str = "default") -> Branch:
        """Give a branch a name; see `producers.rename_branch`."""
        of_branch = check_id("thread_id", thread_id), branch
        return self._runner(tenant).run(branches.rename_branch, Viewer(tenant), *of_branch, name)

    def compare(self, thread_id: str, ours: str, theirs: str, *, tenant: str = "default") -> Comparison:
        """Compare two branches; see `producers.compare_branches`."""
        of_thread = check_id("thread_id", thread_id), ours, theirs
        return self._runner(tenant).run(branches.compare_branches, Viewer(tenant), *of_thread)

    def delete(self, thread_id: str, branch: str, *, tenant: str = "default") -> None:
        """Delete a branch; see `producers.delete_branch`."""
        self._runner(tenant).run(delete_branch, Viewer(tenant), check_id("thread_id", thread_id), branch)

    def _runner(self, tenant: str) -> PatientRunner:
        return self.connections.database.acting_for(tenant)

    def _run(self, request: SendRequest, verb: Any, **options: Any) -> BranchTurn:
        run = partial(verb, branch_id=branch_id_for(request), **options)
        made: BranchTurn = self._runner(request.tenant).run(
            run, Viewer(request.tenant), request, limits_of(self.connections.settings)
        )
        return made

    def _finish(self, request: SendRequest, made: BranchTurn) -> Turn:
        """Tell viewers and workers of what is committed; returns the turn's handle."""
        turn = Turn(
            id=made.accepted.turn_id,
            tenant=request.tenant,
            address=made.accepted.address,
            is_new=made.accepted.is_new,
            connections=self.connections,
            priority=request.priority,
            needs_notify=made.accepted.needs_wake_up,
        )
        if made.before is not None:
            self._ring(request.tenant, request.thread_id)
        if turn.needs_notify:
            turn.notify()
        return turn

    def _ring(self, tenant: str, thread_id: str) -> None:
        self.connections.signals.publish(*_ring_of(tenant, thread_id))

    def _twin(self, turn: Turn) -> AsyncTurn:
        return AsyncTurn(
            id=turn.id,
            tenant=turn.tenant,
            address=turn.address,
            is_new=turn.is_new,
            connections=turn.connections,
            priority=turn.priority,
            needs_notify=turn.needs_notify,
        )


async def ring(connections: Connections, tenant: str, thread_id: str) -> None:
    """Have the viewers of a thread read its rows: its id stands for another branch. A broker that is away delays it."""
    await connections.signals.publish_async(*_ring_of(tenant, thread_id))


def _ring_of(tenant: str, address: str) -> tuple[str, str]:
    """The channel and the text of a ring. It is not signed: rows say what is true."""
    thread_id, _ = split_address(address)
    topic = topic_of("thread", tenant, thread_id)
    return topic, seal(topic, Ring(thread_id=thread_id, number=0), b"")
