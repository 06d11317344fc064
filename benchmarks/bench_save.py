"""The cost of saving one new message on a thread of 5,000 messages, against one of 10.

In this process, through `ThreadStore`, on a working copy with all its messages in it; in SQLite and
in PostgreSQL. The two threads alternate, so that whatever else the machine does hits both.
"""

import asyncio
import tempfile
import time
from statistics import median

from benchmarks.stage import Figure, is_quick, settings_of, show, stack
from conversation.message import Message
from conversation.thread import Thread
from store.thread_store import ThreadStore

SHORT_LENGTH, LONG_LENGTH = 10, 5_000
#: Saves of a working copy before it is loaded again, so that it stays as long as it is said to be.
SAVES = 10
#: How much more a save on the long thread may cost.
RATIO_MAX = 1.2


def main() -> None:
    """Measure both databases, one after the other; show the medians."""
    rounds = 20 if is_quick(__doc__) else 500
    with tempfile.TemporaryDirectory() as folder:
        sqlite = asyncio.run(measure(f"sqlite:///{folder}/threads.db", rounds))
    with stack() as servers:
        url = settings_of(servers).database_url.get_secret_value()
        postgresql = asyncio.run(measure(url, rounds))
    show("Saving one new message", [*figures("SQLite", sqlite), *figures("PostgreSQL", postgresql)])


async def measure(url: str, rounds: int) -> dict[int, float]:
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
    return {length: 1000 * median(found) for length, found in save_seconds.items()}


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


def figures(database: str, medians: dict[int, float]) -> list[Figure]:
    """The figures of one database. The ratio is bounded: seconds depend on the machine."""
    return [
        Figure(f"{database}, thread of {SHORT_LENGTH} messages", medians[SHORT_LENGTH], "ms"),
        Figure(f"{database}, thread of {LONG_LENGTH:,} messages", medians[LONG_LENGTH], "ms", medians[SHORT_LENGTH]),
        Figure(
            f"{database}, the one by the other", medians[LONG_LENGTH] / medians[SHORT_LENGTH], "times", 1, RATIO_MAX
        ),
    ]


if __name__ == "__main__":
    main()
