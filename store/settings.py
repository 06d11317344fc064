"""Every setting of Threadmill: its variable, default and unit, in one place.

A variable is named `THREADMILL_` and the field's name in capitals; one that is empty counts as not
set. A wrong value is one clear line, and so is a variable that is nearly the name of a setting:
otherwise a default would be used without notice. Passwords and keys never appear in an error, a
`repr` or a log. `docs/reference/make_settings.py` writes this file for people.
"""

import os
from collections.abc import Iterable
from difflib import get_close_matches
from functools import lru_cache
from typing import Annotated, Any, Literal, Self

from pydantic import AliasChoices, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from conversation.errors import InvalidSettings

PREFIX = "THREADMILL_"
#: Older deployments of this design used this prefix, for the fields that have `_aliases`.
OLD_PREFIX = "NARRATOR_"
#: What a broker's URL begins with: signals to waiters need this kind of server too.
BROKER_SCHEMES = ("redis://", "rediss://")
#: How alike two names are (0 to 1) before one of them is taken for a slip of the other.
SLIP_RATIO = 0.85

#: A length of time that a server's timers can count, in seconds.
Seconds = Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)]
#: As `Seconds`, where 0 makes sense too.
SecondsOrZero = Annotated[float, Field(ge=0, le=86_400, allow_inf_nan=False)]
#: A length of time that a calendar can hold, in days.
Days = Annotated[float, Field(ge=0, le=36_500, allow_inf_nan=False)]
#: Text that must say something.
NonEmptyText = Annotated[str, Field(min_length=1)]


def _aliases(field: str) -> AliasChoices:
    return AliasChoices(f"{PREFIX}{field.upper()}", f"{OLD_PREFIX}{field.upper()}")


