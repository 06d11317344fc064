"""A turn with the tools of MCP servers: what the model is offered, what is called, what comes back."""

import asyncio
import base64
import gc
import json
import logging
from dataclasses import replace
from typing import Any

import pytest
from structlog.testing import capture_logs

from agent.agent import Agent
from agent.mcp import connection as connections
from agent.mcp import mcp, transport
from conversation.errors import Fault
from conversation.message import ToolCall
from conversation.turn import Failed, RetryLater, Waiting
from tests.integration.agent.mcp.conftest import CreateRun, program
from tests.integration.agent.test_loop_waiting import decide
from tests.integration.scripted import Memory, Scripted, call, completed, results, says
from tests.stub_mcp import StubMcp, text

pytestmark = pytest.mark.soak

ADD = {
    "type": "object",
    "properties": {"a": {"type": "integer"}, "file-path": {"type": "string", "x-unheard": 1}},
    "required": ["a"],
    "additionalProperties": False,
}


def offered(model: Scripted, index: int = 0) -> list[str]:
    return [tool["function"]["name"] for tool in model.requests[index].tools]


async def test_a_tool_is_offered_as_it_is_declared_and_called_with_what_the_model_says(
    stub: StubMcp, create_run: CreateRun
) -> None:
    stub.declare("add", ADD, lambda arguments: text(json.dumps(arguments)))
    model = Scripted(says("", call("stub_add", "c1", a=1, **{"file-path": "x"})), says("done"))
    agent = Agent(name="a", tools=[mcp(stub.url, name="stub", headers={"Authorization": "Bearer S3CRET"})])

    ending = await completed(create_run(agent, model))

    (declaration,) = model.requests[0].tools
    assert declaration["function"] == {"name": "stub_add", "description": "Does add.", "parameters": ADD}
    assert json.loads(json.loads(results(ending)["c1"])) == {"a": 1, "file-path": "x"}
    (received,) = stub.called()
    assert (received.params["name"], received.headers["authorization"]) == ("add", "Bearer S3CRET")


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ('{"a": "one"}', "a: 'one' is not of type 'integer'"),
        ("{}", "'a' is a required property"),
        ('{"a": 1, "b": 2}', "'b' was unexpected"),
        ('{"a": NaN}', "NaN is no JSON number"),
        ("[1]", "one JSON object"),
        ('{"a"', "not valid JSON"),
    ],
)
async def test_arguments_that_the_schema_refuses_never_reach_the_server(
    stub: StubMcp, create_run: CreateRun, arguments: str, problem: str
) -> None:
    stub.declare("add", ADD)
    bad_call = ToolCall("c1", "stub_add", arguments)
    model = Scripted(says("", bad_call), says("done"))

    ending = await completed(create_run(Agent(name="a", tools=[mcp(stub.url, name="stub")]), model))

    assert problem in json.loads(results(ending)["c1"])["error"]["message"]
    assert stub.called() == []


async def test_a_call_that_needs_approval_reaches_the_server_once_and_after_it_was_approved(
    stub: StubMcp, create_run: CreateRun
) -> None:
    stub.declare("pay", ADD)
    stub.declare("look")
    agent = Agent(
        name="a", tools=[mcp(stub.url, name="stub", needs_approval={"pay": lambda call: call.arguments["a"] > 9})]
    )
    calls = [call("stub_pay", "c1", a=10), call("stub_pay", "c2", a=9), call("stub_look", "c3")]
    model, journal = Scripted(says("", *calls), says("done")), Memory()

    waiting = await create_run(agent, model, journal).run()

    assert isinstance(waiting, Waiting)
    (request,) = waiting.pending
    assert (request.call_id, request.name, json.loads(request.arguments)) == ("c1", "stub_pay", {"a": 10})
    assert sorted(received.params["name"] for received in stub.called()) == ["look", "pay"]
    await journal.record(waiting.steps)
    ending = await completed(create_run(agent, model, journal, pending=(decide(request),)))
    assert results(ending)["c1"] == '"done"'
    assert [received.params["arguments"] for received in stub.called() if received.params["name"] == "pay"] == [
        {"a": 9},
        {"a": 10},
    ]


