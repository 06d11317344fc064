"""Finding the threads that are due: by index, by each agent's marks, and after what failed."""

import json
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import func, select, text, update

from agent.agent import Agent
from agent.models.protocol import ModelReply, ModelRequest
from conversation.errors import InvalidInput, ModelError
from store import tables
from store.blobs import LocalBlobs
from store.database.engine import Database
from store.doctor import Examination, Outcome, Scope
from store.settings import Settings, load
from store.summaries import due as summary_dues
from store.summaries.summarize import defaults_of
from store.tables import MAX_SUMMARY_FAILURES
from tasks.jobs.summaries import run_summaries
from tests.integration.desk import Desk, marks
from tests.integration.scripted import Scripted, says
from tests.integration.store.summaries.conftest import now, reserved, stock, taken

GOOD = json.dumps({"facts": ["They talked."]})


@pytest.fixture
def settings(database_url: str) -> Settings:
    return load(
        database_url=database_url, summarize_after_messages=30, summarize_keep_messages=10, summarize_after_tokens=0
    )


def lengths(database: Database) -> dict[str, int]:
    columns = (tables.threads.c.id, tables.threads.c.uncovered_messages)
    return database.run(lambda c: {row.id: row.uncovered_messages for row in c.execute(select(*columns))})


@pytest.mark.soak
def test_one_run_summarizes_what_is_due_and_nothing_else(database: Database, settings: Settings) -> None:
    """500 threads of 200 to 5,000 messages; the agent `a` has a mark of its own."""
    agents = {"a": Agent(name="a", summarize_after_messages=1000, summarize_keep_messages=50)}
    for agent, count, many in (
        ("a", 200, 300), ("a", 998, 20), ("a", 1000, 20), ("a", 5000, 4), ("b", 400, 16), (None, 200, 140),
    ):  # fmt: skip
        stock(database, f"{agent}-{count}-", threads=many, count=count, agent=agent)
    settings = settings.model_copy(update={"summarize_after_messages": 300, "summarize_interval_seconds": 300})

    written = run_summaries(database, settings, agents)

    assert len(lengths(database)) == 500
    for thread, uncovered in lengths(database).items():
        agent, count, _ = thread.split("-")
        is_due = int(count) >= {"a": 1000, "b": 300, "None": 300}[agent]
        assert uncovered == ({"a": 50}.get(agent, 10) if is_due else int(count)), thread
    # Steps of 400: three for each of a thousand, thirteen for each of five thousand, one for the others.
    assert written == 20 * 3 + 4 * 13 + 16
    assert run_summaries(database, settings, agents) == 0


def test_threads_of_an_unknown_agent_have_the_marks_of_the_settings(database: Database, settings: Settings) -> None:
    stock(database, "known", threads=1, count=40, agent="a")
    stock(database, "unknown", threads=1, count=40, agent="z")
    stock(database, "nobody", threads=1, count=40, agent=None)
    agents = {"a": Agent(name="a", summarize_after_messages=0)}

    assert run_summaries(database, settings, agents) == 2

    assert lengths(database) == {"known1": 40, "unknown1": 10, "nobody1": 10}


def test_a_mark_in_tokens_is_enough(database: Database, settings: Settings) -> None:
    stock(database, "t", threads=1, count=20)
    agents = {"a": Agent(name="a", summarize_after_tokens=200, summarize_keep_tokens=50)}

    assert run_summaries(database, settings, agents) == 1

    assert lengths(database) == {"t1": 4}


def test_a_summary_is_due_at_the_mark_and_not_before(database: Database) -> None:
    stock(database, "below", threads=1, count=28)
    stock(database, "at", threads=1, count=30)

    assert taken(database) == ["at1"]


def test_a_batch_is_bounded_and_takes_the_fullest(database: Database) -> None:
    for count in (40, 60, 50):
        stock(database, f"t{count}-", threads=1, count=count)

    assert sorted(taken(database, limit=2)) == ["t50-1", "t60-1"]


def test_of_several_agents_those_furthest_above_their_own_mark_are_taken(desk: Desk) -> None:
    """By how full each is, also by the tokens of one and the messages of another."""
    for name, agent, messages, tokens in (
        ("low", "a", 110, 0), ("a", "a", 300, 0), ("b", "b", 40, 0), ("c", "b", 20, 5_000), ("d", "b", 21, 0),
    ):  # fmt: skip
        desk.chat(name, 1)
        desk.change(name, agent=agent, uncovered_messages=messages, uncovered_tokens=tokens)
    look = partial(taken, desk.database, limit=1, a=marks(100), b=marks(20, tokens=1_000))

    assert [look() for _ in range(6)] == [["c"], ["a"], ["b"], ["low"], ["d"], []]