class Settings(BaseSettings):
    """The configuration of one process, read from its environment."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_ignore_empty=True,
        validate_by_name=True,
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
    )

    #: Where conversations are kept. `postgresql://`, `postgresql+asyncpg://` and `sqlite://` are mapped.
    database_url: SecretStr = Field(
        SecretStr("postgresql://threadmill@127.0.0.1:5432/threadmill"),
        validation_alias=_aliases("database_url"),
    )
    #: Connections kept open by each pool.
    db_pool_size: int = Field(5, ge=1, le=1000, validation_alias=_aliases("db_pool_size"))
    #: Connections beyond the pool's size, opened under load and closed after.
    db_max_overflow: int = Field(10, ge=0, le=1000, validation_alias=_aliases("db_max_overflow"))
    #: Seconds to wait for a free connection.
    db_pool_timeout: Seconds = Field(30, validation_alias=_aliases("db_pool_timeout"))
    #: Seconds after which a connection is replaced; -1 means never.
    db_pool_recycle: int = Field(300, ge=-1, validation_alias=_aliases("db_pool_recycle"))
    #: Seconds to wait for the database to accept a connection.
    db_connect_timeout_seconds: int = Field(5, ge=1, le=120)
    #: Seconds that a statement waits for another transaction's row lock.
    db_lock_timeout_seconds: Seconds = 5
    #: Seconds that one statement may run.
    db_statement_timeout_seconds: Seconds = 30

    #: The broker that wake-ups are published to: Valkey or Redis.
    broker_url: SecretStr = SecretStr("redis://127.0.0.1:6379/0")
    #: Seconds that publishing a wake-up may hold up a caller, broker up or down.
    notify_timeout_seconds: Annotated[Seconds, Field(le=10)] = 1

    #: Where attachments are kept: a folder, `s3://bucket/prefix`, or `memory:` of one process.
    file_store_url: NonEmptyText = "./.threadmill/files"
    #: The S3-compatible server; empty means AWS.
    s3_endpoint_url: str = ""
    #: Empty means boto3's own chain: environment, profile, instance role.
    s3_access_key_id: str = Field("", repr=False)
    #: Belongs to the access key id.
    s3_secret_access_key: SecretStr = SecretStr("")
    #: Where the bucket is; servers other than AWS mostly take any.
    s3_region: NonEmptyText = "us-east-1"
    #: Seconds to wait for the S3 server to accept a connection.
    s3_connect_timeout_seconds: Seconds = 3
    #: Seconds to wait for more of an answer of the S3 server.
    s3_read_timeout_seconds: Seconds = 20
    #: Attempts at one request to the S3 server, with a growing random pause between two.
    s3_max_attempts: int = Field(3, ge=1, le=20)
    #: How the S3 server encrypts objects: `AES256` or `aws:kms`; empty means as the bucket says.
    s3_sse: Literal["", "AES256", "aws:kms"] = ""
    #: The key of `aws:kms`; empty means the account's own.
    s3_sse_kms_key_id: str = ""
    #: The storage class of objects, as `STANDARD_IA`; empty means the server's default.
    s3_storage_class: Annotated[str, Field(pattern=r"^[A-Z0-9_]*$")] = ""
    #: Bytes from which an object is sent in parts.
    s3_multipart_bytes: int = Field(32 * 1024 * 1024, ge=5 * 1024 * 1024, le=5 * 1024**3)
    #: Bytes of one such part, each held in memory.
    s3_part_bytes: int = Field(16 * 1024 * 1024, ge=5 * 1024 * 1024, le=5 * 1024**3)
    #: Bytes of one attachment, at most.
    attachment_max_bytes: int = Field(20 * 1024 * 1024, ge=1)
    #: Bytes of all attachments of one message, at most.
    message_max_bytes: int = Field(50 * 1024 * 1024, ge=1)
    #: Bytes of all files of one tenant, each counted once; 0 means any number.
    tenant_max_bytes: int = Field(0, ge=0)
    #: Bytes of one file that a client puts into the store by itself.
    upload_max_bytes: int = Field(100 * 1024 * 1024, ge=1)
    #: Attachments of one message, at most.
    attachments_max_count: int = Field(20, ge=0)
    #: Media types that are accepted, comma-separated; `image/*` means every image type. What may run
    #: (programs, SVG, Office files with macros and of the old formats) is accepted only by its own name.
    attachment_types: Annotated[tuple[str, ...], NoDecode] = (
        "image/png",
        "image/jpeg",
        "image/gif",
        "image/webp",
        "application/pdf",
        "application/json",
        "text/*",
        "application/vnd.openxmlformats-officedocument.*",
        "application/vnd.oasis.opendocument.*",
        "audio/*",
        "video/*",
        "application/zip",
        "application/gzip",
        "application/x-tar",
        "application/x-7z-compressed",
        "application/x-bzip2",
        "application/x-xz",
    )

    #: The virus scanner: `clamd://host:3310` or `clamd:///path/of/socket`; empty scans nothing.
    scanner_url: str = ""
    #: Seconds that the scanner may take over one file.
    scanner_timeout_seconds: Seconds = 60
    #: Seconds that a turn waits for its files to be prepared before it is retried later.
    prepare_timeout_seconds: Seconds = 90
    #: Seconds in which a client may put a file by itself, after it was given the address.
    upload_max_age_seconds: Seconds = 900

    #: Modules that define agents, comma-separated: imported by every worker.
    agent_modules: Annotated[tuple[str, ...], NoDecode] = ("agent.assistant",)
    #: The agent of a message that names none.
    default_agent: NonEmptyText = "assistant"
    #: The model of agents that name none.
    model: NonEmptyText = "offline/recall"

    #: Turns that one worker process runs at once: one thread and one coroutine each.
    worker_concurrency: int = Field(100, ge=1, le=1000)
    #: Threads of a worker process that run synchronous tools.
    tool_threads: int = Field(32, ge=1, le=1000)
    #: Seconds after its last heartbeat in which a worker still counts as alive.
    lease_duration_seconds: Seconds = 15
    #: Seconds between two heartbeats.
    heartbeat_interval_seconds: Seconds = 2
    #: Attempts at one turn, while its model is away, before it fails; an agent may have its own number.
    turn_max_attempts: int = Field(5, ge=1)
    #: Turns of one tenant that run at once, over all workers; 0 means any number.
    tenant_max_running_turns: int = Field(0, ge=0)
    #: Unfinished turns of one tenant before further messages are refused; 0 means any number.
    tenant_max_unfinished_turns: int = Field(0, ge=0)
    #: Turns of one thread that a task runs before it yields to others.
    task_max_turns: int = Field(20, ge=1)
    #: Seconds after which a task yields to others, between two turns.
    task_max_seconds: Seconds = 60
    #: Seconds that a stopping worker lets its turns go on before it hands them over.
    shutdown_grace_seconds: SecondsOrZero = 20
    #: Seconds between two sweeps.
    sweep_interval_seconds: Seconds = 2
    #: Seconds after a wake-up before the sweep publishes one for the same turn again.
    sweep_grace_seconds: SecondsOrZero = 10
    #: Wake-ups of one sweep, at most.
    sweep_batch: int = Field(500, ge=1)
    #: Wake-ups that may wait in the broker before a sweep publishes no more.
    sweep_queue_limit: int = Field(2000, ge=1)

    #: Messages without a summary with which a thread gets one; 0 counts none. An agent may have its own.
    summarize_after_messages: int = Field(200, ge=0)
    #: Tokens without a summary with which a thread gets one; 0 counts none. An agent may have its own.
    summarize_after_tokens: int = Field(50_000, ge=0)
    #: Messages that the newest turns may have together to stay as they are; an agent may have its own.
    summarize_keep_messages: int = Field(50, ge=1)
    #: Tokens that they may have together; 0 counts none. An agent may have its own.
    summarize_keep_tokens: int = Field(12_000, ge=0)
    #: The model that writes summaries; empty takes the agent's.
    summary_model: str = ""
    #: Characters of a summary, at most: a longer one is not stored.
    summary_max_chars: int = Field(24_000, ge=1000, le=200_000)
    #: Whether a model is asked if a summary is true to what it covers, before it is used.
    summary_check: bool = False
    #: Seconds between two scans for threads to summarize.
    summarize_interval_seconds: Seconds = 60
    #: Days after its last change when a thread is deleted; 0 means never.
    retention_idle_days: Days = 0
    #: Days that a blob is kept after the last message with it is gone. Below an hour, a message may be
    #: refused because its file was collected while it was sent.
    blob_grace_days: Days = 7
    #: Seconds between two collections of files that no message has any more.
    collect_interval_seconds: Seconds = 3600
    #: Days after which a message is deleted, however lively its thread is; 0 means never.
    retention_max_age_days: Days = 0
    #: Messages that a thread keeps, at most: the newest ones; 0 means all.
    retention_max_messages: int = Field(0, ge=0)
    #: The newest messages of a thread, which stay however old they are.
    retention_keep_last: int = Field(0, ge=0)
    #: Whether a thread's summary stays, and with it the messages that it does not cover.
    retention_keep_summary: bool = False
    #: Whether what retention deletes is put into the file store first, as a compressed archive.
    retention_archive: bool = False
    #: Days after its end when a turn is deleted with its journal; its messages stay. 0 means never.
    turn_retention_days: Days = 0
    #: The key of a thread's metadata that names its user, for exports and erasures.
    user_metadata_key: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")] = "user"
    #: Seconds between two updates of PostgreSQL's statistics of our tables, for better plans.
    statistics_interval_seconds: Seconds = 21_600
    #: Seconds between two runs of retention.
    retention_interval_seconds: Seconds = 3600

    @field_validator("*", mode="before")
    @classmethod
    def _strip(cls, value: object) -> object:
        """White space around a value is never meant: files and copied lines bring it along."""
        return value.strip() if isinstance(value, str) else value

    @field_validator("attachment_types", "agent_modules", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("broker_url")
    @classmethod
    def _check_broker(cls, value: SecretStr) -> SecretStr:
        if not value.get_secret_value().startswith(BROKER_SCHEMES):
            raise ValueError(
                f"is no address of a Valkey or Redis; begin it with {' or '.join(BROKER_SCHEMES)}"
            )
        return value

    @field_validator("database_url", "broker_url")
    @classmethod
    def _check_url(cls, value: SecretStr) -> SecretStr:
        try:
            make_url(value.get_secret_value())
        except ArgumentError:
            raise ValueError("is no URL; write scheme://user:password@host:port/name") from None
        return value

    @model_validator(mode="after")
    def _check_kms_key(self) -> Self:
        if self.s3_sse_kms_key_id and self.s3_sse != "aws:kms":
            raise ValueError(f"{variable('s3_sse_kms_key_id')}: needs {variable('s3_sse')}=aws:kms")
        return self

    @model_validator(mode="after")
    def _check_low_marks(self) -> Self:
        for unit in ("messages", "tokens"):
            high, low = f"summarize_after_{unit}", f"summarize_keep_{unit}"
            if 0 < getattr(self, high) <= getattr(self, low):
                raise ValueError(f"{variable(low)}: keep less than {variable(high)}")
        return self

    @model_validator(mode="after")
    def _check_heartbeat(self) -> Self:
        if self.heartbeat_interval_seconds * 3 > self.lease_duration_seconds:
            raise ValueError(
                f"{variable('heartbeat_interval_seconds')}: "
                f"three heartbeats must fit into {variable('lease_duration_seconds')}"
            )
        return self


def load(**values: Any) -> Settings:
    """Read the settings. Raises `InvalidSettings` with one line a wrong value, secrets masked."""
    complaints = _misspelled_variables(os.environ)
    try:
        settings = Settings(**values)
    except ValidationError as error:
        raise InvalidSettings(
            "\n".join(complaints + [_error_line(item) for item in error.errors(include_url=False)])
        ) from None
    if complaints:
        raise InvalidSettings("\n".join(complaints))
    return settings


@lru_cache(maxsize=1)
def current() -> Settings:
    """The settings of this process, read once. Tests build their own with `load`."""
    return load()


def variable(field: str) -> str:
    """The environment's name of a setting."""
    return f"{PREFIX}{field.upper()}"


