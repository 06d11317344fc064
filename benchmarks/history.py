"""The cost of a send and of a turn on threads of 10, 1,000 and 100,000 messages.

In this process, without Celery's and the broker's delay. The window of the offline assistant is 100 to
200 messages, the same for the two long threads: what differs is how much lies behind it. A short thread
is used once: it would not stay short.
"""

import psycopg

from benchmarks.figures import Figure, Measures, ratio_at_most
from benchmarks.own_turns import OwnTurns
from benchmarks.stage import rounds_within, settings_of, stack
from benchmarks.stock import stock_threads

SHORT, LONG, LONGEST = 10, 1_000, 100_000
LENGTHS = (SHORT, LONG, LONGEST)
WARM_ROUNDS = 5
#: Seconds after which no further round begins.
BUDGET_SECONDS = 40


def measure(*, quick: bool) -> Measures:
    """Measure each length alternately, round by round."""
    rounds = WARM_ROUNDS + (5 if quick else 200)
    sends: dict[int, list[float]] = {length: [] for length in LENGTHS}
    turns: dict[int, list[float]] = {length: [] for length in LENGTHS}
    with stack() as servers, OwnTurns(settings_of(servers)) as own:
        with psycopg.connect(servers.addresses().database_url, autocommit=True) as connection:
            for length in LENGTHS:
                stock_threads(connection, f"t-{length}-", rounds if length == SHORT else 1, length)
        for number in rounds_within(BUDGET_SECONDS, rounds):
            for length in LENGTHS:
                turn, send_seconds = own.send(f"t-{length}-{number if length == SHORT else 0}")
                turn_seconds = own.answer(turn)
                if number >= WARM_ROUNDS:
                    sends[length].append(1000 * send_seconds)
                    turns[length].append(1000 * turn_seconds)
    return [*figures("send", "send_message", sends), *figures("turn", "claim, answer and commit", turns)]


def figures(key: str, label: str, milliseconds: dict[int, list[float]]) -> list[Figure]:
    """The long threads are compared to each other; the short one shows what a window costs."""
    short, long, longest = (f"{label}, thread of {length:,} messages" for length in LENGTHS)
    base = Figure(key=f"{key}_{LONG}", label=long, rounds=milliseconds[LONG], unit="ms")
    return [
        base,
        Figure(key=f"{key}_{SHORT}", label=short, rounds=milliseconds[SHORT], unit="ms", baseline=base),
        Figure(
            key=f"{key}_{LONGEST}",
            label=longest,
            rounds=milliseconds[LONGEST],
            unit="ms",
            baseline=base,
            demand=ratio_at_most(1.1),
        ),
    ]
