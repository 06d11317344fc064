"""A worker's memory is flat: what a turn was said, shown and answered does not stay when it has ended."""

import random
from pathlib import Path

import pytest

from tests.acceptance.installation import Installation, worker

TURNS = 1_000
#: Turns after which whatever is made once has been made.
WARM_TURNS = 250
#: Characters of each message, none like another.
TEXT_CHARS = 60_000
#: Half of what the texts would take, were each kept once.
GROWTH_MAX_KIB = 24 * 1024


def resident_kib(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


@pytest.mark.endurance
def test_a_thousand_turns_of_long_messages_leave_no_text_in_the_worker(installation: Installation) -> None:
    installation.start(
        worker("one"), *installation.upkeep(), THREADMILL_AGENT_MODULES="tests.acceptance.agents_that_count"
    )
    words = random.Random(7)

    def run(count: int, name: str) -> int:
        for start in range(0, count, 50):
            turns = [
                installation.send(f"{name}-{number}", words.randbytes(TEXT_CHARS // 2).hex(), agent="counter")
                for number in range(start, min(start + 50, count))
            ]
            installation.all_ended(turns)
        return resident_kib(installation.processes["one"].pid or 0)

    warm_kib = run(WARM_TURNS, "warm")
    grown_kib = run(TURNS - WARM_TURNS, "then") - warm_kib

    assert grown_kib < GROWTH_MAX_KIB, f"{grown_kib} KiB in {TURNS - WARM_TURNS} turns beyond {warm_kib} KiB"
