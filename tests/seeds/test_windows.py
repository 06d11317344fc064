"""Summarization, context injection and message limits: what the model sees, and what stays stored."""

import json
from typing import Any

from tests.seeds.snippet import run
from tests.stub_openai import StubOpenAI, reply
from threadmill import Agent, Message, Thread, ThreadStore, ToolCall

IMPORT_JSON = {"async def inject_user_context": "import json\n\nasync def inject_user_context"}


def user(text: str) -> Message:
    return Message(role="user", content=text)


def assistant(text: str) -> Message:
    return Message(role="assistant", content=text)


def last_sent(provider: StubOpenAI) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = provider.requests[-1].body["messages"]
    return messages


async def talked(store: ThreadStore, thread_id: str, pairs: int) -> Thread:
    thread = Thread(id=thread_id)
    for number in range(pairs):
        thread.add_message(user(f"question {number}"))
        thread.add_message(assistant(f"answer {number}"))
    return await store.save_thread(thread)


def answer_summaries(provider: StubOpenAI, summary: str) -> None:
    def answer(request: Any) -> Any:
        return reply(summary if request.last_text.startswith("Summarize") else "All right.")

    provider.answer_with(answer)


async def test_a_summary_reaches_the_model_and_the_history_stays_stored(
    agent: Agent, thread_store: ThreadStore, provider: StubOpenAI
) -> None:
    answer_summaries(provider, "They asked forty questions.")
    await talked(thread_store, "long", 40)
    thread = await thread_store.get_thread("long")
    pattern = await run("summarization")

    await pattern.summarize_old_conversations(thread, max_messages=10)
    await thread_store.save_thread(thread)
    thread.add_message(user("Go on."))
    await agent.go(thread)

    system, *rest = last_sent(provider)
    assert "Previous conversation summary: They asked forty questions." in system["content"]
    assert [m["content"] for m in rest][-1] == "Go on."
    assert len(rest) == 11
    stored = await thread_store.get_thread("long")
    assert sum(message.seq is not None for message in stored.messages) == 82


async def test_summarizing_again_and_again_leaves_one_summary(
    agent: Agent, thread_store: ThreadStore, provider: StubOpenAI
) -> None:
    thread = await talked(thread_store, "long", 20)
    pattern = await run("summarization")

    for round_ in range(4):
        answer_summaries(provider, f"Summary {round_}.")
        await pattern.summarize_old_conversations(thread, max_messages=10)
        thread.add_message(user(f"more {round_}"))
        await agent.go(thread)

    told = "\n".join(str(message["content"]) for message in last_sent(provider))
    assert told.count("Previous conversation summary") == 1
    assert "Summary 3." in told
    stored = await thread_store.get_thread("long")
    assert sum(message.seq is not None for message in stored.messages) == 48
    assert sum(message.role == "system" for message in stored.messages) == 1


async def test_a_cut_holds_for_as_long_as_the_copy_lives(
    agent: Agent, thread_store: ThreadStore, provider: StubOpenAI
) -> None:
    thread = await talked(thread_store, "long", 20)
    thread.messages = thread.messages[-4:]
    await thread_store.save_thread(thread)

    for number in range(3):
        thread.add_message(user(f"more {number}"))
        await agent.go(thread)

    assert [m["content"] for m in last_sent(provider)][1] == "question 18"
    assert len((await thread_store.get_thread("long")).messages) == 46


async def test_what_others_add_to_a_thread_that_was_cut_is_seen(
    agent: Agent, thread_store: ThreadStore, provider: StubOpenAI
) -> None:
    thread = await talked(thread_store, "long", 20)
    thread.messages = thread.messages[-4:]
    await thread_store.append("long", user("from somebody else"))

    thread.add_message(user("mine"))
    await agent.go(thread)

    assert [m["content"] for m in last_sent(provider)][-2:] == ["from somebody else", "mine"]


