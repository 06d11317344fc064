"""What Flower and the log are told of turns and ticks, seen at Celery's dispatcher."""

import os
import threading
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery
from celery.events.state import State
from structlog.testing import capture_logs

from conversation.errors import DatabaseUnavailable, Fault
from conversation.message import Usage
from conversation.turn import Cancelled, ClaimedTurn, Completed, Ending, Failed, HandOver, Lease, RetryLater, TurnError
from tasks import checked_task
from tasks.agent_trace import trace_agent_error
from tasks.checked_task import QuietTask
from tasks.task_events import TaskEvents
from tasks.turn_events import TurnEvents, TurnOutcome
from tasks.turn_log import LEVEL_OF_FAULT, log_turn_end

MARKER = "xylophone-4711"
AWAY = TurnError("model_error", f"unavailable: m: {MARKER}", retryable=True, fault=Fault.PROVIDER)
RETRY = RetryLater(after=timedelta(seconds=9), error=AWAY)


class Site:
    """A worker's dispatcher, and Flower's state of what it sent."""

    def __init__(self) -> None:
        self.state = State()
        self.kinds: list[str] = []
        self.enabled, self.groups = True, set[str]()
        self.events = TaskEvents()
        self.events.connect(SimpleNamespace(event_dispatcher=self, pool=SimpleNamespace(post=lambda work: work())))
        self.turns = TurnEvents(self.events)

    def send(self, kind: str, **fields: Any) -> None:
        self.kinds.append(kind)
        moment = {"timestamp": 1.0, "hostname": "one@here", "local_received": 1.0, "clock": len(self.kinds), "pid": 1}
        self.state.event({**moment, "type": kind, **fields})

    def row(self, uuid: str) -> dict[str, Any]:
        row: dict[str, Any] = self.state.tasks[uuid].as_dict()
        return row

    def run(self, *endings: Ending, retries: int = 0, attempt: int = 0) -> dict[str, Any]:
        """The row of a turn after these attempts."""
        for ending in endings:
            attempt += 1
            turn = turn_of(attempt, retries)
            self.turns.start(turn)
            assert self.row("1")["state"] == "STARTED"
            self.turns.end(turn, TurnOutcome(ending=ending, seconds=2.5, model_calls=3, tokens=40, trace=("here",)))
            retries += isinstance(ending, RetryLater)
        return self.row("1")


def turn_of(attempt: int, retries: int = 0) -> ClaimedTurn:
    lease = Lease(thread_key=1, worker="w", fencing_token=1)
    turn = ClaimedTurn(lease=lease, id="1", tenant="acme", thread_id="t", agent="a", attempt=attempt)
    return replace(turn, retries=retries)


def failed(kind: str, message: str = MARKER, fault: Fault = Fault.PROVIDER) -> Failed:
    return Failed(error=TurnError(kind, message, fault=fault), usage=Usage(30, 10))


@pytest.mark.parametrize(
    ("endings", "state", "words"),
    [
        ([Completed()], "SUCCESS", "completed; model calls: 3, tokens: 40"),
        ([Cancelled()], "REVOKED", "cancelled; model calls: 3, tokens: 40"),
        ([failed("agent_error", "shop.Oops")], "FAILURE", "agent_error (fault: provider): code of an agent, a model"),
        ([failed("agent_error", f"it said {MARKER}")], "FAILURE", "agent_error (fault: provider): code"),
        ([failed("model_error", f"timeout: {MARKER}")], "FAILURE", "model_error timeout (fault: provider): the prov"),
        ([failed("model_error", f"{MARKER}: {MARKER}")], "FAILURE", "model_error (fault: provider): the model gave"),
        ([failed("of_tomorrow")], "FAILURE", "of_tomorrow (fault: provider)"),
        ([RETRY], "RETRY", "model_error unavailable (fault: provider): the provider cannot be reached, or is down; n"),
        ([HandOver()], "RETRY", "handed over: its worker stops"),
        ([RETRY, RETRY, Completed()], "SUCCESS", "completed"),
        ([HandOver(), Cancelled()], "REVOKED", "cancelled"),
        # Requeued after its end.
        ([failed("deadline"), Completed()], "SUCCESS", "completed"),
        ([failed("deadline"), Cancelled()], "REVOKED", "cancelled"),
        ([Cancelled(), failed("deadline")], "FAILURE", "deadline"),
    ],
)
def test_a_row_is_the_turn_as_it_stands(endings: list[Ending], state: str, words: str) -> None:
    row = Site().run(*endings)

    assert row["state"] == state
    assert words in row["result"]
    assert MARKER not in str(row)
    assert (row["name"], row["runtime"]) == ("turns.run", 2.5)
    assert row["kwargs"].startswith("{'tenant': 'acme', 'thread': 't', 'turn': '1', 'agent': 'a'")
    assert (row["traceback"] is None) == (state != "FAILURE")
    assert (row["eta"] is None) == (endings[-1] != RETRY)


