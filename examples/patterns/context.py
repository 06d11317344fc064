"""Context: facts that the model should know in every turn, and that change from turn to turn.

python -m examples.patterns.context
"""

import asyncio
import json

from threadmill import Agent, Message, Thread, ThreadStore

PREFERENCES = {"alice": {"tone": "short", "language": "English"}}


async def load_user_preferences(user_id: str) -> dict[str, str]:
    """The preferences of a user, from wherever your application keeps them."""
    return PREFERENCES[user_id]


async def inject_user_context(thread: Thread, user_id: str) -> Thread:
    """Tell the model about this user. A second call replaces the first."""
    preferences = json.dumps(await load_user_preferences(user_id))
    thread.set_context("user-preferences", f"User preferences: {preferences}")
    return thread


async def main() -> None:
    async with await ThreadStore.create() as store:
        agent = Agent(name="assistant", purpose="You help.", thread_store=store)
        for tone in ("short", "cheerful"):
            PREFERENCES["alice"]["tone"] = tone
            thread = await inject_user_context(await store.get_or_create_thread("alice"), "alice")
            thread.add_message(Message(role="user", content="Hello!"))
            await agent.go(thread)

        print((await store.get_thread("alice")).context)


if __name__ == "__main__":
    asyncio.run(main())
