"""The settings of the servers that every process connects to: the database and the broker."""

from typing import Annotated

from pydantic import BaseModel, Field, SecretStr, field_validator
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from store.settings.units import Seconds
from store.settings.variables import old_aliases

#: What a broker's URL begins with: signals to waiters need this kind of server too.
BROKER_SCHEMES = ("redis://", "rediss://")


class DatabaseSettings(BaseModel):
    """Where the database is, and how its connections are pooled and bounded."""

    #: Where conversations are kept. `postgresql://`, `postgresql+asyncpg://` and `sqlite://` are mapped.
    database_url: SecretStr = Field(
        SecretStr("postgresql://threadmill@127.0.0.1:5432/threadmill"), validation_alias=old_aliases("database_url")
    )
    #: Connections kept open by each pool of a backend, a library or a maintenance worker.
    db_pool_size: int = Field(5, ge=1, le=1000, validation_alias=old_aliases("db_pool_size"))
    #: Connections beyond the pool's size, opened under load and closed after.
    db_max_overflow: int = Field(10, ge=0, le=1000, validation_alias=old_aliases("db_max_overflow"))
    #: Seconds to wait for a free connection.
    db_pool_timeout: Seconds = Field(30, validation_alias=old_aliases("db_pool_timeout"))
    #: Seconds after which a connection is replaced; -1 means never.
    db_pool_recycle: int = Field(300, ge=-1, validation_alias=old_aliases("db_pool_recycle"))
    #: Seconds to wait for the database to accept a connection.
    db_connect_timeout_seconds: int = Field(5, ge=1, le=120)
    #: Seconds that a statement waits for another transaction's row lock.
    db_lock_timeout_seconds: Seconds = 5
    #: Seconds that one statement may run.
    db_statement_timeout_seconds: Seconds = 30

    @field_validator("database_url")
    @classmethod
    def _check_database_url(cls, value: SecretStr) -> SecretStr:
        return _check_url(value)


class BrokerSettings(BaseModel):
    """Where the broker is, and how long a caller waits for it."""

    #: The broker that wake-ups are published to: Valkey or Redis.
    broker_url: SecretStr = SecretStr("redis://127.0.0.1:6379/0")
    #: Seconds that publishing a wake-up may hold up a caller, broker up or down.
    notify_timeout_seconds: Annotated[Seconds, Field(le=10)] = 1

    #: Publish wake-ups through Celery, which costs more, instead of by one command of Redis. Workers take both.
    publish_with_celery: bool = False

    @field_validator("broker_url")
    @classmethod
    def _check_broker_url(cls, value: SecretStr) -> SecretStr:
        if not value.get_secret_value().startswith(BROKER_SCHEMES):
            raise ValueError(f"is no address of a Valkey or Redis; begin it with {' or '.join(BROKER_SCHEMES)}")
        return _check_url(value)


def _check_url(value: SecretStr) -> SecretStr:
    complaint = "is no URL; write scheme://user:password@host:port/name"
    if not value.get_secret_value().isprintable():
        raise ValueError(complaint)
    try:
        make_url(value.get_secret_value())
    except (ArgumentError, ValueError):
        raise ValueError(complaint) from None
    return value
