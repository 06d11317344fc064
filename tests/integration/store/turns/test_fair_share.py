"""Tenants beside one with a long queue: their turns are woken first."""

from collections.abc import Sequence
from functools import partial

import pytest
from sqlalchemy import text

from conversation.ids import new_id
from conversation.message import Message
from store.database.engine import Database
from store.turns import claims, fair_share, inbox, workers
from store.turns.claims import ClaimRequest
from store.turns.send_request import SendRequest


class Installation:
    """Turns of tenants, each on a thread of its own, and one worker."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.worker = new_id()
        serves = {"a": "1"}
        register = partial(workers.register, worker=self.worker, host="", pid=1, serves=serves)
        database.run(register, lease_duration_seconds=600)

    def send(self, tenant: str, count: int) -> None:
        for number in range(count):
            message = Message(role="user", content="hello")
            ids = {"turn_id": new_id(), "tenant": tenant, "thread_id": f"{tenant}{number}"}
            self.database.run(inbox.accept, SendRequest(**ids, message=message, agent="a"), mark_notified=True)

    def run(self, *threads: str) -> None:
        claimant = ClaimRequest(worker=self.worker, agents={"a": "1"})
        for thread in threads:
            self.database.run(partial(claims.claim, tenant=thread[0], thread_id=thread, claimant=claimant))

    def pick(self, after: str = "") -> Sequence[str]:
        wake_ups = self.database.run(fair_share.pick_neglected, after=after).wake_ups
        assert all(wake_up.comes_first and wake_up.broker_priority() == 0 for wake_up in wake_ups)
        return [wake_up.thread_id for wake_up in wake_ups]


@pytest.fixture
def installation(any_database: Database) -> Installation:
    return Installation(any_database)


def test_a_single_turn_is_woken_before_another_tenants_many(installation: Installation) -> None:
    installation.send("a", 12)
    installation.run(*(f"a{number}" for number in range(4)))
    installation.send("b", 1)

    assert installation.pick() == ["b0"]
    installation.run("b0")
    assert installation.pick() == []


def test_each_tenant_gets_its_share_and_no_more(installation: Installation) -> None:
    installation.send("a", 10)
    installation.run(*(f"a{number}" for number in range(6)))
    installation.send("b", 4)
    installation.send("c", 4)

    assert sorted(installation.pick()) == ["b0", "b1", "c0", "c1"]


def test_a_tenant_alone_neglects_nobody(installation: Installation) -> None:
    installation.send("a", 3)
    installation.run("a0")

    assert installation.pick() == []


def test_more_tenants_than_one_look_sees_are_seen_by_the_next(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fair_share, "TENANTS_MAX", 2)
    for tenant in "abcd":
        installation.send(tenant, 1)

    first = installation.database.run(fair_share.pick_neglected)
    second = installation.database.run(fair_share.pick_neglected, after=first.last_tenant)

    assert [wake_up.tenant for wake_up in (*first.wake_ups, *second.wake_ups)] == list("abcd")


def test_a_turn_that_is_not_due_is_nobodys_share(installation: Installation) -> None:
    installation.send("a", 3)
    installation.send("b", 1)
    later = text("UPDATE turns SET not_before = '2999-01-01 00:00:00.000000' WHERE tenant = 'b'")
    installation.database.run(lambda c: c.execute(later) and None)

    assert installation.pick() == ["a0"]
