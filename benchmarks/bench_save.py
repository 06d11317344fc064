"""What saving one new message costs on a thread of 5,000 messages, against one of 10.

In this process, through `ThreadStore`, on a working copy with all its messages in it; in SQLite and
in PostgreSQL. The two threads take turns, so that whatever else the machine does hits both.
"""

import asyncio
import tempfile
import time
from statistics import median

from benchmarks.stage import Figure, is_quick, settings_of, show, stack
from conversation.message import Message
from conversation.thread import Thread
from store.thread_store import ThreadStore

FEW, MANY = 10, 5_000
#: Saves of a working copy before it is loaded again, so that it stays as long as it is said to be.
SAVES = 10
#: How much more a save on the long thread may cost.
AT_MOST = 1.2


def main() -> None:
    """Both databases, one after the other; the medians."""
    rounds = 20 if is_quick(__doc__) else 500
    with tempfile.TemporaryDirectory() as folder:
        sqlite = asyncio.run(measured(f"sqlite:///{folder}/threads.db", rounds))
    with stack() as servers:
        url = settings_of(servers).database_url.get_secret_value()
        postgresql = asyncio.run(measured(url, rounds))
    show("Saving one new message", [*figures("SQLite", sqlite), *figures("PostgreSQL", postgresql)])


async def measured(url: str, rounds: int) -> dict[int, float]:
    """Milliseconds of a save, by the length of the thread."""
    spent: dict[int, list[float]] = {FEW: [], MANY: []}
    async with await ThreadStore.create(url) as store:
        for length in spent:
            await stock(store, length)
        for _ in range(rounds // SAVES):
            threads = {length: await store.get_thread(f"t{length}", last=length) for length in spent}
            for _ in range(SAVES):
                for length, thread in threads.items():
                    spent[length].append(await saving(store, thread))
    return {length: 1000 * median(found) for length, found in spent.items()}


async def stock(store: ThreadStore, length: int) -> None:
    """A thread of so many messages."""
    texts = (f"message {number}".ljust(200, ".") for number in range(length))
    await store.append(f"t{length}", *(Message(role="user", content=text) for text in texts))


async def saving(store: ThreadStore, thread: Thread) -> float:
    """Seconds."""
    thread.add_message(Message(role="user", content="one more"))
    started = time.perf_counter()
    await store.save_thread(thread)
    return time.perf_counter() - started


def figures(database: str, found: dict[int, float]) -> list[Figure]:
    """The ratio is what is asked for: seconds depend on the machine."""
    return [
        Figure(f"{database}, thread of {FEW} messages", found[FEW], "ms"),
        Figure(f"{database}, thread of {MANY:,} messages", found[MANY], "ms", found[FEW]),
        Figure(f"{database}, the one by the other", found[MANY] / found[FEW], "times", 1, AT_MOST),
    ]


if __name__ == "__main__":
    main()
