"""Tracebacks: what is wrong, then the project's own lines, the innermost first, and none of ours."""

import traceback
from pathlib import Path

import pytest

from conversation.foreign_exceptions import trace_of
from threadmill.dev.traces import describe_failure, describe_trace

SHOP = """\
PRICES = {}


def price_of(title):
    return look_up(title)


def look_up(title):
    return PRICES[title]
"""
OWN_LINES = [
    "  shop.py:9 in look_up",
    "      return PRICES[title]",
    "  shop.py:5 in price_of",
    "      return look_up(title)",
]


@pytest.fixture
def error(tmp_path: Path) -> KeyError:
    """An error that came out of the project's code, by way of ours."""
    path = tmp_path / "shop.py"
    path.write_text(SHOP)
    names: dict[str, object] = {}
    exec(compile(SHOP, str(path), "exec"), names)
    try:
        names["price_of"]("Emma")  # type: ignore[operator]
    except KeyError as raised:
        return raised
    raise AssertionError


def test_a_tools_error(error: KeyError, tmp_path: Path) -> None:
    assert list(describe_trace("price_of raised KeyError", trace_of(error), tmp_path)) == [
        "price_of raised KeyError",
        *OWN_LINES,
    ]


def test_an_agents_error(error: KeyError, tmp_path: Path) -> None:
    frames = traceback.format_tb(error.__traceback__)

    assert list(describe_trace("shop broke", frames, tmp_path)) == ["shop broke", *OWN_LINES]


def test_an_error_without_a_line_of_the_project_says_so(tmp_path: Path) -> None:
    lines = list(describe_trace("x", ["/elsewhere/a.py:1 f", f"{tmp_path}/.venv/lib/b.py:2 g"], tmp_path))

    assert lines == ["x", "  (no line of this project: the log has the others)"]


def test_a_worker_that_cannot_start(error: KeyError, tmp_path: Path) -> None:
    log = "noise\nthe worker cannot start:\n" + "".join(traceback.format_exception(error))

    lines = list(describe_failure(log, tmp_path))

    assert lines[0] == "KeyError: 'Emma'"
    assert [line for line in lines if "^^" not in line][1:] == OWN_LINES


def test_a_syntax_error(tmp_path: Path) -> None:
    path = tmp_path / "shop" / "agent.py"
    try:
        compile("agent = Agent(\n", str(path), "exec")
    except SyntaxError:
        log = f"the worker cannot start:\n{traceback.format_exc()}"

    lines = list(describe_failure(log, tmp_path))

    assert lines[0] == "SyntaxError: '(' was never closed"
    assert lines[1:3] == ["  shop/agent.py:1", "      agent = Agent("]


def test_a_setting_that_is_wrong(tmp_path: Path) -> None:
    log = "noise\nthe worker cannot start: THREADMILL_AGENT_MODULES: shop: No module named 'shop'\n"

    assert list(describe_failure(log, tmp_path)) == ["THREADMILL_AGENT_MODULES: shop: No module named 'shop'"]