@pytest.mark.parametrize("nothing", ["", "null", "[]", '""', "None", "{}", " "])
async def test_every_spelling_of_nothing_is_no_arguments(stub: StubMcp, create_run: CreateRun, nothing: str) -> None:
    stub.declare("ping")
    model = Scripted(says("", ToolCall("c1", "stub_ping", nothing)), says("done"))

    ending = await completed(create_run(Agent(name="a", tools=[mcp(stub.url, name="stub")]), model))

    assert results(ending) == {"c1": '"done"'}


PICTURE = base64.b64encode(b"\x89PNG picture").decode()


@pytest.mark.parametrize(
    ("result", "value"),
    [
        (text("one"), "one"),
        (text("one", "two"), ["one", "two"]),
        ({"content": []}, []),
        (text('{"n": 1}', structuredContent={"n": 1}), {"n": 1}),
        (
            {"content": [{"type": "resource", "resource": {"uri": "file:///a.txt", "text": "hello"}}]},
            {"uri": "file:///a.txt", "text": "hello"},
        ),
        (
            {"content": [{"type": "resource_link", "uri": "https://a.example/x", "name": "x"}]},
            {"resource": {"uri": "https://a.example/x", "name": "x"}},
        ),
    ],
)
async def test_a_result_reads_as_a_tools_own(stub: StubMcp, create_run: CreateRun, result: Any, value: Any) -> None:
    stub.declare("tell", answer=lambda _: result)
    model = Scripted(says("", call("stub_tell", "c1")), says("done"))

    ending = await completed(create_run(Agent(name="a", tools=[mcp(stub.url, name="stub")]), model))

    assert json.loads(results(ending)["c1"]) == value


@pytest.mark.parametrize(
    ("block", "filename"),
    [
        ({"type": "image", "data": PICTURE, "mimeType": "image/png"}, "stub_draw-1.png"),
        ({"type": "audio", "data": PICTURE, "mimeType": "audio/mpeg"}, "stub_draw-1.mp3"),
        ({"type": "resource", "resource": {"uri": "file:///d/plan%20b.pdf", "blob": PICTURE}}, "plan b.pdf"),
        ({"type": "resource", "resource": {"uri": "x://..", "blob": PICTURE}}, "stub_draw-1"),
    ],
)
async def test_pictures_sound_and_blobs_are_files_of_the_conversation(
    stub: StubMcp, create_run: CreateRun, monkeypatch: pytest.MonkeyPatch, block: Any, filename: str
) -> None:
    stored = []

    async def store_all(_self: object, _tenant: str, files: list[Any]) -> list[Any]:
        stored.extend(files)
        return files

    monkeypatch.setattr("tests.integration.scripted.NoFiles.store_all", store_all, raising=False)
    stub.declare("draw", answer=lambda _: {"content": [block, {"type": "text", "text": "Here."}]})
    model = Scripted(says("", call("stub_draw", "c1")), says("done"))

    ending = await completed(create_run(Agent(name="a", tools=[mcp(stub.url, name="stub")]), model))

    assert [(file.filename.removesuffix(".bin"), file.content) for file in stored] == [(filename, b"\x89PNG picture")]
    described, said = json.loads(results(ending)["c1"])
    assert (described["size_bytes"], said) == (12, "Here.")


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (text("no such city", isError=True), "no such city"),
        (text("no", "such", isError=True), "no\nsuch"),
        ({"content": [], "structuredContent": {"why": "none"}, "isError": True}, '{"why": "none"}'),
        ({"content": [], "isError": True}, "no reason was given"),
    ],
)
async def test_what_a_server_says_is_wrong_is_the_calls_failure(
    stub: StubMcp, create_run: CreateRun, result: Any, message: str
) -> None:
    stub.declare("fail", answer=lambda _: result)
    model = Scripted(says("", call("stub_fail", "c1")), says("done"))

    ending = await completed(create_run(Agent(name="a", tools=[mcp(stub.url, name="stub")]), model))

    assert json.loads(results(ending)["c1"])["error"] == {"type": "McpToolError", "message": message}


