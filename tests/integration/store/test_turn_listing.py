"""Finding turns and workers, sums of what they used, and the overview: on each database, over one night's turns."""

import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from conversation.errors import Fault, InvalidInput
from conversation.ids import new_id
from conversation.message import Usage
from conversation.step import Step
from conversation.turn import FINAL_STATES, Failed, RetryLater, TurnError, TurnState
from store import tables
from store.database.engine import Database
from store.settings import load
from store.turns import cancel, usage, workers
from store.turns.listing import PAGE_MAX, TurnFilter, list_turns
from store.turns.overview import read_overview
from store.turns.usage import UsageFilter, UsageKey, UsageSum, sum_usage
from store.turns.worker_listing import list_workers, request_drain
from tests.conftest import LendDatabase
from tests.integration.desk import Desk, marks
from tests.integration.store.turns.test_lifecycle import Store, answer

LONG_AGO = datetime(2025, 1, 1, tzinfo=UTC)
REFUSED = TurnError("model_error", "refused", fault=Fault.OPERATOR)
AWAY = TurnError("model_error", "unavailable: overloaded", retryable=True, fault=Fault.PROVIDER)


@dataclass
class Night:
    """An installation with a turn in each state, by name."""

    store: Store
    ids: dict[str, str]

    def names(self, *, limit: int = 50, cursor: str | None = None, **filters: Any) -> list[str]:
        names = {turn_id: name for name, turn_id in self.ids.items()}
        page = self.store.database.run(list_turns, TurnFilter(**filters), limit=limit, cursor=cursor)
        return [names[turn.record.id] for turn in page]

    def sums(self, *by: str, **filters: Any) -> list[UsageSum]:
        wanted = UsageFilter(**{"since": LONG_AGO - timedelta(days=1)} | filters)
        return self.store.database.run(sum_usage, wanted, [UsageKey(key) for key in by])


@pytest.fixture(scope="module", params=["postgresql", "sqlite"])
def database(
    request: pytest.FixtureRequest,
    lend_database: LendDatabase,
    migrated_template: str,
    migrated_file: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Database]:
    """One database for all of these tests: they read."""
    with ExitStack() as lent:
        if request.param == "sqlite":
            url = f"sqlite:///{shutil.copy(migrated_file, tmp_path_factory.mktemp('night') / 'store.db')}"
        else:
            url = lent.enter_context(lend_database(migrated_template))
        opened = Database(load(database_url=url))
        lent.callback(opened.close)
        yield opened


@pytest.fixture(scope="module")
def night(database: Database) -> Night:
    """A turn in each state."""
    store = Store(database)
    claimant = store.worker()
    ids: dict[str, str] = {}

    def begin(name: str, **options: Any) -> Any:
        ids[name] = store.send("hello", thread=name, **options).turn_id
        return store.claim_turn(claimant, name)

    step = Step(index=0, kind="model", name="m", state="finished", usage=Usage(3, 4), cost=0.5, seconds=2)
    old = begin("old")
    store.settle(old, replace(answer("hi"), steps=(step,)), release=True)
    with database.engine.begin() as connection:
        connection.execute(update(tables.turns).values(finished_at=LONG_AGO, created_at=LONG_AGO))
    failed = begin("failed", user="ann")
    store.settle(failed, Failed(error=REFUSED, usage=Usage(5, 0), cost=None), release=True)
    ids["cancelled"] = store.send("hello", thread="cancelled").turn_id
    database.run(cancel.request_cancel, ids["cancelled"], by="ops")
    begin("running")
    ids["gone"] = store.send("hello", thread="gone", agent="gone", allow_unknown_agent=True).turn_id
    retried = begin("retried")
    store.settle(retried, RetryLater(after=timedelta(hours=1), error=AWAY), release=True)
    return Night(store, ids)


def test_those_that_have_not_ended_come_first_and_then_the_last_that_ended(night: Night) -> None:
    assert night.names() == ["retried", "gone", "running", "cancelled", "failed", "old"]


