"""Faults of the software that the documents describe: none of them may come back."""

import asyncio
import json
from typing import Any

import pytest
from sqlalchemy import inspect

from conversation.ids import is_our_id
from tests.stub_openai import StubOpenAI, finish, hang, reply, status, stream, tool_delta
from threadmill import (
    Agent,
    Attachment,
    FileRejected,
    FileStore,
    Message,
    RunContext,
    Thread,
    ThreadStore,
    ToolCall,
    TurnFailed,
    tool,
)


def user(text: str) -> Message:
    return Message(role="user", content=text)


async def test_no_writer_loses_an_update(thread_store: ThreadStore) -> None:
    await thread_store.save_thread(Thread(id="t"))
    one, two = await thread_store.get_thread("t"), await thread_store.get_thread("t")
    one.add_message(user("from one"))
    two.add_message(user("from two"))
    one.metadata["one"] = two.metadata["two"] = True

    await asyncio.gather(thread_store.save_thread(one), thread_store.save_thread(two))

    stored = await thread_store.get_thread("t")
    assert {m.content for m in stored.messages} == {"from one", "from two"}
    assert stored.metadata["one"] is stored.metadata["two"] is True


async def test_no_tool_sees_the_context_of_another_call(thread_store: ThreadStore, provider: StubOpenAI) -> None:
    @tool
    async def who(context: RunContext) -> dict[str, Any]:
        """Say for whom this is."""
        await asyncio.sleep(0.01)
        return {"thread": context.thread_id, "user": context.user, "secret": context.metadata["secret"]}

    def answer(request: Any) -> Any:
        last = request.body["messages"][-1]
        if last["role"] == "user":
            return reply(tool_calls=[ToolCall("call_1", "who", "{}")])
        return reply(last["content"])

    provider.answer_with(answer)
    agent = Agent(name="one", model_name="gpt-4", tools=[who], thread_store=thread_store)

    async def ask(number: int) -> Any:
        thread = Thread(id=f"t-{number}", metadata={"user": f"user-{number}", "secret": number})
        thread.add_message(user("Who am I?"))
        return json.loads((await agent.go(thread)).content)

    answers = await asyncio.gather(*(ask(number) for number in range(12)))

    assert answers == [{"thread": f"t-{number}", "user": f"user-{number}", "secret": number} for number in range(12)]


async def test_the_question_of_a_call_that_was_cancelled_is_kept_and_can_be_asked_again(
    agent: Agent, thread_store: ThreadStore, provider: StubOpenAI
) -> None:
    provider.enqueue(hang())
    thread = Thread(id="t", messages=[user("Hello?")])
    call = asyncio.create_task(agent.go(thread))
    await asyncio.to_thread(provider.wait_for_requests, 1)

    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call

    assert [m.content for m in (await thread_store.get_thread("t")).messages] == ["Hello?"]
    result = await agent.go(thread)
    assert result.content == "All right."
    assert [m.content for m in (await thread_store.get_thread("t")).messages] == ["Hello?", "All right."]


async def test_an_error_is_never_said_by_the_assistant(
    agent: Agent, thread_store: ThreadStore, provider: StubOpenAI
) -> None:
    provider.enqueue(status(401, message="the key is wrong"))
    thread = Thread(id="t", messages=[user("Hello?")])

    with pytest.raises(TurnFailed) as failed:
        await agent.go(thread)

    assert failed.value.kind == "model_error"
    assert [m.content for m in (await thread_store.get_thread("t")).messages] == ["Hello?"]
    thread.add_message(user("Still there?"))
    await agent.go(thread)
    assert [m["content"] for m in provider.requests[-1].body["messages"]][1:] == ["Hello?", "Still there?"]


async def test_every_parameter_reaches_the_provider(provider: StubOpenAI) -> None:
    agent = Agent(
        name="a", model_name="gpt-4", temperature=0.25, max_tokens=77, top_p=0.5, stop=["END"],
        parameters={"seed": 7, "presence_penalty": 0.125},
    )  # fmt: skip

    await agent.go(Thread(messages=[user("hi")]))

    sent = provider.requests[0].body
    wanted = {"temperature": 0.25, "max_tokens": 77, "top_p": 0.5, "seed": 7, "presence_penalty": 0.125}
    assert {key: sent[key] for key in wanted} == wanted
    assert sent["stop"] in ("END", ["END"])