async def test_a_changed_list_is_seen_before_the_next_model_call(stub: StubMcp, create_run: CreateRun) -> None:
    stub.declare("grow")

    def change(_: dict[str, Any]) -> dict[str, Any]:
        stub.declare("new")
        stub.change_list()
        return text("changed")

    stub.answers["grow"] = change
    model = Scripted(says("", call("stub_grow", "c1")), says("", call("wait", "c2")), says("done"))

    async def wait() -> None:
        """Wait until the change has been told."""
        await asyncio.sleep(0.5)

    agent = Agent(name="a", tools=[mcp(stub.url, name="stub"), wait])
    for _ in range(100):
        if stub.listeners:
            break
        await completed(create_run(agent, Scripted(says("hi"))))
        await asyncio.sleep(0.02)
    await completed(create_run(agent, model))

    assert offered(model, 0) == ["wait", "stub_grow"]
    assert offered(model, 2) == ["wait", "stub_grow", "stub_new"]
    # Once for the first turn, and once for the change: not for each model call.
    assert len(stub.called("tools/list")) == 2


async def test_a_changed_list_is_seen_in_the_newest_protocol_too(create_run: CreateRun) -> None:
    async def wait() -> None:
        """Wait until the change has been told."""
        await asyncio.sleep(0.5)

    model = Scripted(says("", call("program_grow", "c1")), says("", call("wait", "c2")), says("done"))

    await completed(create_run(Agent(name="a", tools=[program(tools=["grow", "grown"]), wait]), model))

    assert offered(model, 2) == ["wait", "program_grow", "program_grown"]


async def test_only_the_wanted_tools_are_offered_under_names_that_providers_take(
    stub: StubMcp, create_run: CreateRun
) -> None:
    for name in ("wanted", "files/read.v2", "files_read_v2", "x" * 80, "x" * 81, "unwanted"):
        stub.declare(name)
    tools = [mcp(stub.url, name="stub", tools=[name for name in stub.tools if name != "unwanted"])]
    model = Scripted(says("done"))

    await completed(create_run(Agent(name="a", tools=tools), model))

    names = offered(model)
    assert names[0] == "stub_wanted"
    assert len(names) == len(set(names)) == 5
    assert all(len(name) <= 64 and name.startswith("stub_") and name.isascii() for name in names)
    # The same list gives the same names: a journal of yesterday is found again.
    again = Scripted(says("done"))
    await completed(create_run(Agent(name="b", tools=tools), again))
    assert offered(again) == names


async def test_a_name_of_the_agents_own_stays_its_own(stub: StubMcp, create_run: CreateRun) -> None:
    stub.declare("add")

    def stub_add() -> str:
        """Its own."""
        return "own"

    model = Scripted(says("", call("stub_add", "c1")), says("done"))

    ending = await completed(create_run(Agent(name="a", tools=[stub_add, mcp(stub.url, name="stub")]), model))

    assert (results(ending), stub.called()) == ({"c1": '"own"'}, [])


async def test_a_server_that_is_away_costs_the_turn_its_tools_and_no_more(
    stub: StubMcp, create_run: CreateRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "RETRY_SECONDS", 0.0)
    stub.declare("add")
    stub.status = 503
    agent = Agent(name="a", tools=[mcp(f"{stub.url}?key=S3CRET", name="stub"), mcp(command=["no-such"], name="other")])
    model = Scripted(says("done"))

    with capture_logs() as logs:
        await completed(create_run(agent, model))

    assert model.requests[0].tools == ()
    assert "The tools of stub, other cannot be used at the moment" in model.requests[0].messages[0]["content"]
    problems = {log["server"]: log["problem"] for log in logs if log["event"] == "mcp_server_away"}
    assert problems == {"stub": "answered with HTTP status 503", "other": "could not be started (FileNotFoundError)"}
    assert "S3CRET" not in str(logs)
    # And once it is back, they are.
    stub.status = 200
    model = Scripted(says("done"))
    await completed(create_run(agent, model))
    assert offered(model) == ["stub_add"]


async def test_a_turn_waits_for_a_server_that_it_cannot_do_without(stub: StubMcp, create_run: CreateRun) -> None:
    stub.status = 503
    model = Scripted(says("done"))
    agent = Agent(name="a", tools=[mcp(stub.url, name="stub", required=True)], max_turn_attempts=2)

    ending = await create_run(agent, model).run()

    assert isinstance(ending, RetryLater)
    assert (ending.error.kind, ending.error.fault) == ("tool_server_unavailable", Fault.OPERATOR)
    assert model.requests == []

    agent = Agent(name="a", tools=[mcp(stub.url, name="stub", required=True)], max_turn_attempts=1)
    assert isinstance(await create_run(agent, model).run(), Failed)


