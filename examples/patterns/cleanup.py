"""Cleanup: delete the threads that were not updated for a while.

python -m examples.patterns.cleanup
"""

import asyncio
from datetime import UTC, datetime, timedelta

from threadmill import Message, ThreadStore


async def clean_up(store: ThreadStore, older_than: timedelta) -> int:
    """Delete threads page by page; returns how many."""
    before = datetime.now(UTC) - older_than
    deleted = 0
    while page := await store.list_threads(limit=100, updated_before=before):
        for thread in page:
            deleted += await store.delete_thread(thread.id)
    return deleted


async def main() -> None:
    async with await ThreadStore.create() as store:
        for number in range(5):
            await store.append(f"old-{number}", Message(role="user", content="Hello!"))
        await asyncio.sleep(0.2)
        await store.append("new", Message(role="user", content="Hello!"))

        print(f"deleted {await clean_up(store, timedelta(milliseconds=150))} threads")
        print(f"left: {', '.join(thread.id for thread in await store.list_threads())}")


if __name__ == "__main__":
    asyncio.run(main())
