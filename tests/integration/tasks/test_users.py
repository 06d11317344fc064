"""One notion of whose a thread is, from the send to the erasure: Python's send, and SQL's."""

import io
import json
import zipfile

import psycopg
import pytest

from agent.agent import Agent
from agent.tools.run_context import RunContext
from agent.tools.thread_pool import ToolThreads
from conversation.ids import new_id
from conversation.task_contract import WakeUp
from producers.producer import Producer
from store.database.engine import Database
from store.settings import Settings
from store.thread_store import ThreadStore
from store.turns import workers
from store.turns.claims import ClaimRequest
from store.turns.turn_store import TurnStore
from tasks.active_runs import ActiveRuns
from tasks.runner import Runner
from tests.integration.scripted import NoFiles, Scripted, call, says


def send(settings: Settings, road: str, user: str, thread_id: str) -> None:
    if road == "sql":
        with psycopg.connect(settings.database_url.get_secret_value()) as connection:
            sql = """SELECT threadmill.send_message(%s, 'hello', agent => 'a', "user" => %s)"""
            connection.execute(sql, [thread_id, user])
        return
    named = {"metadata": {"user": user}} if road == "metadata" else {"user": user}
    producer = Producer(settings)
    producer.send(thread_id, "hello", agent="a", **named)  # type: ignore[arg-type]
    producer.close()


def runner_of(settings: Settings, database: Database, told: list[tuple[str | None, str | None]]) -> Runner:
    """A worker's runner, whose agent calls a tool that tells who asks."""

    def who(run: RunContext) -> str:
        """Tell who asks."""
        told.append((run.user, run.thread_owner))
        return "told"

    def answer(request: object) -> object:
        return says("", call("who", "c1")) if len(model.requests) % 2 else says("done")

    model = Scripted(answer)  # type: ignore[arg-type]
    worker = new_id()
    database.run(workers.register, worker=worker, host="", pid=1, serves={"a": "1"}, lease_duration_seconds=60)
    return Runner(
        settings=settings,
        agents={"a": Agent(name="a", model=model, tools=[who])},
        claim_request=ClaimRequest(worker=worker, agents={"a": "1"}),
        turn_store=TurnStore(database),
        active_runs=ActiveRuns(),
        attachments=NoFiles(),
        tool_threads=ToolThreads(2),
        publish_turn_ended=lambda _: None,
    )


@pytest.mark.parametrize("road", ["python", "metadata", "sql"])
async def test_whom_a_message_names_is_whom_tools_know_and_an_erasure_finds(
    settings: Settings, database: Database, road: str
) -> None:
    told: list[tuple[str | None, str | None]] = []
    runner = runner_of(settings, database, told)
    for user, thread_id in (("u", "us"), ("v", "us"), ("v", "vs")):
        send(settings, road, user, thread_id)
        await runner.run_thread(WakeUp(tenant="default", thread_id=thread_id, turn_id=new_id()))

    assert told == [("u", "u"), ("v", "u"), ("v", "v")]
    copy = io.BytesIO()
    async with await ThreadStore.create(settings=settings) as store:
        assert [thread.id for thread in await store.list_threads(user="u")] == ["us"]
        assert (await store.export_user(copy, user="u")).threads == 1
        certificate = await store.erase(user="u")
        assert [thread.id for thread in await store.list_threads()] == ["vs"]
        assert (await store.erase(user="v"))["outcome"] == "erased"
        assert await store.count() == 0
    await database.close_async()
    assert (certificate["outcome"], certificate["counts"]["threads"]) == ("erased", 1)
    with zipfile.ZipFile(copy) as archive:
        header = json.loads(archive.read("threads/0001.jsonl").splitlines()[0])
    assert header["thread"]["owner"] == "u"
