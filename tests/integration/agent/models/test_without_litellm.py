"""A process whose models are asked straight never imports litellm; one that needs it does, before it is asked."""

import os
import subprocess
import sys

import pytest

from tests.stub_openai import StubOpenAI, reply

GOOD = '{"facts": ["They talked."], "ok": true}'
STORY = """
import asyncio, sys
from agent.model_factory import preload
from agent.models.token_counter import TokenCounter
from threadmill import Agent, Message, Thread, ThreadStore

def look(at: int) -> int:
    return at

options = dict(name="a", model_name="openai/our-own", tools=[look], fallbacks=["anthropic/claude-sonnet-4-5"],
               max_window_tokens=2_000, summarize_after_messages=2, summarize_keep_messages=1)
agent = Agent(**options)
preload(agent.model_name, fallbacks=agent.fallbacks, parameters=agent.request_parameters(), has_tools=True)

async def talk():
    async with await ThreadStore.create("sqlite+aiosqlite:///:memory:") as store:
        agent, thread = Agent(thread_store=store, **options), Thread(id="t")
        for text in ("Hello?", "Again?", "And now?"):
            thread.add_message(Message(role="user", content=text))
            result = await agent.go(thread)
            thread = result.thread
        print("answer", result.content)

asyncio.run(talk())
print("tokens", TokenCounter("openai/our-own").count(Message(role="user", content="a b c")))
print("litellm", "litellm" in sys.modules)
"""


def run(code: str, environment: dict[str, str]) -> dict[str, str]:
    keys = {"OPENAI_API_KEY": "sk-stub", "ANTHROPIC_API_KEY": "sk-stub"}
    process = subprocess.run(
        [sys.executable, "-W", "error::ResourceWarning", "-c", code],
        env={**os.environ, **keys, **environment},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    assert "Unclosed" not in process.stderr
    return dict(line.split(" ", 1) for line in process.stdout.splitlines())


def test_a_turn_tokens_and_a_summary_come_without_litellm() -> None:
    with StubOpenAI() as provider:
        provider.answer_with(lambda _: reply(GOOD))
        said = run(STORY, provider.environment())

    assert (said["answer"], said["litellm"]) == (GOOD, "False")
    assert int(said["tokens"]) == 4 + 3


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("litellm/openai/gpt-4o", ""),
        ("gemini/gemini-2.5-flash", ""),
        ("openai/gpt-4o", "parameters={'drop_params': True}, "),
        ("openai/gpt-4o", "fallbacks=['litellm/openai/gpt-4o'], "),
        ("openai/gpt-5-codex", ""),
    ],
)
def test_a_model_that_needs_litellm_says_so_when_it_is_loaded(name: str, options: str) -> None:
    code = (
        "from agent.models import choose_road; from agent.model_factory import preload; seen = []; "
        f"choose_road.load = lambda: seen.append(1); preload({name!r}, {options}has_tools=False); print('loads', seen)"
    )

    assert run(code, {})["loads"] == "[1]"
