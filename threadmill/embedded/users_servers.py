"""Servers that the user names in the environment: they are asked before anything is started.

What stays true: one that does not answer is one line, which names its variable and its address, without
the password.
"""

from sqlalchemy import create_engine, make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from store.database.retry_policy import reason_of
from store.database.url import driver_url
from threadmill.embedded.errors import ServerFailed

#: Seconds that a server may take to answer.
ANSWER_SECONDS = 5


def check_database(url: str) -> None:
    """Check that the database answers. Raises `ServerFailed`."""
    parsed_url = driver_url(url)
    if parsed_url.get_backend_name() == "sqlite":
        return
    engine = create_engine(parsed_url, poolclass=NullPool, connect_args={"connect_timeout": ANSWER_SECONDS})
    try:
        engine.connect().close()
    except DBAPIError as error:
        raise _failure("DATABASE_URL", url, reason_of(error)) from error
    finally:
        engine.dispose()


def check_broker(url: str) -> None:
    """Check that the broker answers. Raises `ServerFailed`."""
    from redis import Redis
    from redis.exceptions import RedisError

    try:
        with Redis.from_url(url, socket_connect_timeout=ANSWER_SECONDS, socket_timeout=ANSWER_SECONDS) as client:
            client.ping()
    except (RedisError, OSError, ValueError) as error:
        raise _failure("BROKER_URL", url, f"the broker did not answer: {str(error).rstrip('.')}") from error


def _failure(setting: str, url: str, problem: str) -> ServerFailed:
    address = make_url(url).render_as_string(hide_password=True)
    return ServerFailed(
        f"THREADMILL_{setting} points to {address}: {problem}; start that server, "
        "or unset the variable to have one started here"
    )
