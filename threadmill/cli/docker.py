"""`threadmill docker-…`: PostgreSQL out of the shipped compose file, with a volume that stays.

What stays true: stopping keeps the data; only `--remove-volumes` deletes it, and says what it
deleted. Passwords are made once, in `.env`, for its owner's eyes only.
"""

import os
import re
import secrets
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from conversation.errors import OperatorError
from threadmill.cli.output import print_text

COMPOSE = Path(__file__).parents[2] / "docker-compose.yml"
SERVICE = "postgres"
#: Seconds for the server to get ready, its image loaded before.
READY_SECONDS = 120
_EMPTY = re.compile(r"^(?P<name>[A-Z0-9_]+)=$", re.MULTILINE)


def docker_setup() -> None:
    """Start PostgreSQL in Docker and make the tables; safe to repeat."""
    environment = _load_or_create_passwords()
    _run_compose("up", "--detach", "--wait", "--wait-timeout", str(READY_SECONDS), SERVICE)
    _migrate(_url(environment))
    print_text(f"export THREADMILL_DATABASE_URL={_url(environment)}")


def docker_start() -> None:
    """Start PostgreSQL again, with the data that it had."""
    _load_or_create_passwords()
    _run_compose("up", "--detach", "--wait", "--wait-timeout", str(READY_SECONDS), SERVICE)


def docker_stop(
    remove_volumes: Annotated[bool, typer.Option("--remove-volumes", help="Delete all data as well.")] = False,
) -> None:
    """Stop PostgreSQL; its data stays, unless it shall be removed."""
    _load_or_create_passwords()
    _run_compose("rm", "--stop", "--force", SERVICE)
    if remove_volumes:
        name = f"{_project()}_{SERVICE}"
        _run_docker("volume", "rm", name)
        print_text(f"deleted the volume {name} and all that was in it")


def _load_or_create_passwords() -> Mapping[str, str]:
    """Load the values of `.env`, which is made of `.env.example` where there is none."""
    env, example = COMPOSE.with_name(".env"), COMPOSE.with_name(".env.example")
    if not env.exists():
        text = _EMPTY.sub(lambda match: f"{match['name']}={_make_secret(match['name'])}", example.read_text())
        with os.fdopen(os.open(env, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)
        print_text(f"made passwords in {env.name}")
    lines = (line.split("=", 1) for line in env.read_text().splitlines() if "=" in line and line[0] != "#")
    return {name.strip(): value.strip() for name, value in lines}


def _make_secret(name: str) -> str:
    secret = secrets.token_hex(24)
    return f"threadmill:{secret}" if name == "FLOWER_BASIC_AUTH" else secret


def _url(environment: Mapping[str, str]) -> str:
    port = environment.get("POSTGRES_PORT", "5432")
    return f"postgresql://threadmill:{environment['OWNER_DB_PASSWORD']}@127.0.0.1:{port}/threadmill"


def _migrate(url: str) -> None:
    from store.migrations import upgrade

    upgrade(url)


def _project() -> str:
    match = re.search(r"^name: *(\S+)", COMPOSE.read_text(), re.MULTILINE)
    return match[1] if match else COMPOSE.parent.name


def _run_compose(*arguments: str) -> None:
    _run_docker("compose", "--file", str(COMPOSE), *arguments)


def _run_docker(*arguments: str) -> None:
    docker = shutil.which("docker")
    if docker is None:
        raise OperatorError("docker is not installed: install Docker, or run `threadmill up`, which needs none")
    result = subprocess.run([docker, *arguments], check=False, capture_output=True, text=True)
    if result.returncode != 0:
        last_line = (result.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise OperatorError(
            f"docker {arguments[0]} failed: {last_line}; is its engine running? `threadmill up` needs none"
        )
