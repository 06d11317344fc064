"""What the gateway tells, read by a client that is older, or newer."""

import json
import pickle
from dataclasses import FrozenInstanceError
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from threadmill_client import (
    ConnectionLost,
    Event,
    Message,
    MessageDone,
    RateLimited,
    Thread,
    Turn,
    TurnEnded,
    TurnNotOver,
    TurnQueued,
    TurnWaiting,
    UnexpectedAnswer,
    UnknownEvent,
    models,
)
from threadmill_client import PendingCall as TheirCall
from threadmill_client.decoding import read_model, read_moment
from threadmill_client.events import read_event

from conversation import events as ours
from conversation import turn
from conversation.attachment import Attachment
from conversation.message import Message as OurMessage
from conversation.message import ToolCall, Usage
from conversation.pending_call import PendingCall, PendingKind
from conversation.turn import TurnError, TurnState
from producers.http import answer_shapes

ROOT = Path(__file__).parents[3]
NOW = datetime(2030, 1, 31, 12, 0, 0, 123456, tzinfo=UTC)
MESSAGE = OurMessage(
    role="assistant", content="Grüße", tool_calls=(ToolCall("c1", "look", "{}"),), created_at=NOW, usage=Usage(1, 2, 1),
    attachments=[Attachment(filename="a.txt", content=b"x", media_type="text/plain")],
)  # fmt: skip
CALL = PendingCall(
    tenant="default", turn_id="t", call_id="c1", step_index=0, kind=PendingKind.QUESTION, name="ask",
    arguments='{"a": 1}', arguments_digest="0" * 64, question="Which?", choices=("a", "b"), schema=None,
    requested_at=NOW, expires_at=NOW, decision=None, decided_by=None, decided_at=None,
)  # fmt: skip
COMMON = {"thread_id": "a", "turn_id": "t"}
EVENTS: list[ours.ThreadEvent] = [
    ours.TurnQueued(**COMMON, position=2, due_at=NOW, error=TurnError("model_error", "away", retryable=True)),
    ours.TurnWaiting(**COMMON, calls=(CALL,)),
    ours.TurnDecided(**COMMON, call=CALL),
    ours.TurnStarted(**COMMON, number=1, attempt=2, agent="assistant"),
    ours.MessageDelta(**COMMON, number=2, message_id="m", text="Grü"),
    ours.MessageRestarted(**COMMON, number=3, message_id="m"),
    ours.MessageDone(**COMMON, number=4, message=MESSAGE),
    ours.ToolCallStarted(**COMMON, number=5, message_id="m", call=ToolCall("c1", "look", "{}")),
    ours.AgentSteps(
        **COMMON, steps=(ours.AgentStep(index=2, parent=1, agent="helper", kind="model", name="m", state="finished"),)
    ),
    ours.TurnEnded(**COMMON, number=6, state=TurnState.COMPLETED, usage=Usage(1, 2), cost=0.25),
    ours.ThreadSwitched(thread_id="a", number=7, branch="4f0c", shared_to_seq=3),
    ours.ThreadDeleted(thread_id="a"),
]


def test_the_client_knows_each_kind_of_event_and_each_field() -> None:
    assert {type(event) for event in EVENTS} == set(ours.ThreadEvent.__args__)
    for event in EVENTS:
        sent = ours.event_json(event)

        read = read_event(sent, cursor="9")

        assert (read.kind, read.number, read.thread_id, read.cursor) == (event.kind, event.number, "a", "9")
        for name in set(sent) - {"type", "id"}:
            assert hasattr(read, name), (read, name)


def test_what_is_in_a_message_is_read() -> None:
    (sent,) = (ours.event_json(event) for event in EVENTS if isinstance(event, ours.MessageDone))

    read = read_event(sent)

    assert isinstance(read, MessageDone)
    message = read.message
    assert (message.content, message.created_at, message.usage and message.usage.total_tokens) == ("Grüße", NOW, 3)
    assert (message.tool_calls[0].name, message.attachments[0].size) == ("look", 1)
    assert set(ours.message_json(MESSAGE)) <= set(Message.__dataclass_fields__)


