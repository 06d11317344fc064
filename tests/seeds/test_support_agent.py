"""The documents' customer support agent, end to end."""

from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.seeds.snippet import run
from tests.stub_openai import StubOpenAI, reply
from threadmill import WEB_TOOLS

#: Each stands in docs/reference/seed-snippets.md.
REPAIRS = {
    "return messages[-1].content if messages else": (
        "return result.new_messages[-1].content if result.new_messages else"
    ),
    "# Usage\n    agent = SupportAgent()": "# Usage\nasync def main():\n    agent = SupportAgent()",
    "    response = await agent.handle_ticket(\n    ticket_id": (
        "    return agent, await agent.handle_ticket(\n    ticket_id"
    ),
    'issue="Cannot login to my account"\n)': 'issue="Cannot login to my account"\n    )',
}
URL = '"postgresql+asyncpg://narrator:narrator_dev@localhost:5432/narrator"'


@pytest.fixture
async def support(store_url: str, provider: StubOpenAI) -> SimpleNamespace:
    return await run("support_agent", repairs=REPAIRS | {URL: repr(store_url)})


async def test_a_ticket_is_answered_and_its_history_kept(
    support: SimpleNamespace, provider: StubOpenAI, folder: Path
) -> None:
    agent, answer = await support.main()

    assert answer == "All right."
    history = await agent.get_ticket_history("12345")
    assert [(m.role, m.content) for m in history] == [
        ("user", "Customer cust-789 reports: Cannot login to my account"),
        ("assistant", "All right."),
    ]
    thread = await agent.thread_store.get_thread("ticket-12345")
    assert thread.metadata["customer_id"] == "cust-789"
    assert datetime.fromisoformat(thread.metadata["created_at"])
    await agent.thread_store.close()


async def test_the_model_is_offered_the_web_tools(support: SimpleNamespace, provider: StubOpenAI) -> None:
    agent, _ = await support.main()

    offered = {tool["function"]["name"] for tool in provider.requests[0].body["tools"]}
    assert WEB_TOOLS
    assert offered == {tool.name for tool in agent.agent.toolbox}
    assert len(offered) == len(WEB_TOOLS)
    await agent.thread_store.close()


async def test_a_ticket_that_is_opened_again_goes_on(support: SimpleNamespace, provider: StubOpenAI) -> None:
    def answer(request: Any) -> Any:
        return reply(f"{len(request.body['messages'])} messages so far.")

    provider.answer_with(answer)
    agent, _ = await support.main()

    await agent.handle_ticket("12345", "cust-789", "It broke again")

    history = await agent.get_ticket_history("12345")
    assert [m.content for m in history] == [
        "Customer cust-789 reports: Cannot login to my account",
        "2 messages so far.",
        "Customer cust-789 reports: It broke again",
        "4 messages so far.",
    ]
    await agent.thread_store.close()