def test_each_filter_leaves_what_was_asked_for(night: Night) -> None:
    cases: list[tuple[dict[str, Any], list[str]]] = [
        ({"states": [TurnState.FAILED, TurnState.RUNNING]}, ["running", "failed"]),
        ({"agents": ["gone"]}, ["gone"]),
        ({"error_kinds": ["model_error"]}, ["retried", "failed"]),
        ({"error_kinds": ["unavailable"]}, ["retried"]),
        ({"error_kinds": ["model_error"], "states": sorted(FINAL_STATES)}, ["failed"]),
        ({"tenant": "default", "thread_id": "old"}, ["old"]),
        ({"tenant": "default", "thread_id": "nothing"}, []),
        ({"tenant": "another"}, []),
        ({"user": "ann"}, ["failed"]),
        # What has not ended has no end that is too long ago.
        ({"since": LONG_AGO + timedelta(days=1)}, ["retried", "gone", "running", "cancelled", "failed"]),
        ({"until": LONG_AGO + timedelta(days=1)}, ["old"]),
        ({"older_than": timedelta(days=1)}, ["old"]),
    ]

    wrong = {str(filters): found for filters, names in cases if (found := night.names(**filters)) != names}
    assert wrong == {}


def test_the_turns_of_a_worker_are_those_that_it_runs(night: Night) -> None:
    (worker,) = night.store.database.run(list_workers)

    assert night.names(worker_id=worker.id) == ["running"]
    assert night.names(worker_id=new_id()) == []
    assert (worker.running_turns, worker.state, dict(worker.agents)) == (1, "alive", {"assistant": "1"})
    assert worker.beat_at is not None


def test_pages_hold_each_turn_once(night: Night) -> None:
    names, cursor = [], None
    for _ in range(6):
        page = night.store.database.run(list_turns, TurnFilter(), limit=1, cursor=cursor)
        names += night.names(limit=1, cursor=cursor)
        cursor = page.next_cursor

    assert names == night.names()
    assert cursor is None


def test_what_no_listing_understands_is_refused(night: Night) -> None:
    for arguments in (
        {"limit": 0},
        {"limit": PAGE_MAX + 1},
        {"limit": 1, "cursor": "e30"},
        {"limit": 1, "cursor": "?"},
    ):
        with pytest.raises(InvalidInput):
            night.names(**arguments)
    for filters in ({"thread_id": "t"}, {"tenant": "no/tenant"}, {"since": datetime(2025, 1, 1)}):  # noqa: DTZ001
        with pytest.raises(InvalidInput):
            night.names(**filters)


def test_ages_and_durations_are_by_the_clock_of_the_database(night: Night) -> None:
    page = night.store.database.run(list_turns, TurnFilter(), limit=10)

    turns = {turn.record.id: turn for turn in page}
    assert turns[night.ids["gone"]].duration_seconds is None
    assert 0 <= (turns[night.ids["running"]].duration_seconds or 0) < 60
    assert turns[night.ids["old"]].age_seconds > 86_400
    assert turns[night.ids["cancelled"]].record.cancel_requested_by == "ops"
    assert turns[night.ids["retried"]].record.next_try_at is not None


def test_usage_is_summed_by_whatever_is_asked_for(night: Night) -> None:
    (everything,) = night.sums()
    assert (everything.count, everything.failed, everything.cost, everything.unpriced) == (3, 1, 0.5, 1)
    assert (everything.prompt_tokens, everything.completion_tokens) == (8, 4)
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    by_day = {each.keys["day"]: (each.count, each.cost) for each in night.sums("day")}
    assert by_day["2025-01-01"] == (1, 0.5)
    assert sum(count for day, (count, _) in by_day.items() if day != "2025-01-01") == 2, today
    assert {(each.keys["user"], each.keys["tenant"]) for each in night.sums("user", "tenant")} == {
        ("ann", "default"),
        (None, "default"),
    }
    (calls,) = night.sums("model")
    assert (calls.keys["model"], calls.count, calls.prompt_tokens, calls.cost) == ("m", 1, 3, 0.5)


def test_a_sum_is_about_what_was_asked_for(night: Night) -> None:
    cases: list[tuple[dict[str, Any], int]] = [
        ({"tenant": "default"}, 3),
        ({"tenant": "another"}, 0),
        ({"agent": "assistant"}, 3),
        ({"user": "ann"}, 1),
        ({"since": LONG_AGO + timedelta(days=1)}, 2),
        ({"until": LONG_AGO + timedelta(days=1)}, 1),
    ]

    wrong = {str(filters): found for filters, count in cases if (found := night.sums(**filters)[0].count) != count}
    assert wrong == {}


