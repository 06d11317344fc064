"""Pauses that grow: between two polls of a caller that waits, and before another attempt at what failed.

What stays true: a pause doubles each time up to its maximum, however often that is; jitter only makes
it shorter, so that the maximum holds.
"""

import random
from collections.abc import Iterator
from itertools import count

#: Doublings after which every pause has reached its maximum; more would overflow a float one day.
_DOUBLINGS_MAX = 64


def backoff_seconds(doublings: int, *, first: float, maximum: float) -> float:
    """The pause in seconds after so many doublings of the first one, at most `maximum`."""
    return min(first * 2.0 ** min(doublings, _DOUBLINGS_MAX), maximum)


def pauses(first: float, maximum: float) -> Iterator[float]:
    """The pauses in seconds of one wait, without end: each is twice the one before, up to `maximum`."""
    return (backoff_seconds(doublings, first=first, maximum=maximum) for doublings in count())


def add_jitter(seconds: float) -> float:
    """Shorten a pause at random by up to a half, so that what failed together does not retry together."""
    return seconds * random.uniform(0.5, 1)  # noqa: S311 - spreads load, guards nothing
