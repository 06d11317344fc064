"""A failover that loses what was committed last: the standby that took over had not heard of it.

The database goes back to a copy of its files. Who was told that something is stored must not write
as if it were; and numbers that were given out in the time that is lost are given out again.
"""

from collections.abc import AsyncIterator, Iterator

import psycopg
import pytest

from conversation.errors import LeaseLost, TurnNotFound
from conversation.step import Step
from conversation.turn import ClaimedTurn
from store.turns import inbox, records, workers
from store.turns.claims import ClaimRequest
from store.turns.worker_listing import list_workers
from tests.integration.store.database.faults.stage import SERVES, Stage, answer, claim_of, request, settling
from threadmill.embedded.postgres import EmbeddedPostgres


class Standby:
    """A copy of a database, that takes its place and its name."""

    def __init__(self, server: EmbeddedPostgres, database_url: str) -> None:
        self._operator = psycopg.connect(server.url_of("postgres"), autocommit=True)
        self._name = database_url.rpartition("/")[2]
        self._copy = f"{self._name}_standby"

    def catch_up(self) -> None:
        """What is committed now is on the standby; what comes later is not."""
        self._disconnect()
        self._operator.execute(f"create database {self._copy} template {self._name} strategy file_copy")

    def take_over(self) -> None:
        self._disconnect()
        self._operator.execute(f"drop database {self._name} with (force)")
        self._operator.execute(f"alter database {self._copy} rename to {self._name}")

    def close(self) -> None:
        self._operator.execute(f"drop database if exists {self._copy} with (force)")
        self._operator.close()

    def _disconnect(self) -> None:
        self._operator.execute(
            "select pg_terminate_backend(pid, 10000) from pg_stat_activity where datname = %s", [self._name]
        )


@pytest.fixture
def standby(postgres_server: EmbeddedPostgres, database_url: str) -> Iterator[Standby]:
    opened = Standby(postgres_server, database_url)
    yield opened
    opened.close()


@pytest.fixture
async def stage(database_url: str) -> AsyncIterator[Stage]:
    opened = Stage(database_url, database_url)
    yield opened
    await opened.close()


def another(stage: Stage) -> ClaimRequest:
    return ClaimRequest(worker=stage.sign_on(), agents=SERVES)


def claim(stage: Stage, thread: str, claimant: ClaimRequest) -> ClaimedTurn:
    found = stage.steady.run(claim_of(thread, claimant))
    assert isinstance(found, ClaimedTurn)
    return found


def assert_writes_nothing(stage: Stage, stale: ClaimedTurn) -> None:
    with pytest.raises(LeaseLost):
        stage.recorded(stale, Step(index=0, kind="model", state="finished", result={"content": "stale"}))
    with pytest.raises(LeaseLost):
        stage.steady.run(settling(stale, answer()))


def test_a_worker_whose_claim_was_lost_writes_nothing(stage: Stage, standby: Standby) -> None:
    turn_id = stage.sent("t")
    standby.catch_up()
    lost = claim(stage, "t", stage.claimant)

    standby.take_over()

    assert_writes_nothing(stage, lost)
    stage.go_on()
    stage.assert_whole("t", turn_ids=[turn_id], state="completed", told="")


def test_a_token_that_is_given_out_again_is_no_use_to_who_had_it_first(stage: Stage, standby: Standby) -> None:
    second = another(stage)
    turn_id = stage.sent("t")
    standby.catch_up()
    lost = claim(stage, "t", stage.claimant)
    standby.take_over()

    again = claim(stage, "t", second)

    assert_writes_nothing(stage, lost)
    stage.recorded(again, Step(index=0, kind="model", state="finished", result={"content": "again"}))
    stage.settled(again)
    stage.assert_whole("t", turn_ids=[turn_id], state="completed", told="")


def test_a_turn_whose_end_was_lost_is_run_again_and_said_once(stage: Stage, standby: Standby) -> None:
    claimed = stage.claimed("t")
    standby.catch_up()
    stage.settled(claimed)

    standby.take_over()

    # Its worker lives and has no task for it any more: the heartbeat finds that.
    assert [held.turn_id for held in stage.steady.run(workers.list_held_threads, worker=stage.worker)] == [claimed.id]
    stage.go_on()
    stage.assert_whole("t", turn_ids=[claimed.id], state="completed", told="")


def test_an_end_that_is_written_again_after_it_was_lost_is_written(stage: Stage, standby: Standby) -> None:
    claimed = stage.claimed("t")
    standby.catch_up()
    stage.settled(claimed)
    standby.take_over()

    stage.settled(claimed)

    stage.assert_whole("t", turn_ids=[claimed.id], state="completed", told="")


def test_a_message_that_was_lost_can_be_sent_again_under_its_key(stage: Stage, standby: Standby) -> None:
    stage.sent("another")
    standby.catch_up()
    lost = stage.steady.run(inbox.accept, request=request("t", idempotency_key="k"))
    standby.take_over()

    with pytest.raises(TurnNotFound):
        stage.steady.run(records.read, turn_id=lost.turn_id)
    again = [stage.steady.run(inbox.accept, request=request("t", idempotency_key="k")) for _ in "12"]

    assert [(each.turn_id, each.is_new) for each in again] == [(again[0].turn_id, True), (again[0].turn_id, False)]
    stage.go_on()
    stage.assert_whole("t", turn_ids=[again[0].turn_id], state="completed", told="")


def test_a_thread_that_was_lost_lends_its_number_to_another_one_and_nothing_else(
    stage: Stage, standby: Standby
) -> None:
    second = another(stage)
    standby.catch_up()
    lost = stage.claimed("lost")
    standby.take_over()

    stage.sent("other")
    other = claim(stage, "other", second)

    assert other.lease.thread_key == lost.lease.thread_key
    assert_writes_nothing(stage, lost)
    stage.settled(other)
    stage.assert_whole("other", turn_ids=[other.id], state="completed", told="")


def test_a_worker_whose_row_was_lost_signs_on_again(stage: Stage, standby: Standby) -> None:
    import asyncio

    from conversation.ids import new_id
    from tasks.active_runs import ActiveRuns
    from tasks.heartbeat import Heartbeat

    standby.catch_up()
    loop = asyncio.new_event_loop()
    heart = Heartbeat(new_id(), stage.settings, {}, ActiveRuns(), loop)
    heart._register()
    standby.take_over()

    heart._beat()

    assert [worker.state for worker in stage.steady.run(list_workers, worker_ids=[heart._worker])] == ["alive"]
    heart._database.close()
    loop.close()
