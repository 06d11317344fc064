"""Slots, shared out among tenants."""

import asyncio

from conversation.fair_slots import FairSlots


async def test_a_slot_goes_to_each_tenant_that_waits_in_its_turn() -> None:
    slots, order = FairSlots(2), []

    async def work(tenant: str) -> None:
        async with slots.take(tenant):
            order.append(tenant)
            await asyncio.sleep(0)

    await asyncio.gather(*(work(tenant) for tenant in "aaaaaabbc"))

    assert "".join(order[:7]) == "aaabcab"
    assert sorted(order) == list("aaaaaabbc")


async def test_who_waits_no_more_takes_no_slot_along() -> None:
    slots = FairSlots(1)

    async def work() -> str:
        async with slots.take("a"):
            return "worked"

    async with slots.take("a"):
        waiting = [asyncio.create_task(work()) for _ in range(3)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        await asyncio.sleep(0)
    # The slot was given to this one just now.
    waiting[1].cancel()

    assert await waiting[2] == "worked"
    async with slots.take("b"):
        pass
