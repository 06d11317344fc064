"""Waiting between attempts: bounded, random, and never shorter than the provider asked for."""

import pytest

from agent.models.backoff import Backoff
from conversation.errors import ModelError


async def waits_between(backoff: Backoff, error: BaseException, *, attempts: int) -> list[float]:
    """The waits, when every attempt that is made ends with `error`."""
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    async def ask() -> None:
        raise error

    retrying = backoff.attempts(attempts, model="stub").copy(sleep=sleep)
    with pytest.raises(type(error)) as raised:
        await retrying(ask)
    assert raised.value is error
    return waits


def unavailable(retry_after_seconds: float | None = None) -> ModelError:
    return ModelError("unavailable", "down", retryable=True, retry_after_seconds=retry_after_seconds)


async def test_the_bound_doubles_up_to_its_maximum_and_the_wait_is_random_below_it():
    backoff = Backoff(initial_seconds=1, max_seconds=4)

    runs = [await waits_between(backoff, unavailable(), attempts=5) for _ in range(200)]

    for bound, seen in zip((1, 2, 4, 4), zip(*runs, strict=True), strict=True):
        assert 0 <= min(seen) < bound * 0.1
        assert bound * 0.9 < max(seen) <= bound


async def test_a_wait_is_never_shorter_than_the_provider_asked_for_and_spread_after_it():
    backoff = Backoff(initial_seconds=0.5)

    runs = [await waits_between(backoff, unavailable(7), attempts=2) for _ in range(100)]

    seen = [wait for waits in runs for wait in waits]
    assert len(seen) == 100
    assert 7 <= min(seen) < max(seen) <= 7.5


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(ModelError("refused", "no", retryable=False), id="not retryable"),
        pytest.param(unavailable(61), id="asked for a longer pause than we wait"),
        pytest.param(KeyError("a defect"), id="no model error"),
    ],
)
async def test_no_further_attempt_is_made_where_none_can_help(error):
    waits = await waits_between(Backoff(retry_after_max_seconds=60), error, attempts=3)

    assert waits == []
