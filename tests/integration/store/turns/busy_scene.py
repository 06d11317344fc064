"""A thread that gets a second message at each moment of its first one's turn, and what became of both.

What stays true: what is told here is read out of the rows after both turns have ended, as any reader would see them.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from sqlalchemy import Connection, select

from conversation.errors import ThreadBusy
from conversation.ids import new_id
from conversation.message import Message, ToolCall
from conversation.replay import replay_transcript
from conversation.step import Step
from conversation.turn import Cancelled, ClaimedTurn, Completed, RefusedTurn, TurnState
from conversation.when_busy import WhenBusy
from store.database.engine import Database
from store.tables import messages, threads, turns
from store.turns import cancel, claims, inbox, journal, records, steering, workers
from store.turns import settle as settling
from store.turns.claims import ClaimRequest
from store.turns.send_request import SendRequest

#: The moments of the first turn, in the order in which they come.
MOMENTS = ("before claim", "in a model call", "in a tool", "in the commit", "after")
#: What becomes of the two messages, by what the page calls it.
OWN, REFUSED, STOPS, UNDOES, TOGETHER, READS = "own turn", "refused", "stops it", "undoes it", "together", "is read"


class BusyScene:
    """One thread in a database, and a worker that runs its turns."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.thread = new_id()
        self.worker = new_id()
        entry = {"host": "here", "pid": 1, "serves": {"assistant": "1"}, "lease_duration_seconds": 60}
        database.run(workers.register, worker=self.worker, **entry)

    @property
    def claimant(self) -> ClaimRequest:
        return ClaimRequest(worker=self.worker, agents={"assistant": "1"})

    def send(self, content: str, when_busy: WhenBusy | None = None, **options: Any) -> str:
        return self.database.run(partial(self.accept, content=content, when_busy=when_busy, **options))

    def accept(self, connection: Connection, content: str, **options: Any) -> str:
        request = SendRequest(
            turn_id=new_id(),
            tenant="default",
            thread_id=self.thread,
            agent="assistant",
            **{"message": Message(role="user", content=content)} | options,
        )
        return inbox.accept(connection, request).turn_id

    def claim(self) -> Any:
        return self.database.run(claims.claim, tenant="default", thread_id=self.thread, claimant=self.claimant)

    def claim_turn(self) -> ClaimedTurn:
        claimed = self.claim()
        assert isinstance(claimed, ClaimedTurn)
        return claimed

    def call_tool(self, claimed: ClaimedTurn) -> None:
        """The first reply asks for a tool, which begins."""
        reply = {"content": "I look", "tool_calls": [ToolCall("c", "look", "{}").to_json()]}
        self.record(
            claimed,
            Step(index=0, kind="model", name="m", state="finished", result=reply),
            Step(index=1, kind="tool", call_id="c", name="look", state="started"),
        )

    def end_tool(self, claimed: ClaimedTurn) -> bool:
        result = {"content": "found"}
        return self.record(
            claimed, Step(index=1, kind="tool", call_id="c", name="look", state="finished", result=result)
        )

    def record(self, claimed: ClaimedTurn, *entries: Step) -> bool:
        return self.database.run(journal.record, lease=claimed.lease, turn_id=claimed.id, entries=entries)

    def take(self, claimed: ClaimedTurn, index: int) -> list[Step]:
        return self.database.run(steering.take, claimed.lease, claimed.id, index, limit=20)

    def is_asked_to_stop(self, turn_id: str) -> bool:
        return self.database.run(cancel.list_requested, [turn_id]) == [turn_id]

    def settle(self, claimed: ClaimedTurn | RefusedTurn, ending: Any) -> None:
        self.database.run(settling.settle, lease=claimed.lease, turn_id=claimed.id, ending=ending, release=True)

    def end(self, claimed: ClaimedTurn) -> None:
        """End a turn as its worker would: cancelled where it was asked to stop, else with an answer."""
        if claimed.is_steered:
            self.take(claimed, 0)
        self.settle(claimed, self.ending(claimed))

    def ending(self, claimed: ClaimedTurn) -> Any:
        steps = self.database.run(journal.load, claimed.id)
        said = replay_transcript(claimed.id, steps, {}).close()
        if self.is_asked_to_stop(claimed.id):
            return Cancelled(messages=(*said, Message(role="assistant", content="I be", state="partial")))
        asked = [message.content for message in (*claimed.window, *said) if message.role == "user"]
        return Completed(messages=(*said, Message(role="assistant", content=f"to {' and '.join(asked)}")))

    def run_all(self) -> None:
        """Run turns until nothing is due."""
        while isinstance(turn := self.claim(), ClaimedTurn | RefusedTurn):
            if isinstance(turn, RefusedTurn):
                self.settle(turn, turn.ending)
            else:
                self.end(turn)

    def read(self, turn_id: str) -> Any:
        return self.database.run(records.read, turn_id=turn_id)

    def result(self, turn_id: str) -> Any:
        return self.database.run(records.read_result, turn_id=turn_id)

    def stored(self, *, in_view: bool | None = None) -> list[str]:
        """The history's texts: all, or those in view, or those out of it."""
        statement = select(messages.c.content).join(threads).where(threads.c.id == self.thread)
        if in_view is not None:
            statement = statement.where(messages.c.rolled_back.is_(not in_view))
        return self.database.run(lambda c: list(c.execute(statement.order_by(messages.c.seq)).scalars()))

    def inbox_count(self) -> int:
        unfinished = (
            select(turns.c.id)
            .join(threads)
            .where(threads.c.id == self.thread, turns.c.state.in_(("queued", "running")))
        )
        return len(self.database.run(lambda c: c.execute(unfinished).all()))


