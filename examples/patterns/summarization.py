"""Summarization: the model reads a summary and the newest messages; the store keeps all of them.

python -m examples.patterns.summarization
"""

import asyncio

from threadmill import Agent, Message, Thread, ThreadStore

LABEL = "Previous conversation summary"


async def summarize(thread: Thread, summarizer: Agent, keep: int) -> None:
    """Show the model a summary in place of all but the `keep` newest messages of this copy."""
    spoken_messages = [message for message in thread.messages if message.role in ("user", "assistant")]
    if len(spoken_messages) <= keep:
        return
    older_text = "\n".join(f"{message.role}: {message.content}" for message in spoken_messages[:-keep])
    request = Thread(messages=[Message(role="user", content=f"Summarize this conversation:\n\n{older_text}")])
    summary = (await summarizer.go(request)).content
    # A system message in front is context, kept under its label: the next summary replaces it.
    summary_message = Message(role="system", content=f"{LABEL}: {summary}")
    thread.messages = [summary_message, *thread.messages[-keep:]]


async def main() -> None:
    async with await ThreadStore.create() as store:
        agent = Agent(name="assistant", purpose="You help.", thread_store=store)
        summarizer = Agent(name="summarizer", purpose="You write concise summaries.")
        thread = Thread(id="long")
        for number in range(12):
            await summarize(thread, summarizer, keep=6)
            thread.add_message(Message(role="user", content=f"Fact {number}: tea {number} is good."))
            await agent.go(thread)

        stored = await store.get_thread("long")
        summaries = [message for message in stored.messages if message.role == "system"]
        print(f"this copy shows {len(thread.messages)} messages")
        print(f"stored are {len(stored.messages) - len(summaries)} messages and {len(summaries)} summary")


if __name__ == "__main__":
    asyncio.run(main())