def test_what_a_turn_waits_for_is_read() -> None:
    (sent,) = (ours.event_json(event) for event in EVENTS if isinstance(event, ours.TurnWaiting))

    read = read_event(sent)

    assert isinstance(read, TurnWaiting)
    (call,) = read.calls
    assert (call.arguments, call.choices, call.expires_at, call.decision) == ({"a": 1}, ("a", "b"), NOW, None)
    assert set(ours.pending_json(CALL)) <= set(TheirCall.__dataclass_fields__)


@pytest.mark.parametrize(("theirs", "shape"), [(Turn, answer_shapes.Turn), (Thread, answer_shapes.Thread)])
def test_each_field_of_an_answer_is_known(theirs: Any, shape: Any) -> None:
    assert set(shape.model_fields) <= set(theirs.__dataclass_fields__)


def test_the_clients_know_each_state_in_which_a_turn_is_over() -> None:
    client = (ROOT / "clients" / "typescript" / "src" / "client.ts").read_text()

    assert models.FINAL_STATES == turn.FINAL_STATES
    assert f"[{', '.join(json.dumps(state.value) for state in TurnState if state.is_final)}].includes" in client


def test_an_end_of_a_newer_gateway_is_read() -> None:
    sent = {"type": "turn.ended", "id": 6, **COMMON, "state": "parked", "usage": {"thought_tokens": 3}, "why": {"a": 1}}

    read = read_event(sent)

    assert isinstance(read, TurnEnded)
    assert (read.state, read.raw["why"], read.usage and read.usage.raw) == ("parked", {"a": 1}, {"thought_tokens": 3})


def test_an_event_of_a_newer_kind_is_passed_on() -> None:
    read = read_event({"type": "message.translated", "id": 8, **COMMON, "language": "pt"})

    assert isinstance(read, UnknownEvent)
    assert (read.type, read.number, read.raw["language"]) == ("message.translated", 8, "pt")


@pytest.mark.parametrize("value", [{"id": "t", "thread_id": "a"}, [], None, {"id": "t", "state": "queued"}])
def test_what_is_no_turn_is_told(value: object) -> None:
    with pytest.raises(UnexpectedAnswer, match="Turn"):
        read_model(Turn, value)


def test_fields_that_are_null_or_missing_have_their_defaults() -> None:
    read = read_model(Turn, {"id": "t", "thread_id": "a", "state": "completed", "messages": None, "usage": None})

    assert (read.messages, read.usage, read.content, read.is_over) == ((), None, "", True)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2030-01-31T12:00:00.123456+00:00", NOW),
        ("2030-01-31T12:00:00.123456789Z", NOW),
        ("2030-01-31T13:00:00.123456+01:00", NOW),
        ("2030-01-31t12:00:00z", NOW.replace(microsecond=0)),
        ("2030-01-31T12:00:00.5Z", NOW.replace(microsecond=500_000)),
    ],
)
def test_moments_are_read_as_rfc_3339_writes_them(text: str, moment: datetime) -> None:
    assert read_moment(text) == moment


@pytest.mark.parametrize("value", ["2030-01-31", "12:00", 3, "2030-01-31T12:00:00"])
def test_what_is_no_moment_is_told(value: object) -> None:
    with pytest.raises(UnexpectedAnswer):
        read_moment(value)


def test_models_are_values() -> None:
    thread = Thread(id="a")

    with pytest.raises(FrozenInstanceError):
        thread.id = "b"  # type: ignore[misc]
    assert thread == Thread(id="a", raw={"id": "a"})


def test_notices_are_equal_wherever_they_were_read() -> None:
    first, second = (read_event(ours.event_json(EVENTS[0]), cursor=cursor) for cursor in "12")

    assert isinstance(first, TurnQueued)
    assert first == second
    assert isinstance(first, Event)


@pytest.mark.parametrize(
    "error",
    [
        RateLimited(
            429, {"title": "Too many", "field": "limit", "request_id": "r1"}, attempts=3, retry_after_seconds=7
        ),
        TurnNotOver(Turn(id="t", thread_id="a", state="running")),
        ConnectionLost("no answer"),
    ],
)
def test_errors_go_from_one_process_to_another(error: Exception) -> None:
    copy = pickle.loads(pickle.dumps(error))

    assert (type(copy), str(copy), vars(copy)) == (type(error), str(error), vars(error))
