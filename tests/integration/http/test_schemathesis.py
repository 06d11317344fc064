"""The description of the API holds: schemathesis finds nothing that it says and the gateway does not do."""

import base64
import subprocess
import sys
from pathlib import Path

import pytest

from store.database.engine import Database
from store.keys.key_rows import KeyRequest, create_key
from store.keys.key_text import make_key
from store.settings import Settings
from tests.gateway_process import running_gateway
from tests.integration.producers.backend import register_agent

CONFIG = Path(__file__).parents[2] / "schemathesis.toml"


@pytest.mark.parametrize(
    ("phases", "examples"),
    [
        pytest.param("examples,fuzzing,stateful", "3", marks=pytest.mark.soak),
        pytest.param(
            "examples,coverage,fuzzing,stateful", "30", marks=[pytest.mark.endurance, pytest.mark.timeout(900)]
        ),
    ],
)
def test_schemathesis_finds_nothing(
    settings: Settings, database: Database, tmp_path: Path, phases: str, examples: str
) -> None:
    register_agent(database, "assistant")
    key = make_key()
    database.run(create_key, KeyRequest(tenant="default", name="", scopes=("read", "write", "operate"), user=None), key)
    environment = {
        "THREADMILL_DATABASE_URL": settings.database_url.get_secret_value(),
        "THREADMILL_BROKER_URL": settings.broker_url.get_secret_value(),
        "THREADMILL_FILE_STORE_URL": settings.file_store_url,
        "THREADMILL_WEBHOOK_ENCRYPTION_KEYS": base64.urlsafe_b64encode(b"k" * 32).decode(),
        "THREADMILL_LOG_LEVEL": "error",
        "PATH": "",
    }
    with running_gateway(environment) as (_, address):
        command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIG), "run"]
        options = ["--checks", "all", "--phases", phases, "--max-examples", examples, "--generation-deterministic"]
        credential = ["--header", f"Authorization: Bearer {key.text}"]
        ended = subprocess.run(
            [*command, f"{address}/openapi.json", *options, *credential],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )

    assert ended.returncode == 0, ended.stdout
    assert "No issues found" in ended.stdout or " passed" in ended.stdout