async def test_a_server_that_went_away_is_asked_again_later_and_its_calls_fail_meanwhile(
    stub: StubMcp, create_run: CreateRun
) -> None:
    stub.declare("add")
    agent = Agent(name="a", tools=[mcp(stub.url, name="stub")])
    await completed(create_run(agent, Scripted(says("done"))))

    stub.status = 503
    model = Scripted(says("", call("stub_add", "c1")), says("done"))
    ending = await completed(create_run(agent, model))

    # What was offered before still is, so that the request is the one that it was.
    assert offered(model) == ["stub_add"]
    assert "error" in json.loads(results(ending)["c1"])


async def test_a_server_that_was_started_again_is_called_in_a_new_session(stub: StubMcp, create_run: CreateRun) -> None:
    stub.declare("add")
    agent = Agent(name="a", tools=[mcp(stub.url, name="stub")])
    await completed(create_run(agent, Scripted(says("done"))))
    stub.forget_sessions()

    ending = await completed(create_run(agent, Scripted(says("", call("stub_add", "c1")), says("done"))))

    # The first call was refused by a server that did not know the session: it was not begun.
    assert results(ending) == {"c1": '"done"'}
    assert len(stub.called("initialize")) == 2


async def test_a_call_that_takes_too_long_is_cut_off_and_its_neighbours_are_not(
    stub: StubMcp, create_run: CreateRun
) -> None:
    stub.declare("hang", answer=lambda _: (stub.closing.wait(20), text("late"))[1])
    stub.declare("add")
    model = Scripted(says("", call("stub_hang", "c1"), call("stub_add", "c2")), says("done"))
    server = mcp(stub.url, name="stub", timeout_seconds=1)

    ending = await completed(create_run(Agent(name="a", tools=[server]), model))

    assert json.loads(results(ending)["c1"])["error"]["type"] == "Timeout"
    assert results(ending)["c2"] == '"done"'


async def test_a_program_that_dies_in_mid_call_is_started_again_and_the_call_is_not_repeated(
    create_run: CreateRun,
) -> None:
    agent = Agent(name="a", tools=[program()])
    first = await completed(create_run(agent, Scripted(says("", call("program_process", "c1")), says("done"))))
    model = Scripted(says("", call("program_die", "c1")), says("", call("program_process", "c2")), says("done"))

    ending = await completed(create_run(agent, model))

    error = json.loads(results(ending)["c1"])["error"]
    assert (error["type"], "may or may not have taken effect" in error["message"]) == ("McpConnectionLost", True)
    assert json.loads(results(ending)["c2"]) != json.loads(results(first)["c1"])


