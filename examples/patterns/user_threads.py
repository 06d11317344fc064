"""A thread for each user: a user who comes back goes on where they stopped.

python -m examples.patterns.user_threads
"""

import asyncio

from threadmill import Agent, Message, Thread, ThreadStore


async def get_user_thread(user_id: str, store: ThreadStore) -> Thread:
    """The user's own thread: the stored one, or a new one that is stored now."""
    return await store.get_or_create_thread(f"user-{user_id}-main", user=user_id)


async def say(agent: Agent, store: ThreadStore, user_id: str, text: str) -> str:
    """Send one message of a user; returns the answer."""
    thread = await get_user_thread(user_id, store)
    thread.add_message(Message(role="user", content=text))
    result = await agent.go(thread)
    return result.content


async def main() -> None:
    async with await ThreadStore.create() as store:
        agent = Agent(name="assistant", purpose="You help.", thread_store=store)
        await say(agent, store, "alice@example.com", "My favourite tea is Assam.")
        await say(agent, store, "bob@example.com", "I drink coffee.")
        print(await say(agent, store, "alice@example.com", "What is my favourite tea?"))


if __name__ == "__main__":
    asyncio.run(main())
