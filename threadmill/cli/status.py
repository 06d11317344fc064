"""`threadmill status`: whether the database and the broker are there, and what is going on."""

from typing import TYPE_CHECKING, Any

import typer

from threadmill.cli.common_options import DEFAULT_TENANT, AsJson, Tenant, print_json

if TYPE_CHECKING:
    from store.database.engine import Database
    from store.settings import Settings


def status(tenant: Tenant = DEFAULT_TENANT, as_json: AsJson = False) -> None:
    """Say what is there: schema, workers, turns, schedules.

    Exit status 1 where the database or its schema is not there, or a schedule is stale.
    """
    from conversation.errors import OperatorError
    from store.database.engine import Database
    from store.settings import load

    settings = load()
    database = Database(settings)
    found: dict[str, Any] = {"database": database.url.render_as_string(hide_password=True)}
    try:
        found |= _stored(database, tenant)
        problem = _stale(database, settings)
    except OperatorError as error:
        problem = str(error)
    finally:
        database.close()
    if problem is not None:
        found["problem"] = problem
    found["broker"] = _broker(settings)
    if as_json:
        print_json(found)
    else:
        for name, value in found.items():
            print(f"{name:<9} {value}")
    if problem is not None:
        raise typer.Exit(1)


def _stored(database: "Database", tenant: str) -> dict[str, Any]:
    from store import migrations
    from store.threads import listing
    from store.turns import workers

    def look(connection: Any) -> dict[str, Any]:
        migrations.check(connection)
        counts = listing.stats(connection, tenant)
        return {
            "schema": migrations.current(connection),
            "workers": len(workers.alive(connection)),
            "threads": counts.threads,
            "messages": counts.messages,
            "turns": dict(counts.turns),
        }

    return database.run(look)


def _stale(database: "Database", settings: "Settings") -> str | None:
    """Which schedules no run of which ended well for too long."""
    from tasks.schedules import states

    found = states(database, settings)
    stale = [schedule.name for schedule in found if schedule.state == "stale"]
    if not stale:
        return None
    return f"no run ended well for two periods: {', '.join(stale)}; see that beat and maintenance run"


def _broker(settings: "Settings") -> str:
    from redis import Redis
    from redis.exceptions import RedisError

    try:
        with Redis.from_url(
            settings.broker_url.get_secret_value(), socket_connect_timeout=2, socket_timeout=2
        ) as client:
            client.ping()
    except (RedisError, OSError) as error:
        return f"not there ({type(error).__name__}): messages wait for it, none is lost"
    return "answers"