def play(scene: BusyScene, first_policy: WhenBusy, new_policy: WhenBusy, moment: str) -> str:
    """What becomes of two messages, the second of which comes at this moment, in the page's words."""
    first = scene.send("one", first_policy)
    second: list[str | None] = []

    def send_second() -> None:
        try:
            second.append(scene.send("two", new_policy))
        except ThreadBusy:
            second.append(None)

    if moment == "before claim":
        send_second()
    else:
        claimed = scene.claim_turn()
        _end_at(scene, claimed, moment, send_second)
    scene.run_all()
    return tell(scene, first, second[0])


def _end_at(scene: BusyScene, claimed: ClaimedTurn, moment: str, send_second: Callable[[], None]) -> None:
    if moment == "in a model call":
        send_second()
        scene.end(claimed)
    elif moment == "in a tool":
        scene.call_tool(claimed)
        send_second()
        if scene.end_tool(claimed):
            scene.take(claimed, 2)
        scene.end(claimed)
    elif moment == "in the commit":
        ending = scene.ending(claimed)
        with scene.database.engine.connect() as connection:
            settling.settle(connection, claimed.lease, claimed.id, ending, release=True)
            send_second()
            connection.commit()
    else:
        scene.end(claimed)
        send_second()


def tell(scene: BusyScene, first: str, second: str | None) -> str:
    """What became of both, checked to be one of the page's words, and to lose and double nothing."""
    one = scene.read(first)
    assert scene.inbox_count() == 0
    if second is None:
        assert one.state is TurnState.COMPLETED
        return REFUSED
    two, answer = scene.read(second), scene.result(second)
    assert answer.state is TurnState.COMPLETED
    assert scene.stored().count("two") == 1
    if two.merged_into is not None:
        assert two.merged_into == first
        assert (two.state, one.state) == (TurnState.MERGED, TurnState.COMPLETED)
        assert answer.content == scene.result(first).content == "to one and two"
        assert two.when_busy in (WhenBusy.MERGE, WhenBusy.STEER)
        return TOGETHER if two.when_busy is WhenBusy.MERGE else READS
    if one.state is TurnState.COMPLETED:
        assert scene.stored(in_view=True).count("to one") == 1
        return OWN
    assert one.state is TurnState.CANCELLED
    assert one.interrupted_by == second
    assert one.rolled_back == ("one" not in scene.stored(in_view=True) and answer.content == "to two")
    return UNDOES if one.rolled_back else STOPS
