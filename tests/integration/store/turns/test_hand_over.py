"""A thread that is handed over to another agent: on each database and on both roads."""

from typing import Any

import pytest
from sqlalchemy import select

from conversation.errors import Fault, InvalidInput, ThreadNotFound, UnknownAgent
from conversation.ids import new_id
from conversation.message import Message
from conversation.step import Step
from conversation.turn import Cancelled, ClaimedTurn, Completed, Failed, HandOver, RefusedTurn, TurnError
from store import tables
from store.branches.branches import make_branch
from store.database.engine import Database
from store.threads.editing import edit_thread
from store.threads.forks import fork
from store.threads.visible_threads import Viewer
from store.turns import cancel, claims, inbox, journal, records, workers
from store.turns import settle as turns
from store.turns.claims import ClaimRequest
from store.turns.send_request import SendRequest

AGENTS = {"assistant": "1", "billing": "1"}


class Desk:
    """A store with two agents, and the verbs of these tests."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.worker = new_id()
        database.run(workers.register, worker=self.worker, host="", pid=1, serves=AGENTS, lease_duration_seconds=600)

    def send(self, agent: str | None = None, *, thread: str = "t", **options: Any) -> str:
        request = SendRequest(
            turn_id=new_id(),
            tenant="default",
            thread_id=thread,
            message=Message(role="user", content="hello"),
            agent=agent or "assistant",
            is_agent_default=agent is None,
            **options,
        )
        return self.database.run(inbox.accept, request=request).turn_id

    def claim(self, thread: str = "t") -> ClaimedTurn | RefusedTurn:
        request = ClaimRequest(worker=self.worker, agents=AGENTS)
        claimed = self.database.run(claims.claim, tenant="default", thread_id=thread, claimant=request)
        assert isinstance(claimed, ClaimedTurn | RefusedTurn)
        return claimed

    def settle(self, claimed: ClaimedTurn | RefusedTurn, ending: Any) -> None:
        self.database.run(turns.settle, claimed.lease, claimed.id, ending, release=True)

    def agent_of(self, turn_id: str) -> str:
        return self.database.run(records.read, turn_id=turn_id).agent

    def assigned(self, thread: str = "t") -> str | None:
        row = select(tables.threads.c.assigned_agent).where(tables.threads.c.id == thread)
        return self.database.run(lambda c: c.execute(row).scalar_one())


@pytest.fixture
def desk(any_database: Database) -> Desk:
    return Desk(any_database)


def test_who_was_handed_the_thread_answers_what_is_sent_to_no_agent(desk: Desk) -> None:
    first = desk.send()
    waiting = desk.send()
    claimed = desk.claim()

    desk.settle(claimed, Completed(messages=(Message(role="assistant", content="bye"),), hands_over_to="billing"))
    later = [desk.send(), desk.send("assistant"), desk.send(thread="other")]

    assert [desk.agent_of(turn) for turn in (first, waiting)] == ["assistant"] * 2
    assert [desk.agent_of(turn) for turn in later] == ["billing", "assistant", "assistant"]
    # The next ones leave it as it is.
    desk.settle(desk.claim(), Completed())
    assert desk.assigned() == "billing"
    desk.database.run(fork, tenant="default", thread_id="t", new_id="copy")
    assert desk.assigned("copy") == "billing"


@pytest.mark.parametrize(
    "ending",
    [
        Failed(error=TurnError("step_limit", "no answer", fault=Fault.MODEL), hands_over_to="billing"),
        Cancelled(hands_over_to="billing"),
    ],
    ids=["failed", "cancelled"],
)
def test_a_hand_over_that_the_history_tells_of_holds_however_its_turn_ends(desk: Desk, ending: Any) -> None:
    desk.send()
    desk.settle(desk.claim(), HandOver())
    assert desk.assigned() is None

    desk.settle(desk.claim(), ending)

    assert desk.assigned() == "billing"


def test_a_turn_that_is_ended_out_of_its_journal_hands_over_what_that_says(desk: Desk) -> None:
    turn = desk.send()
    claimed = desk.claim()
    assert isinstance(claimed, ClaimedTurn)
    reply = {"tool_calls": [{"id": "c", "name": "hand_over_to_billing", "arguments": "{}"}]}
    handed_over = {"content": "{}", "hand_over": "billing"}
    steps = [
        Step(index=0, kind="model", name="m", state="finished", result=reply),
        Step(index=1, kind="tool", call_id="c", name="hand_over_to_billing", state="finished", result=handed_over),
        # What another agent said meanwhile is no message of the thread.
        Step(index=2, kind="model", name="m", state="finished", result={"content": "x"}, parent=1, agent="helper"),
    ]
    desk.database.run(journal.record, claimed.lease, turn, steps)
    desk.settle(claimed, HandOver(steps=(Step(index=3, kind="model", state="started", parent=1, agent="helper"),)))
    desk.database.run(cancel.request_cancel, turn)
    assert [(step.parent, step.agent) for step in desk.database.run(journal.load, turn_id=turn).values()] == [
        (None, None),
        (None, None),
        (1, "helper"),
        (1, "helper"),
    ]

    refused = desk.claim()
    assert isinstance(refused, RefusedTurn)
    desk.settle(refused, refused.ending)

    assert [message.role for message in refused.ending.messages] == ["assistant", "tool"]
    assert desk.assigned() == "billing"


def test_a_program_hands_a_thread_over_and_takes_it_back(desk: Desk) -> None:
    desk.send()
    viewer = Viewer("default")

    view = desk.database.run(edit_thread, viewer, "t", assigned_agent="billing")
    assert view is not None
    assert view.agent == "billing"
    assert desk.agent_of(desk.send()) == "billing"
    desk.database.run(edit_thread, viewer, "t", title="changed")
    assert desk.assigned() == "billing"
    desk.database.run(edit_thread, viewer, "t", assigned_agent=None)
    assert desk.agent_of(desk.send()) == "assistant"
    with pytest.raises(ThreadNotFound):
        desk.database.run(edit_thread, viewer, "nowhere", assigned_agent="billing")
    with pytest.raises(InvalidInput, match="agent"):
        desk.database.run(edit_thread, viewer, "t", assigned_agent="")


def test_a_program_hands_each_branch_over_whichever_has_the_agent_already(desk: Desk) -> None:
    desk.send()
    desk.settle(desk.claim(), Completed())
    viewer = Viewer("default")
    desk.database.run(make_branch, viewer, "t", branch_id="other")
    desk.send(thread="t/other")
    handed_over = Completed(hands_over_to="billing")
    desk.settle(desk.claim("t/other"), handed_over)
    assert [desk.assigned("t"), desk.assigned("t/other")] == [None, "billing"]

    desk.database.run(edit_thread, viewer, "t", assigned_agent=None)

    assert [desk.assigned("t"), desk.assigned("t/other")] == [None, None]


def test_an_agent_that_nobody_serves_is_named_to_whoever_sends(desk: Desk) -> None:
    desk.send()
    desk.database.run(edit_thread, Viewer("default"), "t", assigned_agent="gone")

    with pytest.raises(UnknownAgent, match="'gone'"):
        desk.send()
    assert desk.agent_of(desk.send(allow_unknown_agent=True)) == "gone"
    assert desk.agent_of(desk.send("billing")) == "billing"
