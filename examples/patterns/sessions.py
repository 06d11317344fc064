"""Sessions: a conversation that several windows may have open at once.

python -m examples.patterns.sessions
"""

import asyncio

from threadmill import Agent, Message, ThreadNotFound, ThreadStore


class Session:
    """One window on a conversation."""

    def __init__(self, agent: Agent, store: ThreadStore, session_id: str) -> None:
        self.agent = agent
        self.store = store
        self.session_id = session_id

    async def start_or_resume(self) -> str:
        """Open the conversation; returns whether it is new or resumed."""
        try:
            await self.store.get_thread(self.session_id, last=1)
            return "resumed"
        except ThreadNotFound:
            await self.store.get_or_create_thread(self.session_id)
            return "new"

    async def send(self, text: str) -> str:
        """Ask, and get the answer. What the other windows said meanwhile is part of the conversation."""
        thread = await self.store.get_thread(self.session_id, last=50)
        thread.add_message(Message(role="user", content=text))
        return (await self.agent.go(thread)).content


async def main() -> None:
    async with await ThreadStore.create() as store:
        agent = Agent(name="assistant", purpose="You help.", thread_store=store)
        left, right = (Session(agent, store, "session-1") for _ in range(2))
        print(await left.start_or_resume(), await right.start_or_resume())

        await asyncio.gather(left.send("from the left"), right.send("from the right"))

        for message in (await store.get_thread("session-1")).messages:
            print(message.seq, message.role, message.content.splitlines()[-1])


if __name__ == "__main__":
    asyncio.run(main())
