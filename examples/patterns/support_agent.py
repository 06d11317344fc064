"""A customer support agent: a thread for each ticket, that a customer can come back to.

python -m examples.patterns.support_agent
"""

import asyncio

from threadmill import WEB_TOOLS, Agent, FileStore, Message, ThreadStore


class SupportAgent:
    """Answers tickets."""

    def __init__(self, thread_store: ThreadStore, file_store: FileStore) -> None:
        self.thread_store = thread_store
        self.agent = Agent(
            name="support-agent",
            purpose="To help customers with product issues",
            tools=[*WEB_TOOLS],
            thread_store=thread_store,
            file_store=file_store,
        )

    async def handle_ticket(self, ticket_id: str, customer_id: str, issue: str) -> str:
        """Answer what a customer reports; a ticket that is known is opened again."""
        thread = await self.thread_store.get_or_create_thread(f"ticket-{ticket_id}", user=customer_id)
        thread.metadata |= {"ticket_id": ticket_id, "customer_id": customer_id, "status": "open"}
        thread.add_message(Message(role="user", content=f"Customer {customer_id} reports: {issue}"))
        result = await self.agent.go(thread, user=customer_id)
        return result.content

    async def close_ticket(self, ticket_id: str) -> None:
        """Mark a ticket as closed."""
        thread = await self.thread_store.get_thread(f"ticket-{ticket_id}", last=1)
        thread.metadata["status"] = "closed"
        await self.thread_store.save_thread(thread)

    async def get_ticket_history(self, ticket_id: str) -> list[Message]:
        """All that was said about a ticket."""
        return (await self.thread_store.get_thread(f"ticket-{ticket_id}")).messages


async def main() -> None:
    files = await FileStore.create("./support_files")
    async with await ThreadStore.create() as store:
        support = SupportAgent(store, files)
        print(await support.handle_ticket("12345", "cust-789", "I cannot log in to my account."))
        await support.close_ticket("12345")
        await support.handle_ticket("12345", "cust-789", "It happened again.")

        for message in await support.get_ticket_history("12345"):
            print(f"{message.seq} {message.role}: {message.content.splitlines()[-1]}")
        for thread in await store.find_threads({"status": "open"}):
            print(thread.id, thread.metadata["customer_id"])


if __name__ == "__main__":
    asyncio.run(main())
