"""What is said of turns while they run: each thing once, out of the log's events and the database."""

import json
import re
from collections.abc import Collection, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import structlog

from conversation.errors import Fault
from conversation.message import Usage
from conversation.turn import TurnError, TurnRecord, TurnState
from store.turns.activity import StepActivity, TurnActivity
from threadmill.dev import display as module
from threadmill.dev import event_file
from threadmill.dev.display import Display
from threadmill.dev.event_file import FILE_VARIABLE, EventFile, copy_events

NOW = datetime(2026, 1, 1, tzinfo=UTC)
STARTED = {"event": "turn_started", "turn": "t1", "thread": "user-1", "agent": "shop", "attempt": 1}
MODEL = StepActivity(index=0, kind="model", name="m", state="finished", seconds=0.5, result={})
TOOL = StepActivity(index=1, kind="tool", name="price_of", state="finished", seconds=0.25, result={"content": "900"})
FAILED_TOOL = StepActivity(
    index=2,
    kind="tool",
    name="price_of",
    state="failed",
    seconds=1.0,
    result={"content": json.dumps({"error": {"type": "ValueError", "message": "no\nsuch book"}})},
)
OPEN_TOOL = StepActivity(index=3, kind="tool", name="wrap", state="started", seconds=None, result=None)


def turn(state: TurnState, *steps: StepActivity, error: TurnError | None = None) -> TurnActivity:
    record = TurnRecord(
        id="t1", tenant="default", thread_id="user-1", state=state, agent="shop", agent_version=None, attempt=1,
        retries=0, crashes=0, interruptions=0, requeued_from=None, created_at=NOW, started_at=NOW,
        finished_at=NOW + timedelta(seconds=2), cancel_requested_at=None, cancel_requested_by=None, error=error,
            usage=Usage(30, 7), cost=0.02,
    )  # fmt: skip
    return TurnActivity(record, steps)


def show(*looks: Iterable[TurnActivity], events: Iterable[dict[str, object]] = (STARTED,)) -> list[str]:
    """What is said of events, and of what one look after the other finds; without the times."""
    lines: list[str] = []
    waiting = list(looks)

    def read(turn_ids: Collection[str]) -> Iterable[TurnActivity]:
        assert list(turn_ids) == ["t1"]
        return waiting.pop(0) if waiting else []

    display = Display(Path("/project"), lines.append, read)
    display.show(events)
    for _ in looks:
        display.show([])
    return [re.sub(r"^\d\d:\d\d:\d\d  ", "", line) for line in lines]


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK_SECONDS", -1)


def test_a_turn_its_tools_and_its_tokens_are_each_said_once() -> None:
    running = turn(TurnState.RUNNING, MODEL, TOOL, OPEN_TOOL)

    assert show([running], [running], [turn(TurnState.COMPLETED, MODEL, TOOL, FAILED_TOOL)], [running]) == [
        "turn t1  user-1 -> shop",
        "  price_of took 0.25 s",
        "  price_of failed after 1.00 s: ValueError: no such book",
        "turn t1  completed in 2.0 s: 1 model call, 2 tool calls, 30 tokens in, 7 out, $0.0200",
    ]


def test_a_turn_that_failed_says_why_and_whose_fault_it_is() -> None:
    error = TurnError("model_error", "auth: the key is wrong", fault=Fault.OPERATOR)

    assert show([turn(TurnState.FAILED, error=error)])[1:] == [
        "turn t1  failed in 2.0 s: 0 model calls, 0 tool calls, 30 tokens in, 7 out, $0.0200",
        "  model_error (operator): auth: the key is wrong",
    ]


def test_a_later_attempt_is_called_one_and_errors_have_their_places() -> None:
    raised = {"event": "tool_raised", "tool": "price_of", "error": "KeyError", "trace": ["/elsewhere/x.py:1 f"]}
    broke = {"event": "agent_error", "agent": "shop", "error": "builtins.KeyError", "trace": []}

    lines = show(events=[STARTED | {"attempt": 2}, raised, broke, {"event": "worker_started"}])

    assert [line for line in lines if "no line of this project" not in line] == [
        "turn t1  user-1 -> shop, attempt 2",
        "  price_of raised KeyError",
        "  shop broke: builtins.KeyError",
    ]


def test_what_a_tool_prints_is_shown() -> None:
    assert show(events=[STARTED, {"event": "printed", "text": "two  words", "turn": "t1"}]) == [
        "turn t1  user-1 -> shop",
        "  > two words",
    ]


def test_a_turn_that_waits_says_for_what_and_until_when() -> None:
    ended = {"event": "turn_ended", "turn": "t1", "state": "queued"}
    away = ended | {"kind": "model_error", "problem": "the model is away", "retry_seconds": 2.5}

    assert show(events=[STARTED, away, ended | {"kind": "handed_over"}]) == [
        "turn t1  user-1 -> shop",
        "  waits: the model is away; next try in 2.5 s",
    ]


def test_a_file_of_events_does_not_grow_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_file, "MAX_BYTES", 20)
    file = EventFile(tmp_path / "events.jsonl")

    for number in range(5):
        with file.path.open("a") as log:
            log.write(json.dumps({"event": f"event {number}"}) + "\n")
        assert list(file.read_new()) == [{"event": f"event {number}"}]

    assert file.path.stat().st_size < 40


def test_what_a_worker_logs_is_read_once_and_in_whole_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = EventFile(tmp_path / "logs" / "events.jsonl")
    monkeypatch.setenv(FILE_VARIABLE, str(file.path))
    configuration = structlog.get_config()
    try:
        copy_events()
        with structlog.contextvars.bound_contextvars(turn="t1"):
            structlog.get_logger().warning("tool_raised", tool="price_of", place=Path("/x"))
    finally:
        structlog.configure(**configuration)
    with file.path.open("a") as half:
        half.write('{"event": "half')

    assert list(file.read_new()) == [{"event": "tool_raised", "tool": "price_of", "place": "/x", "turn": "t1"}]
    assert list(file.read_new()) == []
    file.path.unlink()
    assert list(file.read_new()) == []
