"""What a backend's process has to carry for sending messages: no model library, no S3 client, no tasks."""

import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import producers

#: Slow, large, or another floor's.
UNWELCOME = {
    *("agent", "boto3", "botocore", "celery", "django", "flower", "kombu", "litellm", "openai", "redis", "tasks"),
    *("fastapi", "jwt", "limits", "starlette", "uvicorn"),
}


def imported_by(statement: str) -> set[str]:
    """The top-level modules that a fresh interpreter has after a statement."""
    program = f"{statement}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return {name.partition(".")[0] for name in json.loads(done.stdout)}


@pytest.mark.parametrize(
    "statement",
    [
        "import producers",
        "import producers.sqlalchemy_orm",
        "import producers.django",
        "import store.live.wake_ups",
        "from producers import Producer; from store.settings import load; Producer(load())",
    ],
)
def test_a_sender_imports_neither_models_nor_buckets_nor_tasks(statement: str) -> None:
    assert imported_by(statement) & UNWELCOME == set()


def test_the_floors_table_of_contents_is_exact() -> None:
    public = {
        name
        for name, value in vars(producers).items()
        if not name.startswith("_") and not isinstance(value, ModuleType)
    }

    assert public == set(producers.__all__)
    assert sorted(producers.__all__) == producers.__all__
