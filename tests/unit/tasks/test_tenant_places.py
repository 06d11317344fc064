"""The places of one worker, shared out among tenants."""

import asyncio

import pytest

from store.settings.units import TenantLimit
from tasks import tenant_places
from tasks.tenant_places import TenantPlaces

DEFAULT = TenantLimit(percent=90)


@pytest.fixture(autouse=True)
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tenant_places, "PATIENCE_SECONDS", 0.01)


async def take(places: TenantPlaces, tenant: str, count: int) -> int:
    """How many of so many wake-ups get a place."""
    return sum([await places.take(tenant) for _ in range(count)])


async def test_a_tenant_alone_takes_every_place() -> None:
    places = TenantPlaces(10, DEFAULT)

    assert await take(places, "a", 10) == 10


async def test_beside_others_a_tenant_leaves_a_place_free() -> None:
    places = TenantPlaces(10, DEFAULT)
    await places.take("b")
    places.give_back("b")

    assert await take(places, "a", 12) == 9
    assert await places.take("b")


async def test_a_tenant_that_took_all_leaves_the_next_place_to_whom_it_meets() -> None:
    places = TenantPlaces(4, DEFAULT)
    await take(places, "a", 4)
    places.give_back("a")
    assert await places.take("b")

    places.give_back("a")

    assert await take(places, "a", 1) == 1
    assert await take(places, "a", 1) == 0


async def test_a_wake_up_that_waits_goes_on_in_the_place_that_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tenant_places, "PATIENCE_SECONDS", 60)
    places = TenantPlaces(2, DEFAULT)
    for tenant in ("b", "a"):
        await places.take(tenant)
    first, second = (asyncio.create_task(places.take("a")) for _ in range(2))
    await asyncio.sleep(0)

    places.give_back("a")
    late = asyncio.create_task(places.take("a"))

    assert await first
    assert not second.done()
    second.cancel()
    late.cancel()
    await asyncio.wait({second, late})
    places.give_back("a")
    assert await places.take("a")


@pytest.mark.parametrize("limit", [TenantLimit(), TenantLimit(count=1)])
async def test_a_number_and_no_limit_are_not_decided_here(limit: TenantLimit) -> None:
    places = TenantPlaces(2, limit)
    await places.take("b")

    assert await take(places, "a", 5) == 5


async def test_a_worker_of_one_place_holds_nobody_back() -> None:
    places = TenantPlaces(1, DEFAULT)
    for tenant in "abab":
        assert await places.take(tenant)
        places.give_back(tenant)


async def test_a_neighbour_that_was_not_seen_for_long_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    places = TenantPlaces(2, DEFAULT)
    await places.take("b")
    monkeypatch.setattr("tasks.neighbours.SEEN_SECONDS", 0.0)

    assert await take(places, "a", 2) == 2