def _misspelled_variables(environment: Iterable[str]) -> list[str]:
    """A line for each variable that is nearly the name of a setting. Other variables are ignored."""
    variables = {variable(field) for field in Settings.model_fields}
    lines = []
    for name in sorted(environment):
        if name.upper().startswith(PREFIX) and name.upper() not in variables:
            # The prefix is common to all names: it says nothing about likeness.
            names = [other.removeprefix(PREFIX) for other in variables]
            matches = get_close_matches(name.upper().removeprefix(PREFIX), names, n=1, cutoff=SLIP_RATIO)
            lines += [f"{name}: no setting has this name; {PREFIX}{match} has" for match in matches]
    return lines


def _error_line(error: ErrorDetails) -> str:
    message = error["msg"].removeprefix("Value error, ")
    if not error["loc"]:
        return message
    # Where it came from decides whether the field or its alias is named.
    field = str(error["loc"][0]).lower().removeprefix(PREFIX.lower())
    return f"{_name_in_use(field)}{_masked_value(field, error['input'])}: {message}"


def _name_in_use(field: str) -> str:
    """The variable under the prefix with which it was set."""
    old = f"{OLD_PREFIX}{field.upper()}"
    in_use = {name.upper() for name, value in os.environ.items() if value}
    return old if old in in_use and variable(field) not in in_use else variable(field)


def _masked_value(field: str, value: object) -> str:
    if isinstance(value, dict):
        return ""
    if any(word in field for word in ("url", "secret", "key", "password")):
        return "=***"
    return f"={value!r}"
