"""The cost of saving one new message on a thread of 5,000 messages, against one of 10.

In this process, through `ThreadStore`, on a working copy with all its messages in it; in SQLite and
in PostgreSQL. The two threads alternate, so that whatever else the machine does hits both.
"""

import asyncio
import tempfile
import time

from benchmarks.figures import Figure, Measures, ratio_at_most
from benchmarks.stage import settings_of, stack
from conversation.message import Message
from conversation.thread import Thread
from store.thread_store import ThreadStore

SHORT_LENGTH, LONG_LENGTH = 10, 5_000
#: Saves of a working copy before it is loaded again, so that it stays as long as it is said to be.
SAVES = 10


def measure(*, quick: bool) -> Measures:
    """Measure both databases, one after the other."""
    rounds = 20 if quick else 300
    with tempfile.TemporaryDirectory() as folder:
        sqlite = asyncio.run(time_saves(f"sqlite:///{folder}/threads.db", rounds))
    with stack() as servers:
        url = settings_of(servers).database_url.get_secret_value()
        postgresql = asyncio.run(time_saves(url, rounds))
    return [*figures("SQLite", sqlite), *figures("PostgreSQL", postgresql)]


async def time_saves(url: str, rounds: int) -> dict[int, list[float]]:
    """Milliseconds of a save, by the length of the thread."""
    save_seconds: dict[int, list[float]] = {SHORT_LENGTH: [], LONG_LENGTH: []}
    async with await ThreadStore.create(url) as store:
        for length in save_seconds:
            await stock(store, length)
        for _ in range(rounds // SAVES):
            threads = {length: await store.get_thread(f"t{length}", last=length) for length in save_seconds}
            for _ in range(SAVES):
                for length, thread in threads.items():
                    save_seconds[length].append(await time_save(store, thread))
    return {length: [1000 * seconds for seconds in found] for length, found in save_seconds.items()}


async def stock(store: ThreadStore, length: int) -> None:
    """A thread of so many messages."""
    texts = (f"message {number}".ljust(200, ".") for number in range(length))
    await store.append(f"t{length}", *(Message(role="user", content=text) for text in texts))


async def time_save(store: ThreadStore, thread: Thread) -> float:
    """Measure the seconds of one save."""
    thread.add_message(Message(role="user", content="one more"))
    started = time.perf_counter()
    await store.save_thread(thread)
    return time.perf_counter() - started


def figures(database: str, milliseconds: dict[int, list[float]]) -> list[Figure]:
    """The figures of one database."""
    key = database.lower()
    short, long = (f"{database}, thread of {length:,} messages" for length in milliseconds)
    base = Figure(key=f"{key}_{SHORT_LENGTH}", label=short, rounds=milliseconds[SHORT_LENGTH], unit="ms")
    rounds, demand = milliseconds[LONG_LENGTH], ratio_at_most(1.2)
    return [
        base,
        Figure(key=f"{key}_{LONG_LENGTH}", label=long, rounds=rounds, unit="ms", baseline=base, demand=demand),
    ]
