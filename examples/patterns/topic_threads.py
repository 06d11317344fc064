"""A thread for each topic: the model reads the topic in every turn.

python -m examples.patterns.topic_threads
"""

import asyncio

from threadmill import Agent, Message, Thread, ThreadStore


async def get_research_thread(topic: str, store: ThreadStore) -> Thread:
    """The thread of a topic. Beginning it again changes nothing."""
    thread = await store.get_or_create_thread(f"research-{topic.lower().replace(' ', '-')}")
    thread.metadata |= {"type": "research", "topic": topic}
    thread.set_context("topic", f"This thread is for researching: {topic}")
    return await store.save_thread(thread)


async def main() -> None:
    async with await ThreadStore.create() as store:
        agent = Agent(name="researcher", purpose="You research.", thread_store=store)
        for topic in ("Quantum computing", "Tea"):
            thread = await get_research_thread(topic, store)
            thread.add_message(Message(role="user", content=f"What do we know about {topic}?"))
            await agent.go(thread)

        for thread in await store.find_threads({"type": "research"}):
            print(thread.id, thread.metadata["topic"])


if __name__ == "__main__":
    asyncio.run(main())