def test_a_sum_over_too_many_turns_is_refused_before_it_begins(night: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    if night.store.database.is_sqlite:
        return
    monkeypatch.setattr(usage, "TURNS_MAX", 0)

    with pytest.raises(InvalidInput, match="ask for a shorter time"):
        night.sums()


def test_an_overview_has_what_runs_waits_failed_and_was_called(night: Night) -> None:
    overview = night.store.database.run(read_overview, minutes=10)

    assert overview.running_by_agent == {"assistant": 1}
    assert [turn.record.id for turn in overview.running] == [night.ids["running"]]
    assert {queue.agent: (queue.waiting, queue.due, queue.is_served) for queue in overview.queues} == {
        "gone": (1, 1, False),
        "assistant": (1, 0, True),
    }
    (retrying,) = overview.retrying
    assert (retrying.kind, retrying.turns, retrying.message) == ("unavailable", 1, "unavailable: overloaded")
    (ended,) = overview.ended
    assert (ended.agent, ended.completed, ended.failed, ended.cancelled) == ("assistant", 0, 1, 1)
    assert [(each.kind, each.agent, each.turns) for each in overview.failures] == [("model_error", "assistant", 1)]
    assert len(overview.workers) == 1
    assert overview.partial == frozenset()
    assert night.store.database.run(read_overview, minutes=10, tenant="another").ended == []


def test_an_overview_of_a_long_time_has_the_models(night: Night) -> None:
    overview = night.store.database.run(read_overview, minutes=10_000_000)

    (model,) = overview.models
    assert (model.model, model.calls, model.prompt_tokens, model.cost) == ("m", 1, 3, 0.5)
    assert model.mean_seconds == pytest.approx(2, abs=0.5)


def test_summaries_cost_as_well(database: Database) -> None:
    desk = Desk(database)
    desk.chat("t", 10)
    desk.put(desk.draft(marks(messages=8)))

    filters = UsageFilter(since=LONG_AGO, agent=usage.SUMMARIES)
    sums = database.run(sum_usage, filters, [UsageKey.AGENT, UsageKey.MODEL])

    assert [(each.keys["agent"], each.keys["model"], each.cost) for each in sums] == [("(summaries)", "m", 0.5)]


def test_a_worker_hears_with_its_next_beat_that_it_is_to_be_drained(database: Database) -> None:
    alive, dead, library, other = (new_id() for _ in range(4))

    def register(worker: str, host: str = "drained", lease: float = 60, **serves: str) -> None:
        database.run(workers.register, worker=worker, host=host, pid=2, serves=serves, lease_duration_seconds=lease)

    def beat(worker: str) -> workers.Beat:
        return database.run(workers.beat, worker=worker, lease_duration_seconds=60)

    register(alive, assistant="1")
    register(dead, lease=-1, assistant="1")
    register(library)
    register(other, host="other", assistant="1")

    assert [worker.id for worker in database.run(request_drain, host="drained")] == [alive]
    assert beat(alive) == workers.Beat(is_known=True, is_drain_requested=True)
    assert [beat(worker).is_drain_requested for worker in (library, other, new_id())] == [False] * 3
    assert not beat(new_id()).is_known
    first = drain_moments(database, alive)
    database.run(request_drain, worker_ids=[alive])
    assert drain_moments(database, alive) == first
    states = {worker.id: worker.state for worker in database.run(list_workers, host="drained")}
    assert states == {alive: "draining", dead: "dead", library: "alive"}
    for arguments in (*({"worker_ids": [each]} for each in (dead, library, new_id(), "x")), {"host": "elsewhere"}):
        with pytest.raises(InvalidInput):
            database.run(request_drain, **arguments)


def test_a_worker_without_agents_is_no_library_and_is_not_drained(database: Database) -> None:
    worker = new_id()
    lease = {"host": "upkeep", "pid": 1, "lease_duration_seconds": 60}
    database.run(workers.register, worker=worker, serves={}, queues=["maintenance"], **lease)

    (listed,) = database.run(list_workers, host="upkeep")

    assert (listed.is_library, list(listed.queues)) == (False, ["maintenance"])
    for asked in ({"worker_ids": [worker]}, {"host": "upkeep"}):
        with pytest.raises(InvalidInput, match=r"no turns|no living worker of turns"):
            database.run(request_drain, **asked)


def drain_moments(database: Database, worker: str) -> list[datetime | None]:
    return [each.drain_requested_at for each in database.run(list_workers, worker_ids=[worker])]
