"""A turn that waits for turns of other threads: who asks, who answers, and what becomes of both.

What stays true: all ends go through the store's own verbs, as a worker uses them.
"""

from pathlib import Path
from typing import Any

from sqlalchemy import delete, select

from conversation.ids import new_id
from conversation.pending_call import ChildTurn, PendingKind, PendingRequest
from conversation.turn import Completed, RefusedTurn, Waiting
from store.blobs.local import LocalBlobs
from store.database.engine import Database
from store.erasure.subject import Subject
from store.erasure.workflow import run_erasure
from store.retention.delete_thread import delete_rows, delete_thread, delete_visible_thread
from store.tables import threads, turns, workers
from store.threads.visible_threads import Viewer
from store.turns import cancel, pending_calls, sweep, unserved
from store.turns import settle as settling
from store.turns.children import Kin
from tests.integration.store.turns.busy_scene import BusyScene

#: The verbs by which a thread goes because somebody asks for it.
REMOVALS = ("delete", "delete for a viewer", "erase")


class Family(BusyScene):
    """A thread whose turns ask others; `child` is the scene of one that was asked."""

    def __init__(self, database: Database, *, thread: str | None = None) -> None:
        super().__init__(database)
        self.thread = thread or self.thread

    def settle(self, claimed: Any, ending: Any) -> None:
        self.database.run(settling.settle, claimed.lease, claimed.id, ending, release=True, kin=Kin.of(claimed, ending))

    def ask(self) -> "Family":
        """Have the thread's next turn wait for a turn in a thread of its own; returns the family of that."""
        (child,) = self.ask_each("c")
        return child

    def ask_each(self, *call_ids: str) -> "list[Family]":
        """Have the thread's next turn wait for a turn of each of these calls; returns their families."""
        claimed = self.claim_turn()
        children = [Family(self.database, thread=f"{claimed.id}-{call_id}") for call_id in call_ids]
        requests = []
        for index, (call_id, child) in enumerate(zip(call_ids, children, strict=True)):
            asked = ChildTurn(turn_id=new_id(), thread_id=child.thread, agent="assistant", content="help", depth=1)
            kind = PendingKind.CHILD
            requests.append(PendingRequest(call_id=call_id, step_index=index, kind=kind, name="helper", child=asked))
        self.settle(claimed, Waiting(pending=tuple(requests)))
        return children

    def is_there(self) -> bool:
        """Whether its thread is stored."""
        of_thread = select(threads.c.key).where(threads.c.id == self.thread)
        return self.database.run(lambda c: c.execute(of_thread).one_or_none()) is not None

    def remove(self, verb: str, folder: Path) -> None:
        """Delete or erase its thread, by one of `REMOVALS`."""
        match verb:
            case "erase":
                run_erasure(self.database, LocalBlobs(folder), Subject(tenant="default", thread_id=self.thread))
            case "delete":
                assert self.database.run(delete_thread, "default", self.thread)
            case "delete for a viewer":
                self.database.run(delete_visible_thread, Viewer("default"), self.thread)
            case "retention":
                row = select(threads).where(threads.c.id == self.thread).with_for_update()
                self.database.run(lambda c: delete_rows(c, c.execute(row).all()))

    @property
    def turn(self) -> Any:
        """The row of the thread's first turn."""
        of_thread = select(turns).join(threads).where(threads.c.id == self.thread)
        return self.database.run(lambda c: c.execute(of_thread.order_by(turns.c.arrival_seq).limit(1)).one())

    @property
    def told(self) -> list[Any]:
        """What the first turn was told of those that it asked: None as long as they go on."""
        calls = self.database.run(pending_calls.load, turn_id=self.turn.id)
        return [None if each.decision is None else each.decision.value["state"] for each in calls]

    def cancel(self) -> cancel.CancelOutcome:
        return self.database.run(cancel.cancel_answering, self.turn.id)

    def kill_worker(self) -> None:
        self.database.run(lambda c: c.execute(delete(workers).where(workers.c.id == self.worker)) and None)

    def end_overdue(self) -> None:
        """As a sweep does with a turn that must end, and that nobody holds."""
        assert ("default", self.thread) in self.database.run(unserved.list_overdue, limit=500)
        assert self.database.run(unserved.end_overdue, "default", self.thread, sweeper=new_id()) is not None

    def is_swept(self) -> bool:
        """Whether a sweep has a worker look at the thread, no wake-up of which is on its way."""
        wake_ups = self.database.run(sweep.pick_wake_ups, grace_seconds=60, limit=500)
        return self.thread in {each.thread_id for each in wake_ups}

    def run_refused(self) -> None:
        """Claim a turn that is only to be ended, and end it."""
        refused = self.claim()
        assert isinstance(refused, RefusedTurn)
        self.settle(refused, refused.ending)

    def answer(self) -> None:
        """Run the thread's next turn to its end."""
        claimed = self.claim_turn()
        self.settle(claimed, Completed(messages=()))
