"""What `from threadmill import …` offers: exactly what type checkers are told, and none of it at once."""

import ast
import importlib
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import threadmill

STUB = Path(threadmill.__file__).with_suffix(".pyi")
#: Libraries that a backend which only sends does not pay for.
SLOW = ("litellm", "boto3", "celery", "sqlalchemy", "pydantic", "httpx", "trafilatura", "pypdf", "typer")


def exported() -> dict[str, str]:
    """The names that the stub exports (`from x import y as y`), and where each comes from."""
    return {
        alias.asname: f"{node.module}"
        for node in ast.walk(ast.parse(STUB.read_text("utf-8")))
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.asname == alias.name
    }


def test_there_is_one_version() -> None:
    root = STUB.parents[1]
    project = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]

    assert project["version"] == threadmill.__version__
    assert f"## [{threadmill.__version__}]" in (root / "CHANGELOG.md").read_text("utf-8")


def test_the_stub_says_exactly_what_there_is() -> None:
    assert sorted(exported()) == sorted(threadmill.__all__)
    assert len(set(threadmill.__all__)) == len(threadmill.__all__)


def test_every_name_is_there_and_is_what_the_stub_says() -> None:
    homes = exported()
    others = [
        name
        for name in threadmill.__all__
        if getattr(threadmill, name) is not getattr(importlib.import_module(homes[name]), name)
    ]

    assert others == []
    assert set(threadmill.__all__) <= set(dir(threadmill))


def test_a_name_that_does_not_exist_is_an_error_of_pythons_own() -> None:
    with pytest.raises(AttributeError, match="module 'threadmill' has no attribute 'Tyler'"):
        _ = threadmill.Tyler  # type: ignore[attr-defined]
    with pytest.raises(ImportError):
        exec("from threadmill import Narrator", {})


def test_importing_threadmill_imports_nothing_slow() -> None:
    program = f"import sys, threadmill; print([name for name in {SLOW!r} if name in sys.modules])"

    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert said.stdout.strip() == "[]"


HANDLER = "send_message, find_turn, list_turns, read_thread, requeue_turn, TurnRecord, ThreadmillError"


@pytest.mark.parametrize("names", ["Thread, Message", HANDLER, "Agent, ThreadStore, FileStore, ProducedFile"])
def test_what_is_imported_brings_neither_litellm_nor_boto3(names: str) -> None:
    there = "[name for name in ('litellm', 'boto3') if name in sys.modules]"
    program = f"import sys; from threadmill import {names}; print({there})"

    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert said.stdout.strip() == "[]"
