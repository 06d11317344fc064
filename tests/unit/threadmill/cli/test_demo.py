"""The demonstration in a shell that has the settings of another installation."""

import os
from pathlib import Path

import pytest

from examples.demo import story
from examples.support.ledger import PATH_VARIABLE
from threadmill.cli import running_stack


def test_the_demo_takes_no_setting_of_the_shell_but_the_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    variables = (running_stack.DATABASE_URL, running_stack.BROKER_URL, running_stack.FILE_STORE_URL)
    others = ("THREADMILL_DEFAULT_AGENT", "NARRATOR_DATABASE_URL", "threadmill_lease_duration_seconds")
    for name in (*variables, *others, "THREADMILL_MODEL", "OPENAI_API_KEY"):
        monkeypatch.setenv(name, "of the shell")
    # What the demo sets is of this process: the variables that tests have stand aside.
    monkeypatch.setattr(os, "environ", dict(os.environ))

    story._prepare_environment(tmp_path, "openai/gpt-5")

    settings = {name: value for name, value in os.environ.items() if name.upper().startswith(story.PREFIXES)}
    assert settings == {
        PATH_VARIABLE: str(tmp_path / "support-ledger.sqlite3"),
        "THREADMILL_AGENT_MODULES": "examples.support.agent,examples.demo.agent",
        "THREADMILL_MODEL": "openai/gpt-5",
        "THREADMILL_SHUTDOWN_GRACE_SECONDS": "2",
    }
    assert os.environ["OPENAI_API_KEY"] == "of the shell"
