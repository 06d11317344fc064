"""The memory of one worker process over 10,000 turns, each of a message of 60 kB that is like no other.

What the process holds, as Linux counts it, after the first tenth of the turns and after all of them: what
is made once is made by then. The growth is set against the bytes of the messages, all of which it would hold
if it kept each once.
"""

import random

from benchmarks.figures import Figure, Measures, at_most
from benchmarks.stage import resident_kib, settings_of, stack
from conversation.task_contract import TURNS_QUEUE
from producers import Producer
from threadmill.embedded.programs import worker
from threadmill.embedded.stack import Stack

TURNS, TEXT_CHARS = 10_000, 60_000
#: Turns that wait at once.
BATCH = 50
TURN_SECONDS = 60
WORKER = worker("turns", [TURNS_QUEUE])


def measure(*, quick: bool) -> Measures:
    """Measure the growth of one worker."""
    count = TURNS // 20 if quick else TURNS
    with stack(WORKER, agent_modules="benchmarks.counting_agent") as servers:
        producer = Producer(settings_of(servers))
        words = random.Random(7)
        early_kib = run_turns(servers, producer, words, range(count // 10))
        late_kib = run_turns(servers, producer, words, range(count // 10, count))
        producer.close()
    texts = Figure(
        key="texts", label="messages of these turns", rounds=[(count - count // 10) * TEXT_CHARS / 1024], unit="KiB"
    )
    return [
        Figure(key="early", label="worker, after a tenth of the turns", rounds=[early_kib], unit="KiB"),
        Figure(key="late", label="worker, after all of them", rounds=[late_kib], unit="KiB"),
        texts,
        Figure(
            key="growth",
            label="growth between the two",
            rounds=[max(0, late_kib - early_kib)],
            unit="KiB",
            baseline=texts,
            demand=at_most(8 * 1024),
        ),
    ]


def run_turns(servers: Stack, producer: Producer, words: random.Random, numbers: range) -> int:
    """Send so many turns and wait for all; the worker's memory then, in KiB."""
    for start in range(numbers.start, numbers.stop, BATCH):
        turns = [
            producer.send(f"t-{number}", words.randbytes(TEXT_CHARS // 2).hex(), agent="counting")
            for number in range(start, min(start + BATCH, numbers.stop))
        ]
        for turn in turns:
            turn.wait(timeout=TURN_SECONDS)
    return resident_kib(servers.pid(WORKER.name))
