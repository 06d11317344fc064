"""Database URLs: every accepted spelling, mapped to the driver that we use.

What stays true: a URL that cannot mean what it says is refused when the process starts, and its
password is not in the error.
"""

from sqlalchemy import make_url
from sqlalchemy.engine import URL

from conversation.errors import InvalidSettings

#: What asyncpg calls `sslmode`, with its word for "yes".
SSL_MODES = {"true": "require"} | {
    mode: mode for mode in ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
}
#: asyncpg's prepared statements: we prepare none, so there is nothing to set.
IGNORED_PARAMETERS = ("statement_cache_size", "prepared_statement_cache_size")


def driver_url(url: str) -> URL:
    """Map every accepted URL to the driver that we use: psycopg 3, or SQLite's own.

    Raises `InvalidSettings` for another database, or a parameter that would mean nothing here.
    """
    parsed_url = make_url(url)
    backend = parsed_url.get_backend_name()
    if backend in ("postgresql", "postgres"):
        return _psycopg_url(parsed_url)
    if backend == "sqlite":
        return parsed_url.set(drivername="sqlite")
    raise _invalid_url(f"{backend} is not served; use postgresql:// or sqlite://")


def is_in_memory(url: URL) -> bool:
    """Whether the URL names a SQLite database that lives no longer than its connection."""
    if url.get_backend_name() != "sqlite":
        return False
    return not url.database or ":memory:" in url.database or url.query.get("mode") == "memory"


def _psycopg_url(url: URL) -> URL:
    query = {name: value for name, value in url.query.items() if name not in IGNORED_PARAMETERS}
    if "ssl" in query:
        ssl_value = str(query.pop("ssl"))
        if ssl_value.lower() not in SSL_MODES:
            raise _invalid_url(f"ssl={ssl_value} is unknown; use sslmode=require or sslmode=verify-full")
        query.setdefault("sslmode", SSL_MODES[ssl_value.lower()])
    if unknown := sorted(query.keys() - _libpq_parameters()):
        raise _invalid_url(f"{', '.join(unknown)}: no parameter of PostgreSQL's client library (libpq)")
    return url.set(drivername="postgresql+psycopg", query=query)


def _libpq_parameters() -> set[str]:
    from psycopg import pq

    return {option.keyword.decode() for option in pq.Conninfo.get_defaults()}


def _invalid_url(complaint: str) -> InvalidSettings:
    return InvalidSettings(f"THREADMILL_DATABASE_URL: {complaint}")