async def test_a_program_has_the_variables_that_it_was_given_and_no_key_of_the_worker(
    create_run: CreateRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-environment")
    model = Scripted(
        says("", call("program_variables", "c1"), ToolCall("c2", "program_variable", '{"name": "TOKEN"}')), says("x")
    )

    ending = await completed(create_run(Agent(name="a", tools=[program(env={"TOKEN": "mine"})]), model))

    assert "OPENAI_API_KEY" not in results(ending)["c1"]
    assert "mine" in results(ending)["c2"]


@pytest.mark.parametrize(
    ("annotations", "named", "is_run_again"),
    [
        ({}, (), False),
        ({"readOnlyHint": True}, (), True),
        ({"idempotentHint": True}, (), True),
        ({"idempotentHint": True}, False, False),
        ({}, ["work"], True),
        ({}, True, True),
        ({}, ["other"], False),
    ],
)
async def test_a_call_that_was_interrupted_runs_again_only_where_somebody_says_that_it_may(
    stub: StubMcp, create_run: CreateRun, annotations: Any, named: Any, *, is_run_again: bool
) -> None:
    stub.declare("work", annotations=annotations)
    agent = Agent(name="a", tools=[mcp(stub.url, name="stub", idempotent=named)])
    journal = Memory()
    model = Scripted(says("", call("stub_work", "c1")), says("done"))
    await completed(create_run(agent, model, journal))
    # As it is where the worker died in the call: its intent is written, its result is not.
    journal.steps = {0: journal.steps[0], 1: replace(journal.steps[1], state="started", result=None)}

    ending = await completed(create_run(agent, model, journal))

    assert len(stub.called()) == 1 + is_run_again
    assert ("Unknown" in results(ending)["c1"]) is not is_run_again


async def test_no_secret_and_no_word_of_a_conversation_is_logged(
    stub: StubMcp, create_run: CreateRun, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    stub.declare("add", answer=lambda _: text("S3CRET result"))
    server = mcp(f"{stub.url}?key=S3CRET", name="stub", headers={"X-Key": "S3CRET"})
    agent = Agent(name="a", tools=[server, program(env={"KEY": "S3CRET"})])
    model = Scripted(says("", call("stub_add", "c1", word="S3CRET"), call("program_die", "c2")), says("done"))

    with capture_logs() as logs:
        await completed(create_run(agent, model))

    told = f"{logs} {caplog.text} {capfd.readouterr()} {agent!r} {server!r}"
    assert "S3CRET" not in told
    assert "said beside the protocol" not in told


def test_an_agents_version_knows_its_servers_by_name_alone() -> None:
    def version(**options: Any) -> str:
        return Agent(name="a", tools=[mcp("https://a.example/mcp", **options)]).version

    assert version(headers={"X": "old"}) == version(headers={"X": "new"})
    assert version(name="one") != version(name="two")


async def test_sessions_outlive_the_loop_that_first_asked(stub: StubMcp, create_run: CreateRun) -> None:
    stub.declare("add")
    agent = Agent(name="a", tools=[mcp(stub.url, name="stub")])

    def ask() -> None:
        model = Scripted(says("", call("stub_add", "c1")), says("done"))
        asyncio.run(completed(create_run(agent, model)))

    for _ in range(2):
        await asyncio.to_thread(ask)

    assert (len(stub.called()), len(stub.called("initialize"))) == (2, 1)


async def test_an_idle_session_is_closed_and_opened_again(
    stub: StubMcp, create_run: CreateRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "IDLE_SECONDS", 0.05)
    monkeypatch.setattr(connections, "LOOK_SECONDS", 0.01)
    stub.declare("add")
    agent = Agent(name="a", tools=[mcp(stub.url, name="stub")])
    await completed(create_run(agent, Scripted(says("done"))))
    for _ in range(500):
        if any(received.http_method == "DELETE" for received in stub.requests):
            break
        await asyncio.sleep(0.01)

    ending = await completed(create_run(agent, Scripted(says("", call("stub_add", "c1")), says("done"))))

    assert results(ending) == {"c1": '"done"'}
    assert any(received.http_method == "DELETE" for received in stub.requests)


@pytest.mark.parametrize("tools", [7, [{"name": 1}], [{"name": "a"}]])
async def test_a_list_that_cannot_be_read_is_a_server_that_is_away(
    stub: StubMcp, create_run: CreateRun, tools: Any
) -> None:
    stub.listed = tools
    model = Scripted(says("done"))

    await completed(create_run(Agent(name="a", tools=[mcp(stub.url, name="stub")]), model))

    assert "The tools of stub cannot be used" in model.requests[0].messages[0]["content"]


async def test_an_answer_without_end_is_that_calls_failure(
    stub: StubMcp, create_run: CreateRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "ANSWER_MAX_BYTES", 100_000)
    stub.declare("huge", answer=lambda _: text("x" * 200_000))
    stub.declare("add")
    model = Scripted(says("", call("stub_huge", "c1")), says("", call("stub_add", "c2")), says("done"))

    ending = await completed(create_run(Agent(name="a", tools=[mcp(stub.url, name="stub")]), model))

    assert json.loads(results(ending)["c1"])["error"]["type"] == "McpConnectionLost"
    assert results(ending)["c2"] == '"done"'


async def test_the_session_of_an_agent_that_is_gone_is_closed(stub: StubMcp, create_run: CreateRun) -> None:
    await completed(create_run(Agent(name="a", tools=[mcp(stub.url, name="stub")]), Scripted(says("done"))))

    for _ in range(500):
        gc.collect()
        if any(received.http_method == "DELETE" for received in stub.requests):
            break
        await asyncio.sleep(0.01)

    assert any(received.http_method == "DELETE" for received in stub.requests)
