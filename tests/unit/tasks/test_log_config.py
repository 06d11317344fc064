"""The log of our processes: one form for every line, whoever writes it, and nobody's words or secrets in it."""

import io
import json
import logging
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog

from conversation.errors import DatabaseUnavailable
from conversation.logs import bind_turn
from conversation.turn import ClaimedTurn, Lease
from store.settings import load
from tasks import log_config
from tasks.checked_task import TaskBroke

MARKER = "xylophone-4711"
SECRET = 'pass"word-4711'
TURN = ClaimedTurn(
    lease=Lease(thread_key=1, worker="w", fencing_token=1), id="1", tenant="acme", thread_id="t", agent="a", attempt=1
)
IDS = {"tenant": "acme", "thread": "t", "turn": "1", "agent": "a"}

Configure = Callable[..., Callable[[], list[str]]]


@pytest.fixture
def configure(monkeypatch: pytest.MonkeyPatch) -> Iterator[Configure]:
    """Configures logging, and returns what reads the lines that were written since."""
    root = logging.getLogger()
    before = root.handlers[:], root.level

    def configure_log(**settings: Any) -> Callable[[], list[str]]:
        stream = io.StringIO()
        monkeypatch.setattr(sys, "stderr", stream)
        log_config.configure(load(**settings))
        return lambda: stream.getvalue().splitlines()

    yield configure_log
    root.handlers[:], root.level = before
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()


def log_everything() -> None:
    """A line of each who writes: ours, a library's, Celery's of a task, asyncio's, a warning."""
    ours, library = structlog.get_logger("ours"), logging.getLogger("alembic.runtime.migration")
    error = caught(int, MARKER)
    with bind_turn(TURN):
        ours.info("turn_started", url="redis://user:hunter22@host/0", key=SECRET, text="\x1b[31m\nred")
        library.warning("Running upgrade -> %s", "r0001")
        ours.error("agent_error", exc_info=error)
        library.error("it broke", exc_info=error)
        logging.getLogger("asyncio").error("Task exception was never retrieved\nfuture: %r", error)
        for speaking in (DatabaseUnavailable("the database is away"), TaskBroke("KeyError")):
            library.error("it ended", exc_info=speaking)
    kwargs = repr({"v": 1, "tenant": "acme", "thread": "t", "turn": "1", "agent": "a", "text": MARKER})
    data = {"name": "turns.run", "id": "7", "exc": repr(error), "args": MARKER, "kwargs": kwargs}
    for named in (data, data | {"kwargs": kwargs[:-3]}, data | {"kwargs": f"[{MARKER!r}]"}):
        logging.getLogger("celery.app.trace").error("raised %r", error, exc_info=error, extra={"data": named})
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn(MARKER, DeprecationWarning, stacklevel=1)


def caught(function: Callable[[str], object], text: str) -> Exception:
    """What a function raises."""
    try:
        function(text)
    except ValueError as error:
        return error
    raise AssertionError


def test_each_line_is_an_object_with_a_time_a_level_the_turns_ids_and_nobodys_words(
    configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_API_KEY", SECRET)
    read = configure(log_format="json")
    log_everything()

    lines = [json.loads(line) for line in read()]
    assert [(line["event"].partition(":")[0], line["level"]) for line in lines[:-1]] == [
        ("turn_started", "info"),
        ("Running upgrade -> r0001", "warning"),
        ("agent_error", "error"),
        ("it broke", "error"),
        ("Task exception was never retrieved", "error"),
        ("it ended", "error"),
        ("it ended", "error"),
        *[("task_failed", "error")] * 3,
    ]
    assert (lines[-1]["event"], lines[-1]["category"]) == ("code_warned", "DeprecationWarning")
    assert "test_log_config.py:" in lines[-1]["place"]
    assert all(line.keys() >= {"timestamp", "level", "event"} for line in lines)
    assert all(line.items() >= IDS.items() for line in lines[:8])
    assert [line.get("error") for line in lines[2:4] + lines[7:-1]] == ["ValueError"] * 5
    assert all("test_log_config.py" in line["trace"][-1] for line in lines[2:4] + lines[7:-1])
    assert {line["task"] for line in lines[7:-1]} == {"turns.run"}
    assert [line["problem"] for line in lines[5:7]] == ["the database is away", "KeyError"]
    assert (lines[0]["url"], lines[0]["key"]) == ("redis://***@host/0", "***")
    for secret in (MARKER, "hunter22", "word-4711"):
        assert secret not in "\n".join(read())


def test_a_line_for_people_is_one_line_that_a_terminal_shows_as_it_is(configure: Configure) -> None:
    read = configure(log_format="Console")
    log_everything()

    lines = read()
    assert len(lines) == 11
    assert all(line.isprintable() for line in lines)
    assert " info    turn_started " in lines[0]
    assert "tenant=acme thread=t turn=1 agent=a" in lines[0]
    assert MARKER not in "\n".join(lines)


@pytest.mark.parametrize(("level", "count"), [("debug", 4), ("info", 3), ("warning", 2), ("ERROR", 1)])
def test_a_level_holds_for_events_and_libraries_and_never_hides_that_a_program_is_ready(
    configure: Configure, level: str, count: int
) -> None:
    read = configure(log_level=level)
    for log in (structlog.get_logger("ours"), logging.getLogger("library")):
        log.debug("one")
        log.info("two")
        log.warning("three")
        log.error("four")
    logging.getLogger("celery.apps.worker").info("turns@here ready.")
    logging.getLogger("celery.beat").info("beat: Starting...")
    logging.getLogger("celery.beat").info("Scheduler: Sending due task %s", "sweep")

    assert len(read()) == 2 * count + 2
    assert "ready." in read()[-2]
