"""A worker that asks a provider over HTTP: replies, tools, prices, and a provider that is away."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from conversation.message import ToolCall, Usage
from conversation.turn import TurnState
from producers import Turn
from store.tables import metadata
from tests.acceptance.installation import ROOT, Installation, assert_well_formed, eventually, worker
from tests.conftest import LendDatabase
from tests.stub_openai import StubOpenAI, reply, status, stream, text_delta

pytestmark = pytest.mark.soak

#: What a user says, and the provider repeats in its error.
MARKER = "xylophone-4711"


@pytest.fixture(scope="module")
def provider() -> Iterator[StubOpenAI]:
    with StubOpenAI() as stub:
        yield stub


@pytest.fixture(scope="module")
def calling(
    provider: StubOpenAI,
    lend_database: LendDatabase,
    migrated_template: str,
    valkey_server: object,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Installation]:
    """An installation that these tests share."""
    folder: Path = tmp_path_factory.mktemp("calling")
    with lend_database(migrated_template) as database_url:
        installation = Installation(database_url, valkey_server.url, folder)  # type: ignore[attr-defined]
        installation.environment |= {
            **provider.environment(),
            "THREADMILL_AGENT_MODULES": "tests.acceptance.agents_of_providers",
            "THREADMILL_TURN_MAX_ATTEMPTS": "2",
            "THREADMILL_BREAKER_PROBE_SECONDS": "1",
        }
        try:
            installation.start(worker("one"), *installation.upkeep())
            yield installation
        finally:
            installation.close()


def put_off(installation: Installation, turn: Turn, attempt: int) -> None:
    """Wait until a turn waits for its model after this attempt; then have it due at once."""
    waits = "SELECT 1 FROM turns WHERE id = %s AND state = 'queued' AND attempt = %s AND retry_at > now()"
    eventually(lambda: installation.query(waits, turn.id, attempt), 60, lambda: installation.told([turn.id]))
    installation.query("UPDATE turns SET retry_at = now() WHERE id = %s", turn.id)


def test_a_reply_comes_over_http_with_its_usage_and_its_price(calling: Installation, provider: StubOpenAI) -> None:
    calls = [ToolCall(f"call_{name}", "meet", f'{{"name": "{name}"}}') for name in ("ann", "bob")]
    spent = Usage(prompt_tokens=1000, completion_tokens=500, cached_tokens=0)
    provider.enqueue(reply(tool_calls=calls, usage=spent), reply("They met.", usage=spent))

    (result,) = calling.all_ended([calling.send("t", "have them meet", agent="caller")])

    assert result.state is TurnState.COMPLETED
    assert [(m.role, m.content) for m in result.messages] == [
        ("assistant", ""),
        ("tool", '"ann met"'),
        ("tool", '"bob met"'),
        ("assistant", "They met."),
    ]
    assert result.usage == Usage(2000, 1000, 0)
    assert result.cost is not None
    assert result.cost > 0
    steps = calling.query("SELECT kind, state FROM steps ORDER BY index")
    assert [(s["kind"], s["state"]) for s in steps] == [
        (kind, "finished") for kind in ("model", "tool", "tool", "model")
    ]


def test_a_turn_waits_for_a_model_that_is_away_and_its_thread_with_it(
    calling: Installation, provider: StubOpenAI
) -> None:
    provider.enqueue(status(500, message="the reason of the provider"))
    turn = calling.send("away", "are you there?", agent="caller")
    behind = calling.send("away", "and now?", agent="caller")
    provider.answer_with(lambda request: reply(f"answer to {request.last_text}"))

    put_off(calling, turn, attempt=1)
    results = calling.all_ended([turn, behind])

    assert [result.content for result in results] == ["answer to are you there?", "answer to and now?"]
    assert calling.turn_row(turn)["attempt"] == 2
    history = calling.history("away")
    assert [m["role"] for m in history] == ["user", "assistant", "user", "assistant"]
    assert not any("reason of the provider" in m["content"] for m in history)


def test_a_model_that_stays_away_fails_the_turn_after_its_attempts(calling: Installation, provider: StubOpenAI) -> None:
    provider.answer_with(lambda request: status(503, message="the reason of the provider"))
    turn = calling.send("gone", "are you there?", agent="caller")

    put_off(calling, turn, attempt=1)
    (result,) = calling.all_ended([turn])

    assert result.state is TurnState.FAILED
    assert result.error is not None
    assert (result.error.kind, result.error.retryable) == ("model_error", True)
    assert [m["role"] for m in calling.history("gone")] == ["user"]


def test_turns_that_wait_for_a_provider_come_by_themselves_once_it_is_back(
    calling: Installation, provider: StubOpenAI
) -> None:
    provider.answer_with(lambda request: status(503, message="the reason of the provider"))
    asked_before = len(provider.requests)

    turns = [calling.send(f"waiting-{n}", f"are you there, {n}?", agent="patient") for n in range(20)]
    waiting = "SELECT 1 FROM turns WHERE agent = 'patient' AND state = 'queued' AND error_kind = 'model_error'"
    eventually(lambda: len(calling.query(waiting)) == len(turns), 60, lambda: calling.told([t.id for t in turns]))
    asked = len(provider.requests) - asked_before
    shown = [turn.record for turn in turns]
    provider.answer_with(lambda request: reply(f"answer to {request.last_text}"))
    results = calling.all_ended(turns)

    assert [result.content for result in results] == [f"answer to are you there, {n}?" for n in range(20)]
    assert all(record.error is not None and record.agent == "patient" for record in shown)
    # Those that were at work when it opened, and a probe a second: not each of them again and again.
    assert asked <= len(turns) + 10
    kept = calling.query(
        "SELECT DISTINCT outcome FROM turn_attempts JOIN turns t ON t.id = turn_id AND agent = 'patient'"
    )
    assert "retried" in {row["outcome"] for row in kept}


def test_a_request_that_the_provider_refuses_fails_the_turn_at_once(
    calling: Installation, provider: StubOpenAI
) -> None:
    provider.answer_with(lambda request: status(400, message=f"cannot take {request.last_text!r}"))

    turn = calling.send("refused", MARKER, agent="caller")
    (result,) = calling.all_ended([turn])

    assert result.state is TurnState.FAILED
    assert result.error is not None
    assert (result.error.kind, result.error.retryable) == ("model_error", False)
    assert calling.turn_row(turn)["attempt"] == 1
    assert [m["role"] for m in calling.history("refused")] == ["user"]
    assert result.error.message.endswith("the provider refused the request (HTTP status 400)")
    tables = metadata.tables.keys() - {"messages", "inbox_messages"}
    rows = [str(row) for table in tables for row in calling.query(f"SELECT t::text AS stored FROM {table} t")]
    shown = subprocess.run(
        [sys.executable, "-m", "threadmill", "turns", "show", turn.id],
        env=calling.environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert turn.id in shown.stdout
    assert not any(MARKER in text for text in (*rows, calling.logs(), shown.stdout, shown.stderr))


def test_a_turn_that_is_resumed_does_not_ask_again_what_was_answered(
    calling: Installation, provider: StubOpenAI
) -> None:
    call = ToolCall("call_a", "add", '{"a": 1, "b": 2}')
    provider.enqueue(reply(tool_calls=[call]), status(500))
    provider.answer_with(lambda request: reply(f"it is {request.last_text}"))
    asked_before = len(provider.requests)

    turn = calling.send("resumed", "add them", agent="caller")
    put_off(calling, turn, attempt=1)
    (result,) = calling.all_ended([turn])

    assert result.content == "it is 3"
    assert len(provider.requests) - asked_before == 3
    assert_well_formed(calling.history())
    assert not any("sk-stub" in process.log.read_text() for process in calling.processes.values())


def test_a_cancel_hangs_up_on_the_provider_and_keeps_what_it_had_sent(
    calling: Installation, provider: StubOpenAI
) -> None:
    asked_before = len(provider.requests)
    provider.enqueue(stream(text_delta("The first half"), ending="hang"))
    turn = calling.send("cancelled", "tell me", agent="caller")
    eventually(lambda: len(provider.requests) > asked_before, told=lambda: calling.told([turn.id]))

    turn.cancel()
    (result,) = calling.all_ended([turn])

    assert provider.requests[-1].hung_up()
    assert result.state is TurnState.CANCELLED
    assert [(m.content, m.state) for m in result.messages] in ([], [("The first half", "partial")])
    assert result.usage is not None
    assert result.usage.is_estimate
