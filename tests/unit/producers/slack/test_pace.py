"""The pace of calls to Slack, on a loop whose clock stands still but for what it waits for."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from producers.slack.pace import PACES_MAX, Pace, Paces


class SkippingLoop(asyncio.SelectorEventLoop):
    """Skips the time until the next timer instead of waiting for it."""

    skipped = 0.0

    def time(self) -> float:
        return self.skipped

    def _run_once(self) -> None:
        if not self._ready and self._scheduled:  # type: ignore[attr-defined]
            self.skipped = max(self.skipped, self._scheduled[0].when())  # type: ignore[attr-defined]
        super()._run_once()  # type: ignore[misc]


def run(coroutine: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=SkippingLoop) as runner:
        runner.run(coroutine)


def test_between_two_calls_lies_the_interval() -> None:
    async def story() -> None:
        pace, times = Pace(1.5), []
        for _ in range(3):
            await pace.take()
            times.append(asyncio.get_running_loop().time())
        assert times == [0.0, 1.5, 3.0]

    run(story())


def test_who_is_urgent_goes_first_and_then_who_waits_longest() -> None:
    async def story() -> None:
        pace, order = Pace(1.0), []

        async def call(name: str, *, is_urgent: bool = False) -> None:
            await pace.take(is_urgent=is_urgent)
            order.append(name)

        await pace.take()
        tasks = [asyncio.create_task(call(name)) for name in "ab"]
        await asyncio.sleep(0)
        tasks.append(asyncio.create_task(call("urgent", is_urgent=True)))
        await asyncio.gather(*tasks)
        assert order == ["urgent", "a", "b"]

    run(story())


def test_a_pause_holds_for_all() -> None:
    async def story() -> None:
        pace = Pace(1.0)
        pace.pause(30)
        await pace.take(is_urgent=True)
        assert asyncio.get_running_loop().time() == 30

    run(story())


def test_a_caller_who_went_takes_nobodys_place() -> None:
    async def story() -> None:
        pace = Pace(1.0)
        await pace.take()
        gone, next_one = asyncio.create_task(pace.take()), asyncio.create_task(pace.take())
        await asyncio.sleep(0)
        gone.cancel()
        await next_one
        assert asyncio.get_running_loop().time() == 1.0

    run(story())


def test_paces_that_have_nothing_to_remember_are_forgotten() -> None:
    async def story() -> None:
        paces = Paces()
        held = paces.find(("held",), 1.0)
        held.pause(60)
        for number in range(2 * PACES_MAX):
            paces.find((str(number),), 1.0)
        assert len(paces._paces) <= PACES_MAX
        assert paces.find(("held",), 1.0) is held

    run(story())