async def test_what_is_put_in_front_reaches_the_model_and_does_not_pile_up(
    agent: Agent, thread_store: ThreadStore, provider: StubOpenAI
) -> None:
    preferences = {"tone": "short"}

    async def load_user_preferences(user_id: str) -> dict[str, str]:
        return preferences

    given = {"load_user_preferences": load_user_preferences}
    pattern = await run("context_injection", given, repairs=IMPORT_JSON)
    await talked(thread_store, "t", 2)

    for number in range(3):
        preferences["round"] = str(number)
        thread = await thread_store.get_thread("t")
        for _ in range(2):
            await pattern.inject_user_context(thread, "alice")
        thread.add_message(user(f"more {number}"))
        await agent.go(thread)

    system, *rest = last_sent(provider)
    assert system["content"].count("User preferences") == 1
    assert json.dumps({"tone": "short", "round": "2"}) in system["content"]
    assert all(message["role"] != "system" for message in rest)
    stored = await thread_store.get_thread("t")
    assert [message.role for message in stored.messages].count("system") == 1


async def test_context_of_two_kinds_does_not_push_each_other_out(
    agent: Agent, thread_store: ThreadStore, provider: StubOpenAI
) -> None:
    async def load_user_preferences(user_id: str) -> dict[str, str]:
        return {"tone": "short"}

    given = {"load_user_preferences": load_user_preferences}
    inject = (await run("context_injection", given, repairs=IMPORT_JSON)).inject_user_context
    topics = await run("topic_threads")
    await topics.create_research_thread("tea", thread_store)

    thread = await inject(await thread_store.get_thread("research-tea"), "alice")
    thread.set_context("house-style", "Write British English.")
    thread.add_message(user("Begin."))
    await agent.go(thread)

    told = last_sent(provider)[0]["content"]
    for text in ("researching: tea", "User preferences", "British English"):
        assert told.count(text) == 1


async def test_context_can_be_taken_back(agent: Agent, thread_store: ThreadStore, provider: StubOpenAI) -> None:
    thread = Thread(id="t", messages=[Message(role="system", content="Style: short"), user("hello")])
    thread.set_context("house-style", "Write British English.")
    await agent.go(thread)

    thread.set_context("house-style", None)
    thread.set_context("Style", None)
    thread.add_message(user("again"))
    await agent.go(thread)

    assert last_sent(provider)[0]["content"] == "To be helpful."
    assert [m.role for m in (await thread_store.get_thread("t")).messages] == ["user", "assistant"] * 2


async def test_slicing_and_saving_deletes_nothing(thread_store: ThreadStore) -> None:
    await talked(thread_store, "long", 80)
    thread = await thread_store.get_thread("long")

    await run("message_limits", {"thread": thread})
    assert len(thread.messages) == 100
    await thread_store.save_thread(thread)

    assert len((await thread_store.get_thread("long")).messages) == 160


async def test_a_slice_through_a_block_of_tools_sends_no_orphans(
    agent: Agent, thread_store: ThreadStore, provider: StubOpenAI
) -> None:
    thread = Thread(id="t", messages=[user("add")])
    thread.add_message(Message(role="assistant", tool_calls=(ToolCall("c1", "add", "{}"), ToolCall("c2", "add", "{}"))))
    thread.add_message(Message(role="tool", tool_call_id="c1", name="add", content="1"))
    thread.add_message(Message(role="tool", tool_call_id="c2", name="add", content="2"))
    thread.add_message(assistant("Done."))
    await thread_store.save_thread(thread)

    for kept in (2, 3):
        copy = await thread_store.get_thread("t")
        copy.messages = copy.messages[-kept:]
        await thread_store.save_thread(copy)
        copy.add_message(user("thanks"))
        await agent.go(copy)
        assert [m["role"] for m in last_sent(provider)][:2] == ["system", "user"]
        assert not any(m["role"] == "tool" for m in last_sent(provider))

    assert len((await thread_store.get_thread("t")).messages) == 9


async def test_a_limit_on_the_window_needs_no_slicing(thread_store: ThreadStore, provider: StubOpenAI) -> None:
    agent = Agent(name="a", model_name="gpt-4", thread_store=thread_store, max_messages=10)
    thread = await talked(thread_store, "long", 80)
    thread.add_message(user("more"))

    await agent.go(thread)

    assert 5 <= len(last_sent(provider)) <= 10
    assert last_sent(provider)[0]["role"] == "user"
    assert len((await thread_store.get_thread("long")).messages) == 162
