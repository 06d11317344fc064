"""Every setting of Threadmill: its variable, default and unit, in one place.

A variable is named `THREADMILL_` and the field's name in capitals. A wrong value is one clear
line; passwords in URLs never appear in an error or a log.
"""

from functools import lru_cache
from typing import Annotated, Any, Self

from pydantic import AliasChoices, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from conversation.errors import InvalidSettings


def _names(field: str) -> AliasChoices:
    """The variable of a field, and the name that older deployments of this design used for it."""
    return AliasChoices(field, f"THREADMILL_{field.upper()}", f"NARRATOR_{field.upper()}")


class Settings(BaseSettings):
    """The configuration of one process, read from its environment."""

    model_config = SettingsConfigDict(env_prefix="THREADMILL_", extra="forbid", frozen=True)

    #: Where conversations are kept. `postgresql://`, `postgresql+asyncpg://` and `sqlite://` are mapped.
    database_url: SecretStr = Field(
        SecretStr("postgresql://threadmill@127.0.0.1:5432/threadmill"),
        validation_alias=_names("database_url"),
    )
    #: Connections kept open by each pool.
    db_pool_size: int = Field(5, ge=1, le=1000, validation_alias=_names("db_pool_size"))
    #: Connections beyond the pool's size, opened under load and closed after.
    db_max_overflow: int = Field(10, ge=0, le=1000, validation_alias=_names("db_max_overflow"))
    #: Seconds to wait for a free connection.
    db_pool_timeout: float = Field(30, gt=0, validation_alias=_names("db_pool_timeout"))
    #: Seconds after which a connection is replaced.
    db_pool_recycle: int = Field(300, ge=-1, validation_alias=_names("db_pool_recycle"))
    #: Seconds to wait for the database to accept a connection.
    db_connect_timeout: int = Field(5, ge=1, le=120)
    #: Seconds that a statement waits for another transaction's row lock.
    db_lock_timeout: float = Field(5, gt=0)
    #: Seconds that one statement may run.
    db_statement_timeout: float = Field(30, gt=0)

    #: Where bells are rung: Valkey or Redis.
    broker_url: SecretStr = SecretStr("redis://127.0.0.1:6379/0")
    #: Seconds that ringing may hold up a caller, broker up or down.
    ring_timeout: float = Field(1, gt=0, le=10)

    #: Where attachments are kept: a folder, or `s3://bucket/prefix`.
    file_store: str = "./.threadmill/files"
    #: The S3-compatible server; empty means AWS.
    s3_endpoint_url: str = ""
    #: Empty means boto3's own chain: environment, profile, instance role.
    s3_access_key_id: str = ""
    s3_secret_access_key: SecretStr = SecretStr("")
    s3_region: str = "us-east-1"
    #: Bytes of one attachment, at most.
    attachment_max_bytes: int = Field(20 * 1024 * 1024, ge=1)
    #: Attachments of one message, at most.
    attachments_max_count: int = Field(20, ge=0)
    #: Media types that are accepted, comma-separated; `image/*` means every image type.
    attachment_types: Annotated[tuple[str, ...], NoDecode] = (
        "image/png",
        "image/jpeg",
        "image/gif",
        "image/webp",
        "application/pdf",
        "application/json",
        "text/*",
    )

    #: Modules that define agents, comma-separated: imported by every worker.
    agents: Annotated[tuple[str, ...], NoDecode] = ("agent.assistant",)
    #: The agent of a message that names none.
    default_agent: str = "assistant"
    #: The model of agents that name none.
    model: str = "offline/recall"

    #: Turns that one worker process runs at once: one thread and one coroutine each.
    worker_concurrency: int = Field(100, ge=1, le=1000)
    #: Threads of a worker process that run synchronous tools.
    tool_threads: int = Field(32, ge=1, le=1000)
    #: Seconds after its last heartbeat in which a worker still counts as alive.
    lease_seconds: float = Field(15, gt=0)
    #: Seconds between two heartbeats.
    heartbeat_seconds: float = Field(2, gt=0)
    #: Attempts at one turn, while its model is away, before it fails.
    turn_max_attempts: int = Field(5, ge=1)
    #: Turns of one thread that a task runs before it yields to others.
    drain_max_turns: int = Field(20, ge=1)
    #: Seconds after which a task yields to others, between two turns.
    drain_max_seconds: float = Field(60, gt=0)
    #: Seconds that a stopping worker lets its turns go on before it hands them back.
    shutdown_grace_seconds: float = Field(20, ge=0)
    #: Seconds between two sweeps.
    sweep_seconds: float = Field(2, gt=0)
    #: Seconds after a ring before the sweep rings for the same turn again.
    sweep_grace_seconds: float = Field(10, ge=0)
    #: Bells of one sweep, at most.
    sweep_batch: int = Field(500, ge=1)
    #: Bells that may wait in the broker before a sweep holds back.
    sweep_queue_limit: int = Field(2000, ge=1)

    @field_validator("attachment_types", "agents", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("database_url", "broker_url")
    @classmethod
    def _is_url(cls, value: SecretStr) -> SecretStr:
        try:
            make_url(value.get_secret_value())
        except ArgumentError:
            raise ValueError("is no URL; write scheme://user:password@host:port/name") from None
        return value

    @model_validator(mode="after")
    def _heartbeat_fits_lease(self) -> Self:
        if self.heartbeat_seconds * 3 > self.lease_seconds:
            raise ValueError("heartbeat_seconds: three heartbeats must fit into lease_seconds")
        return self


def load(**values: Any) -> Settings:
    """Read the settings. Raises `InvalidSettings` with one line a wrong value, secrets masked."""
    try:
        return Settings(**values)
    except ValidationError as error:
        raise InvalidSettings("\n".join(_line(item) for item in error.errors(include_url=False))) from None


@lru_cache(maxsize=1)
def current() -> Settings:
    """The settings of this process, read once. Tests build their own with `load`."""
    return load()


def _line(error: ErrorDetails) -> str:
    field = str(error["loc"][0]) if error["loc"] else ""
    name = field if field.startswith(("THREADMILL_", "NARRATOR_")) else f"THREADMILL_{field.upper()}"
    shown = _shown(field.lower(), error["input"])
    message = error["msg"].removeprefix("Value error, ")
    return f"{name}{shown}: {message}" if field else message


def _shown(field: str, value: object) -> str:
    if isinstance(value, dict):
        return ""
    if any(word in field for word in ("url", "secret", "key", "password")):
        return "=***"
    return f"={value!r}"
