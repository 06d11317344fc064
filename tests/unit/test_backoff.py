"""Pauses that double, and stay within their maximum."""

from itertools import islice

from conversation.backoff import add_jitter, backoff_seconds, pauses


def test_pauses_double_up_to_their_maximum() -> None:
    assert list(islice(pauses(0.5, 3), 5)) == [0.5, 1, 2, 3, 3]


def test_a_pause_after_any_number_of_failures_is_the_maximum() -> None:
    assert backoff_seconds(0, first=1, maximum=60) == 1
    assert backoff_seconds(10_000, first=1, maximum=60) == 60


def test_jitter_shortens_a_pause_by_half_at_most_and_not_always_alike() -> None:
    jittered = {add_jitter(10) for _ in range(100)}

    assert 5 <= min(jittered) < max(jittered) <= 10
