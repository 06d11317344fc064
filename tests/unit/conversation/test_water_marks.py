"""Marks are lowered for a thread whose model takes less than they allow."""

import pytest

from conversation.water_marks import WaterMarks


@pytest.mark.parametrize(
    ("window_tokens", "high", "low"),
    [(None, 50_000, 12_000), (8_000, 4_000, 2_000), (10**6, 50_000, 12_000), (3, 2, 1)],
)
def test_a_model_that_takes_little_lowers_the_marks(window_tokens, high, low):
    marks = WaterMarks(high_messages=200, high_tokens=50_000, low_messages=50, low_tokens=12_000)

    lowered = marks.within(window_tokens)

    assert (lowered.high_tokens, lowered.low_tokens, lowered.high_messages) == (high, low, 200)


def test_marks_that_count_no_tokens_stay_so():
    marks = WaterMarks(high_messages=0, high_tokens=0, low_messages=1, low_tokens=0)

    assert marks.within(1_000) == marks