def test_after_a_batch_of_one_tenants_come_those_of_the_others(
    database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.jobs.summaries.BATCH_SIZE", 2)
    stock(database, "many", threads=9, count=60)
    for tenant in ("other", "third"):
        stock(database, tenant, threads=1, count=30)
        name = text("UPDATE threads SET tenant = :tenant WHERE id = :tenant || '1'")
        database.run(lambda c, name=name, tenant=tenant: c.execute(name, {"tenant": tenant}) and None)

    assert run_summaries(database, settings, {"a": Agent(name="a", summarize_after_messages=30)}) == 11

    in_order = select(tables.threads.c.tenant).join(
        tables.summaries, tables.summaries.c.thread_key == tables.threads.c.key
    )
    tenants = database.run(lambda c: list(c.execute(in_order.order_by(tables.summaries.c.created_at)).scalars()))
    assert sorted(tenants[:4]) == ["default", "default", "other", "third"]


def test_a_thread_that_was_taken_is_left_alone_until_its_time_is_over(database: Database) -> None:
    """Its summarizer may have died between the model's answer and the write: then nothing is stored."""
    stock(database, "t", threads=1, count=40)
    assert taken(database) == ["t1"]
    assert taken(database) == []

    over = update(tables.threads).values(summary_retry_at=func.now())
    database.run(lambda c: c.execute(over) and None)

    assert taken(database) == ["t1"]
    assert database.run(lambda c: c.execute(select(func.count()).select_from(tables.summaries)).scalar_one()) == 0


def test_a_thread_that_a_turn_holds_locked_is_skipped_and_not_waited_for(database: Database) -> None:
    stock(database, "t", threads=2, count=40)
    with database.engine.begin() as turn:
        turn.execute(text("select 1 from threads where id = 't1' for no key update"))

        assert taken(database) == ["t2"]


def test_a_thread_with_nothing_to_cover_does_not_stand_in_the_way(database: Database, settings: Settings) -> None:
    stock(database, "stuck", threads=12, count=60)
    answers = update(tables.messages).values(role="assistant")
    database.run(lambda c: c.execute(answers) and None)
    stock(database, "due", threads=1, count=40)

    assert run_summaries(database, settings, {}) == 1
    assert lengths(database)["due1"] == 10


# What fails


def answering(*answers: str | ModelError) -> tuple[dict[str, Agent], Scripted]:
    """The agent `a`, whose model gives one answer after the other; the last one again and again."""
    left = list(answers)

    def answer(_: ModelRequest) -> ModelReply:
        said = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(said, ModelError):
            raise said
        return says(said)

    model = Scripted(answer)
    return {"a": Agent(name="a", model=model)}, model


AWAY = ModelError("unavailable", "away", retryable=True)


@pytest.mark.parametrize(
    "answer",
    [
        AWAY,
        "They talked about this and that.",
        "",
        "{}",
        "[]",
        json.dumps({"facts": "no list"}),
        json.dumps({"facts": [f"{n} {'long ' * 90}" for n in range(100)]}),
    ],
    ids=["away", "plain", "nothing", "empty", "list", "wrong", "long"],
)
def test_what_cannot_be_used_is_not_stored_and_tried_again_later(
    database: Database, settings: Settings, answer: str | ModelError
) -> None:
    stock(database, "t", threads=1, count=40)
    agents, model = answering(answer)

    assert run_summaries(database, settings, agents) == 0
    asked = len(model.requests)
    assert run_summaries(database, settings, agents) == 0

    row = Desk(database).row("t1")
    assert (row.summary_id, row.summary_failures, row.uncovered_messages) == (None, 1, 40)
    # Away is away; anything else is asked for once more.
    assert (asked, len(model.requests)) == ((1, 1) if answer is AWAY else (2, 2))
    assert Desk(database).listed("t1") == []


def test_each_failure_waits_twice_as_long(desk: Desk) -> None:
    desk.chat("t", 1)
    waits = []

    for _ in range(4):
        desk.database.run(summary_dues.note_failure, due=reserved(desk))
        row = desk.row()
        waits.append(round((row.summary_retry_at - now(desk)).total_seconds() / 60))

    assert waits == [1, 2, 4, 8]


def test_a_thread_is_not_given_up_for_a_model_that_is_away(database: Database, settings: Settings) -> None:
    stock(database, "t", threads=1, count=40)
    agents, model = answering(AWAY)

    for _ in range(MAX_SUMMARY_FAILURES + 2):
        run_summaries(database, settings, agents)
        database.run(lambda c: c.execute(update(tables.threads).values(summary_retry_at=None)) and None)

    assert Desk(database).row("t1").summary_failures == MAX_SUMMARY_FAILURES - 1
    assert len(model.requests) == MAX_SUMMARY_FAILURES + 2


def test_after_some_failures_it_is_left_and_the_doctor_names_it(
    database: Database, settings: Settings, tmp_path: Path
) -> None:
    stock(database, "t", threads=1, count=40)
    agents, _ = answering("no")
    again = update(tables.threads).values(summary_retry_at=None)

    for _ in range(MAX_SUMMARY_FAILURES + 2):
        run_summaries(database, settings, agents)
        database.run(lambda c: c.execute(again) and None)

    assert Desk(database).row("t1").summary_failures == MAX_SUMMARY_FAILURES
    examination = partial(
        Examination, database=database, files=LocalBlobs(tmp_path), scope=Scope(), only=("summary-given-up",)
    )
    (found,) = examination(repairs=False).run()
    assert [note.finding.ids["thread"] for note in found.notes] == ["t1"]
    (mended,) = examination(repairs=True).run()
    assert [note.outcome for note in mended.notes] == [Outcome.REPAIRED]
    assert run_summaries(database, settings, answering(GOOD)[0]) == 1
    assert next(iter(examination(repairs=False).run())).notes == []


def test_a_summary_that_succeeds_forgets_the_failures(database: Database, settings: Settings) -> None:
    stock(database, "t", threads=1, count=40)
    run_summaries(database, settings, answering(AWAY)[0])
    database.run(lambda c: c.execute(update(tables.threads).values(summary_retry_at=None)) and None)

    assert run_summaries(database, settings, answering(GOOD)[0]) == 1

    assert Desk(database).row("t1").summary_failures == 0


def test_one_threads_bug_is_not_the_others(
    database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    stock(database, "bad", threads=1, count=60)
    stock(database, "good", threads=3, count=40)

    def answer(request: ModelRequest) -> ModelReply:
        if "message 50" in str(request.messages):
            raise RuntimeError("a bug")
        return says(GOOD)

    agents = {"a": Agent(name="a", model=Scripted(answer))}

    assert run_summaries(database, settings, agents) == 3
    assert Desk(database).row("bad1").summary_failures == 1


def test_a_summarizer_that_dies_before_its_write_leaves_nothing(database: Database, settings: Settings) -> None:
    stock(database, "t", threads=1, count=40)

    def answer(_: ModelRequest) -> ModelReply:
        raise SystemExit

    with pytest.raises(SystemExit):
        run_summaries(database, settings, {"a": Agent(name="a", model=Scripted(answer))})

    row = Desk(database).row("t1")
    assert (row.summary_id, row.uncovered_messages, row.summary_failures) == (None, 40, 0)
    assert Desk(database).listed("t1") == []
    # Its lock is free, and the thread is found again when its time is over.
    database.run(lambda c: c.execute(update(tables.threads).values(summary_retry_at=func.now())) and None)
    assert run_summaries(database, settings, answering(GOOD)[0]) == 1


def test_after_a_restore_nobody_summarizes_again_by_himself(database: Database, settings: Settings) -> None:
    stock(database, "t", threads=1, count=40)
    run_summaries(database, settings, answering(GOOD)[0])
    desk = Desk(database)

    assert desk.restore("t1") is not None

    assert run_summaries(database, settings, answering(GOOD)[0]) == 0
    assert desk.counted("t1")[0] == 40


# The marks


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"summarize_after_messages": 20, "summarize_keep_messages": 20}, "summarize_keep_messages"),
        ({"summarize_after_tokens": 10, "summarize_keep_tokens": 11}, "summarize_keep_tokens"),
        ({"summarize_keep_messages": 0}, "summarize_keep_messages"),
        ({"summarize_after_messages": -1}, "summarize_after_messages"),
        ({"summarize_keep_messages": -1}, "summarize_keep_messages"),
        ({"summarize_keep_tokens": -1}, "summarize_keep_tokens"),
    ],
)
def test_marks_that_contradict_each_other_are_refused(values: dict[str, int], field: str) -> None:
    with pytest.raises(InvalidInput, match=field):
        Agent(name="a", **values).water_marks(defaults_of(load()))  # type: ignore[arg-type]


@pytest.mark.parametrize("is_named_by_the_operator", [True, False])
def test_what_an_unknown_agents_thread_says_is_read_by_no_model_that_nobody_named_for_it(
    database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch, *, is_named_by_the_operator: bool
) -> None:
    """Its agent may have an account of its own, and its worker writes the summary."""
    stock(database, "unknown", threads=1, count=40, agent="z")
    model = Scripted(lambda _: says(GOOD))
    monkeypatch.setattr("agent.agent.model_for", lambda _: model)
    monkeypatch.setattr("tasks.jobs.summaries.preload", lambda _name, **_options: None)
    named = {"summary_model": "openai/another"} if is_named_by_the_operator else {}
    settings = settings.model_copy(update={"model": "openai/of-the-environment", **named})

    assert run_summaries(database, settings, {"a": Agent(name="a")}) == is_named_by_the_operator

    assert len(model.requests) == is_named_by_the_operator
    assert Desk(database).row("unknown1").summary_failures == 0
