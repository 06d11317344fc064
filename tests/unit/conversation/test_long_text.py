"""Patterns over long texts: the same is found as in one call, and no call reads more than a piece."""

import random
import re
from collections.abc import Iterator

import pytest

from agent.summaries.salience import ids_in, is_task, strong_values_in, values_in
from conversation.long_text import PIECE_CHARS, VALUE_MAX_CHARS, find_matches

#: What stands in a text: values of all kinds, and what is between them.
WORDS = (
    "#W1234567",
    "2026-12-24",
    "€ 12.50",
    "ann@example.org",
    "17",
    "Margaret",
    "and so on.",
    "\n",
    "1,1,1",
    "x" * 40,
)


class WatchedPattern:
    """A pattern that notes how much of a text each call may read."""

    def __init__(self, pattern: re.Pattern[str]) -> None:
        self._pattern = pattern
        self.spans: list[int] = []

    def finditer(self, text: str, start: int = 0, end: int = 2**31) -> Iterator[re.Match[str]]:
        self.spans.append(min(end, len(text)) - start)
        return self._pattern.finditer(text, start, end)


@pytest.mark.parametrize("seed", range(3))
def test_the_same_is_found_as_in_one_call(seed: int) -> None:
    rng = random.Random(seed)
    text = " ".join(rng.choices(WORDS, k=4_000))
    pattern = re.compile(r"(?<!\w)\w+@[\w.]+|#\w+|\b\d[\d,.-]*\b")

    assert [match.span() for match in find_matches(pattern, text)] == [m.span() for m in pattern.finditer(text)]


def test_a_value_across_the_end_of_a_piece_is_found_whole() -> None:
    for before in range(PIECE_CHARS - 20, PIECE_CHARS + 2):
        assert ids_in(f"{'-' * before} #W1234567 and more") == {"#W1234567"}


def test_no_call_reads_more_than_a_piece() -> None:
    watched = WatchedPattern(re.compile("#"))

    assert [match.start() for match in find_matches(watched, "x" * 100_000 + "#")] == [100_000]  # type: ignore[arg-type]

    assert max(watched.spans) <= PIECE_CHARS + VALUE_MAX_CHARS


def test_values_of_all_kinds_are_found() -> None:
    uuid = "0195a1f0-0000-7000-8000-000000000000"
    text = f"Pay € 12.50 or 7 EUR to Margaret (ann@example.org) by 2026-12-24: #W1234567, {uuid}, $1,200."

    values = {"€ 12.50", "7 EUR", "ann@example.org", "2026-12-24", "#W1234567", uuid, "$1,200"}
    assert strong_values_in(text) == values
    assert values_in(text) == values | {"Margaret"}
    assert is_task(f"{'x ' * PIECE_CHARS}please call him")