def test_a_try_that_was_announced_is_counted_once() -> None:
    site = Site()
    site.run(RETRY, Completed())
    assert site.kinds.count("task-retried") == 1


def test_a_pool_without_a_thread_that_could_be_told_has_events_sent_in_order_off_the_loop() -> None:
    site = Site()
    site.events.connect(SimpleNamespace(event_dispatcher=site, pool=object()))
    threads: list[str] = []
    for _ in range(3):
        site.events.post(lambda: threads.append(threading.current_thread().name))
        site.turns.end(turn_of(1), TurnOutcome(ending=HandOver(), seconds=1))
    site.turns.end(turn_of(1), TurnOutcome(ending=Completed(), seconds=1))
    site.events.close()

    assert site.kinds == ["task-retried"] * 3 + ["task-succeeded"]
    assert set(threads) == {"task-events_0"}


@pytest.mark.parametrize("off", [{"enabled": False}, {"groups": {"worker"}}])
def test_where_nobody_watches_nothing_is_built(off: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    site = Site()
    vars(site).update(off)
    monkeypatch.setattr(site.events, "post", pytest.fail)

    site.turns.start(turn_of(1))
    site.turns.end(turn_of(1), TurnOutcome(ending=Completed(), seconds=1))
    assert site.kinds == []


def test_a_process_that_was_forked_from_a_worker_does_not_use_its_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    site = Site()
    assert site.events.are_wanted

    monkeypatch.setattr(os, "getpid", lambda: -1)

    assert not site.events.are_wanted
    assert not TaskEvents().are_wanted


@pytest.mark.parametrize(
    ("outcome", "state", "words"),
    [
        (None, None, ""),
        ({}, None, ""),
        ({"files": 0, "after": "x", "by": {"a": 1}}, None, ""),
        ({"files": 3, "left": 0}, "SUCCESS", "{'files': 3}"),
        (DatabaseUnavailable("the database is away"), "FAILURE", "the database is away"),
        (ValueError(MARKER), "FAILURE", "TaskBroke('ValueError')"),
    ],
)
def test_a_tick_is_seen_if_it_found_something_or_failed(
    outcome: Any, state: str | None, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def work() -> Any:
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    site = Site()
    monkeypatch.setattr(checked_task, "task_events", site.events)
    with Celery("ticks", set_as_current=False) as app:
        tick = app.task(work, base=QuietTask, name="tick", shared=False)
        assert tick.send_events is False
        tick.apply(task_id="1")

    if state is None:
        assert site.kinds == []
        return
    row = site.row("1")
    assert (row["state"], row["name"]) == (state, "tick")
    assert words in f"{row['result']} {row['exception']}"
    assert MARKER not in str(row)
    assert (row["traceback"] is None) or "test_turn_events.py" in row["traceback"]


@pytest.mark.parametrize(
    ("ending", "level", "fields"),
    [
        (Completed(), "info", {"state": "completed"}),
        (Cancelled(), "info", {"state": "cancelled"}),
        (HandOver(), "info", {"state": "queued", "kind": "handed_over"}),
        (RETRY, "warning", {"state": "queued", "kind": "model_error", "model_kind": "unavailable", "retry_seconds": 9}),
        (failed("poison", fault=Fault.TOOL), "error", {"kind": "poison", "fault": "tool"}),
        (failed("agent_error", "shop.Oops", Fault.INTERNAL), "error", {"error": "shop.Oops", "fault": "internal"}),
        *((failed("step_limit", fault=fault), level, {"fault": fault}) for fault, level in LEVEL_OF_FAULT.items()),
    ],
)
def test_the_log_says_why_a_turn_ended_and_how_grave_it_is(ending: Ending, level: str, fields: dict[str, Any]) -> None:
    with capture_logs() as lines:
        log_turn_end(turn_of(2), TurnOutcome(ending=ending, seconds=1.23456, model_calls=3, tokens=40))

    (line,) = lines
    assert line["log_level"] == level
    expected = {"attempt": 2, "seconds": 1.235, "model_calls": 3, "tokens": 40, **fields}
    assert line.items() >= expected.items()
    assert MARKER not in str(line)
    assert set(LEVEL_OF_FAULT) == set(Fault)


class Oops(Exception):
    """An error of an agent, which quotes what a user wrote."""


def test_the_places_of_an_error_are_the_agents_own_and_tell_no_value() -> None:
    def answer(text: str) -> None:
        try:
            int(text)
        except ValueError as error:
            raise ExceptionGroup(text, [Oops(text), KeyError(text)]) from error

    try:
        answer(MARKER)
    except ExceptionGroup as group:
        trace = trace_agent_error(group)

    here = f'  File "{__file__}", line'
    assert [line.partition(", line")[0] for line in trace if line.startswith("  ")] == [here.partition(", line")[0]] * 2
    assert [line for line in trace if not line.startswith("  ")] == [f"{__name__}.Oops", "ExceptionGroup"]
    assert MARKER not in "".join(trace)
