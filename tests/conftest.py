"""The real servers that tests run on, and the walls that keep the developer's environment out.

Servers start once per test process, the first time that a test asks. A server that does not start
fails its tests; nothing is skipped.
"""

import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
import redis

from store import settings
from tests.compiled_statements import share_compiled_statements
from tests.memory_folder import memory_folder
from tests.self_comparisons import refuse_self_comparisons
from tests.swift.running import KEY, running_swift
from threadmill.embedded.postgres import EmbeddedPostgres
from threadmill.embedded.valkey import EmbeddedValkey

#: The name of a database in, the address of its copy out.
LendDatabase = Callable[[str], AbstractContextManager[str]]

#: Beginnings of variables that steer our code, its libraries, or spend the developer's money.
FOREIGN_PREFIXES = (
    "THREADMILL_", "NARRATOR_", "LITELLM_", "CELERY_", "FLOWER_", "PG", "AWS_", "REDIS_", "DATABASE_URL",
    "OPENAI_", "ANTHROPIC_", "AZURE_", "GEMINI_", "GOOGLE_", "VERTEX", "MISTRAL_", "GROQ_", "COHERE_", "XAI_",
    "DEEPSEEK_", "OPENROUTER_", "TOGETHER", "HUGGINGFACE_", "HF_TOKEN", "REPLICATE_", "FIREWORKS_", "OLLAMA_",
)  # fmt: skip
PROXIES = {"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "FTP_PROXY", "NO_PROXY", "WS_PROXY", "WSS_PROXY"}


def is_foreign(name: str) -> bool:
    """Whether this variable of the developer's could change what a test sees."""
    upper = name.upper()
    return upper in PROXIES or upper.startswith(FOREIGN_PREFIXES) or upper.endswith("_API_KEY")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With `--dist loadfile`, which is what the Makefile asks for, files of one slow start stay together."""
    if config.getoption("dist") != "loadfile":
        return None
    from tests.scheduling import BySlowStart

    return BySlowStart(config, log)


@pytest.fixture(scope="session", autouse=True)
def clean_environment() -> Iterator[None]:
    """No variable of the developer's reaches a test, a server of the tests, or a child process."""
    with pytest.MonkeyPatch.context() as environment:
        for name in filter(is_foreign, list(os.environ)):
            environment.delenv(name)
        environment.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")
        environment.setenv("LITELLM_MODE", "PRODUCTION")
        yield


@pytest.fixture(scope="session", autouse=True)
def shared_compiled_statements() -> Iterator[None]:
    """A statement is compiled once a process, not once a test."""
    with pytest.MonkeyPatch.context() as patch:
        share_compiled_statements(patch)
        yield


@pytest.fixture(scope="session", autouse=True)
def no_self_comparisons() -> Iterator[None]:
    """A statement that compares a column with itself fails the test that compiles it first."""
    with pytest.MonkeyPatch.context() as patch:
        refuse_self_comparisons(patch)
        yield


@pytest.fixture(autouse=True)
def fresh_settings() -> Iterator[None]:
    """Settings that one test read are not those of the next."""
    settings.current.cache_clear()
    yield
    settings.current.cache_clear()


@pytest.fixture(autouse=True)
def no_timers_left() -> Iterator[None]:
    """What a test has left to be told later is not told into the output of another."""
    yield
    for thread in threading.enumerate():
        if isinstance(thread, threading.Timer):
            thread.cancel()


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """A PostgreSQL server of this test process."""
    with (
        memory_folder(tmp_path_factory.mktemp("postgres")) as folder,
        EmbeddedPostgres(folder / "server", durable=False) as server,
    ):
        yield server


@pytest.fixture(scope="session")
def lend_database(postgres_server: EmbeddedPostgres) -> LendDatabase:
    """Copies a database for a while; the copy is dropped afterwards, whoever is still connected to it."""

    @contextmanager
    def lend(template: str) -> Iterator[str]:
        name = f"test_{uuid4().hex}"
        create_database(postgres_server, name, template=template)
        yield postgres_server.url_of(name)
        with psycopg.connect(postgres_server.url_of("postgres"), autocommit=True) as connection:
            connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    return lend


@pytest.fixture(scope="session")
def migrated_template(postgres_server: EmbeddedPostgres) -> str:
    """The name of a database with the newest schema and no rows, to be copied."""
    from store.migrations import upgrade

    create_database(postgres_server, "migrated", template="template1")
    upgrade(postgres_server.url_of("migrated"))
    return "migrated"


@pytest.fixture
def database_url(lend_database: LendDatabase, migrated_template: str) -> Iterator[str]:
    """A database of this test's own, with the newest schema and no rows."""
    with lend_database(migrated_template) as url:
        yield url


@pytest.fixture
def empty_database_url(lend_database: LendDatabase) -> Iterator[str]:
    """A database of this test's own, with nothing in it."""
    with lend_database("template1") as url:
        yield url


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite database with the newest schema and no rows, to be copied."""
    from store.migrations import upgrade

    path = tmp_path_factory.mktemp("sqlite") / "migrated.db"
    upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture
def sqlite_url(migrated_file: Path, tmp_path: Path) -> str:
    """An SQLite file of this test's own, with the newest schema and no rows."""
    return f"sqlite:///{shutil.copy(migrated_file, tmp_path / 'store.db')}"


@pytest.fixture(scope="session")
def valkey_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedValkey]:
    """A Valkey server of this test process."""
    with EmbeddedValkey(tmp_path_factory.mktemp("valkey")) as server:
        yield server


@pytest.fixture
def valkey_url(valkey_server: EmbeddedValkey) -> str:
    """A Valkey server with nothing in it."""
    with redis.Redis.from_url(valkey_server.url) as client:
        client.flushall()
    return valkey_server.url


@dataclass(frozen=True)
class S3:
    """An S3 server, who may use it, and a bucket with nothing in it."""

    endpoint: str
    key: str
    secret: str
    bucket: str = ""

    def client(self, **replaced: Any) -> Any:
        """A boto3 client that signs as this user; arguments of `boto3.client` can be replaced."""
        import boto3
        from botocore.config import Config

        settings: dict[str, Any] = {
            "endpoint_url": self.endpoint,
            "aws_access_key_id": self.key,
            "aws_secret_access_key": self.secret,
            "region_name": "us-east-1",
            "config": Config(
                signature_version="s3v4",
                s3={"addressing_style": "path"},
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
        }
        return boto3.client("s3", **{**settings, **replaced})


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    """OpenStack Swift with its S3 API, of this test process."""
    with running_swift(tmp_path_factory.mktemp("swift")) as server:
        yield S3(server.endpoint, KEY, server.secret)


@pytest.fixture
def s3(s3_server: S3) -> S3:
    """A bucket of this test's own on a real S3 server."""
    bucket = f"test-{uuid4().hex}"
    s3_server.client().create_bucket(Bucket=bucket)
    return S3(s3_server.endpoint, s3_server.key, s3_server.secret, bucket)


def create_database(server: EmbeddedPostgres, name: str, *, template: str) -> None:
    with psycopg.connect(server.url_of("postgres"), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
