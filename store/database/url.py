"""Where the database is: every spelling of an address that we accept, as one that we use.

What stays true: an address that cannot mean what it says is refused when the process starts, and
its password is not in the refusal.
"""

from sqlalchemy import make_url
from sqlalchemy.engine import URL

from conversation.errors import InvalidSettings

#: What asyncpg calls `sslmode`, with its word for "yes".
SSL_MODES = {"true": "require"} | {
    mode: mode for mode in ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
}
#: asyncpg's prepared statements: we prepare none, so there is nothing to set.
WITHOUT_MEANING = ("statement_cache_size", "prepared_statement_cache_size")


def mapped(url: str) -> URL:
    """Map every accepted URL to the driver that we use: psycopg 3, or SQLite's own.

    Raises `InvalidSettings` for another database, or a parameter that would mean nothing here.
    """
    parsed = make_url(url)
    backend = parsed.get_backend_name()
    if backend in ("postgresql", "postgres"):
        return _for_psycopg(parsed)
    if backend == "sqlite":
        return parsed.set(drivername="sqlite")
    raise _refused(f"{backend} is not served; use postgresql:// or sqlite://")


def is_in_memory(url: URL) -> bool:
    """Whether this is a SQLite database that lives no longer than its connection."""
    if url.get_backend_name() != "sqlite":
        return False
    return not url.database or ":memory:" in url.database or url.query.get("mode") == "memory"


def _for_psycopg(url: URL) -> URL:
    query = {name: value for name, value in url.query.items() if name not in WITHOUT_MEANING}
    if "ssl" in query:
        asked = str(query.pop("ssl"))
        if asked.lower() not in SSL_MODES:
            raise _refused(f"ssl={asked} is unknown; use sslmode=require or sslmode=verify-full")
        query.setdefault("sslmode", SSL_MODES[asked.lower()])
    if unknown := sorted(query.keys() - _parameters()):
        raise _refused(f"{', '.join(unknown)}: no parameter of PostgreSQL's client library (libpq)")
    return url.set(drivername="postgresql+psycopg", query=query)


def _parameters() -> set[str]:
    from psycopg import pq

    return {option.keyword.decode() for option in pq.Conninfo.get_defaults()}


def _refused(complaint: str) -> InvalidSettings:
    return InvalidSettings(f"THREADMILL_DATABASE_URL: {complaint}")