async def test_tool_calls_that_stream_side_by_side_are_put_together_rightly(
    thread_store: ThreadStore, provider: StubOpenAI
) -> None:
    def add(a: int, b: int) -> int:
        """Add."""
        return a + b

    provider.enqueue(
        stream(
            tool_delta(0, call_id="c1", name="add", arguments=""),
            tool_delta(1, call_id="c2", name="add", arguments=""),
            tool_delta(0, arguments='{"a": 1,'),
            tool_delta(1, arguments='{"a": 10,'),
            tool_delta(0, arguments=' "b": 2}'),
            tool_delta(1, arguments=' "b": 20}'),
            finish("tool_calls"),
        )
    )
    agent = Agent(name="a", model_name="gpt-4", tools=[add], thread_store=thread_store)
    thread = Thread(id="t", messages=[user("add")])

    async for _ in agent.stream(thread):
        pass

    assistant, first, second = (await thread_store.get_thread("t")).messages[1:4]
    assert [call.arguments for call in assistant.tool_calls] == ['{"a": 1, "b": 2}', '{"a": 10, "b": 20}']
    assert [(m.tool_call_id, m.content) for m in (first, second)] == [("c1", "3"), ("c2", "30")]


async def test_results_of_tools_are_json(thread_store: ThreadStore, provider: StubOpenAI) -> None:
    def look(what: str) -> dict[str, Any]:
        """Look."""
        return {"what": what, "found": True, "missing": None}

    provider.enqueue(reply(tool_calls=[ToolCall("c1", "look", '{"what": "it\'s"}')]))
    agent = Agent(name="a", model_name="gpt-4", tools=[look], thread_store=thread_store)

    result = await agent.go(Thread(id="t", messages=[user("look")]))

    assert json.loads(result.new_messages[1].content) == {"what": "it's", "found": True, "missing": None}


async def test_ids_of_messages_differ_between_threads(thread_store: ThreadStore) -> None:
    batch = [Thread(messages=[user("same words")]) for _ in range(100)]
    await thread_store.save_threads(batch)

    ids = {thread.messages[0].id for thread in batch}

    assert len(ids) == 100
    assert all(is_our_id(id_) for id_ in ids)


async def test_a_file_store_believes_bytes_not_labels_and_leaves_its_folder_to_nobody() -> None:
    files = await FileStore.create(base_path="./uploads")

    with pytest.raises(FileRejected):
        await files.save(b"#!/bin/sh\nrm -rf /", "photo.png", mime_type="image/png")
    with pytest.raises(ValueError, match="file name"):
        await files.save(b"hello", "../secret.txt")
    with pytest.raises((ValueError, LookupError)):
        await files.get("../secret")
    with pytest.raises(ValueError, match="file name"):
        Attachment(filename="..", content=b"x")


@pytest.mark.filterwarnings("ignore:Skipped unsupported reflection of expression-based index")
async def test_every_foreign_key_has_an_index(thread_store: ThreadStore) -> None:
    def unindexed(connection: Any) -> list[str]:
        looker = inspect(connection)
        missing = []
        for table in looker.get_table_names():
            indexed = [tuple(looker.get_pk_constraint(table)["constrained_columns"])]
            indexed += [tuple(index["column_names"]) for index in looker.get_indexes(table)]
            indexed += [tuple(u["column_names"]) for u in looker.get_unique_constraints(table)]
            for key in looker.get_foreign_keys(table):
                columns = tuple(key["constrained_columns"])
                # Its tenant alone would not be enough: few rows are a thread's, many a tenant's.
                selective = set(columns) - {"tenant"}
                if not any(index[:2] == columns or selective & {*index[:1]} for index in indexed):
                    missing.append(f"{table}{columns}")
        return missing

    assert await thread_store.database.run_async(unindexed) == []


async def test_a_stored_database_opens_again(store_url: str) -> None:
    async with await ThreadStore.create(store_url) as store:
        await store.append("t", user("hello"))

    async with await ThreadStore.create(store_url) as store:
        await store.append("t")
        kept = [m.content for m in (await store.get_thread("t")).messages]
        assert kept == ([] if store.is_in_memory else ["hello"])
