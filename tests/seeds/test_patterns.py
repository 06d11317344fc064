"""The patterns that we ship are programs, and say what they promise on every database."""

import importlib
from pathlib import Path

import pytest

EXPECTED = {
    "user_threads": ['From message 1: "My favourite tea is Assam."'],
    "topic_threads": ["research-quantum-computing Quantum computing", "research-tea Tea"],
    "sessions": ["new resumed", '"from the left"', '"from the right"', "4 assistant"],
    "summarization": ["this copy shows 9 messages", "stored are 24 messages and 1 summary"],
    "context": ['"cheerful"'],
    "cleanup": ["deleted 5 threads", "left: new"],
    "support_agent": [
        "1 user: Customer cust-789 reports: I cannot log in",
        "3 user: Customer cust-789 reports: It happened again.",
        "ticket-12345 cust-789",
    ],
}


@pytest.mark.parametrize("name", EXPECTED)
async def test_a_pattern_does_what_its_page_says(
    name: str, store_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("THREADMILL_DATABASE_URL", store_url)

    await importlib.import_module(f"examples.patterns.{name}").main()

    printed = capsys.readouterr().out
    assert [line for line in EXPECTED[name] if line not in printed] == []


def test_every_pattern_is_tried() -> None:
    folder = Path(__file__).parents[2] / "examples" / "patterns"

    assert {path.stem for path in folder.glob("[!_]*.py")} == set(EXPECTED)
