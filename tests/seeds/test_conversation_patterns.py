"""Patterns 1 to 3: a thread for each user, for each topic, and sessions that resume."""

import asyncio

from tests.seeds.snippet import run
from tests.stub_openai import StubOpenAI, reply
from threadmill import Agent, Message, Thread, ThreadStore


def user(text: str) -> Message:
    return Message(role="user", content=text)


def sent_to(provider: StubOpenAI, request: int = -1) -> list[tuple[str, str]]:
    return [(m["role"], m["content"]) for m in provider.requests[request].body["messages"]]


async def test_a_user_comes_back_to_the_same_thread(
    agent: Agent, thread_store: ThreadStore, provider: StubOpenAI
) -> None:
    first = (await run("user_threads", {"thread_store": thread_store})).thread
    first.add_message(user("I am Alice."))
    await agent.go(first)

    again = (await run("user_threads", {"thread_store": thread_store})).thread
    again.add_message(user("Who am I?"))
    await agent.go(again)

    assert again.id == "user-alice@example.com-main"
    assert sent_to(provider) == [
        ("system", "To be helpful."),
        ("user", "I am Alice."),
        ("assistant", "All right."),
        ("user", "Who am I?"),
    ]


async def test_two_users_do_not_see_each_other(agent: Agent, thread_store: ThreadStore, provider: StubOpenAI) -> None:
    pattern = await run("user_threads", {"thread_store": thread_store})
    for name in ("alice", "bob"):
        thread = await pattern.get_user_thread(name, thread_store)
        thread.add_message(user(f"I am {name}."))
        await agent.go(thread)

    assert ("user", "I am alice.") not in sent_to(provider)


async def test_what_a_topic_begins_with_is_stored_and_reaches_the_model(
    agent: Agent, thread_store: ThreadStore, provider: StubOpenAI
) -> None:
    pattern = await run("topic_threads")
    said = "This thread is for researching: Quantum Computing"

    made = await pattern.create_research_thread("Quantum Computing", thread_store)
    stored = await thread_store.get_thread("research-quantum-computing")
    stored.add_message(user("Begin."))
    await agent.go(stored)

    assert [(m.role, m.content) for m in made.messages] == [("system", said)]
    reloaded = await thread_store.get_thread(stored.id)
    assert reloaded.messages[0].content == said
    assert [m.role for m in reloaded.messages] == ["system", "user", "assistant"]
    assert reloaded.metadata["topic"] == "Quantum Computing"
    assert sent_to(provider) == [("system", f"To be helpful.\n\n{said}"), ("user", "Begin.")]


async def test_a_topic_that_is_begun_twice_keeps_its_history_and_says_its_topic_once(
    agent: Agent, thread_store: ThreadStore, provider: StubOpenAI
) -> None:
    pattern = await run("topic_threads")
    thread = await pattern.create_research_thread("tea", thread_store)
    thread.add_message(user("Begin."))
    await agent.go(thread)

    again = await pattern.create_research_thread("tea", thread_store)
    again.add_message(user("Go on."))
    await agent.go(again)

    assert [text for _, text in sent_to(provider)][1:] == ["Begin.", "All right.", "Go on."]
    assert sent_to(provider)[0][1].count("researching: tea") == 1


async def test_a_topic_survives_a_window_that_is_cut(thread_store: ThreadStore, provider: StubOpenAI) -> None:
    agent = Agent(name="assistant", model_name="gpt-4", thread_store=thread_store, max_messages=4)
    pattern = await run("topic_threads")
    thread = await pattern.create_research_thread("tea", thread_store)

    for number in range(8):
        thread.add_message(user(f"question {number}"))
        await agent.go(thread)

    assert sent_to(provider)[0] == ("system", "This thread is for researching: tea")
    assert len(sent_to(provider)) <= 5
    assert len((await thread_store.get_thread(thread.id)).messages) == 17


async def test_a_session_begins_and_resumes(agent: Agent, thread_store: ThreadStore, provider: StubOpenAI) -> None:
    pattern = await run("sessions")
    first = pattern.ConversationSession(agent, thread_store)
    assert await first.start_or_resume("session-1") == "new"
    (answer,) = await first.send_message("Hello")

    second = pattern.ConversationSession(agent, thread_store)

    assert await second.start_or_resume("session-1") == "resumed"
    await second.send_message("Again")
    assert (answer.role, answer.content) == ("assistant", "All right.")
    assert [text for _, text in sent_to(provider)][1:] == ["Hello", "All right.", "Again"]


async def test_two_sessions_at_once_keep_both_replies_in_order_and_the_extra_save_does_no_harm(
    agent: Agent, thread_store: ThreadStore, provider: StubOpenAI
) -> None:
    provider.answer_with(lambda request: reply(f"answer to {request.last_text}"))
    pattern = await run("sessions")
    sessions = [pattern.ConversationSession(agent, thread_store) for _ in range(2)]
    for session in sessions:
        await session.start_or_resume("shared")

    await asyncio.gather(*(s.send_message(text) for s, text in zip(sessions, "AB", strict=True)))
    await asyncio.gather(*(s.send_message(text) for s, text in zip(sessions, "CD", strict=True)))

    stored = [message.content for message in (await thread_store.get_thread("shared")).messages]
    assert sorted(stored[0:8:2]) == ["A", "B", "C", "D"]
    assert stored[1:8:2] == [f"answer to {question}" for question in stored[0:8:2]]
    assert len(stored) == 8


async def test_a_session_whose_agent_has_no_store_keeps_what_was_said(
    thread_store: ThreadStore, provider: StubOpenAI
) -> None:
    pattern = await run("sessions")
    session = pattern.ConversationSession(Agent(name="bare", model_name="gpt-4"), thread_store)
    await session.start_or_resume("session-1")

    await session.send_message("Hello")
    await session.send_message("Again")

    stored: Thread = await thread_store.get_thread("session-1")
    assert [m.content for m in stored.messages] == ["Hello", "All right.", "Again", "All right."]
