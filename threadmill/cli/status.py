"""`threadmill status`: the state of the database, the broker, the workers and the schedules."""

from typing import TYPE_CHECKING, Any

import typer

from threadmill.cli.common_options import DEFAULT_TENANT, AsJson, Tenant, open_database
from threadmill.cli.output import print_json, print_record, print_text, show_cell

if TYPE_CHECKING:
    from store.database.engine import Database
    from store.settings import Settings


def status(tenant: Tenant = DEFAULT_TENANT, as_json: AsJson = False) -> None:
    """Print the state of the schema, workers, turns, broker and schedules.

    Exit status 1 where the database or its schema is not there, or a schedule is stale.
    """
    from conversation.errors import OperatorError

    with open_database() as (database, settings):
        report: dict[str, Any] = {"database": database.url.render_as_string(hide_password=True)}
        try:
            report |= _read_database(database, tenant)
            problem = _describe_stale(database, settings)
        except OperatorError as error:
            problem = str(error)
    if problem is not None:
        report["problem"] = problem
    report["broker"] = _check_broker(settings)
    if as_json:
        print_json(report)
    else:
        estimated = report.pop("estimated", [])
        # A queue of nobody's is worth a line only where there is one.
        lines = {name: value for name, value in report.items() if name != "unserved" or value}
        print_record(
            {name: f"about {show_cell(value)}" if name in estimated else value for name, value in lines.items()},
            as_json=False,
        )
        if report.get("unserved"):
            print_text("no living worker serves these agents: start one, or see `threadmill turns requeue --agent`")
    if problem is not None:
        raise typer.Exit(1)


def _read_database(database: "Database", tenant: str) -> dict[str, Any]:
    from store import migrations
    from store.threads.counts import stats
    from store.turns import workers
    from store.turns.unserved import count_unserved

    def read(connection: Any) -> dict[str, Any]:
        migrations.check(connection)
        counts = stats(connection, tenant)
        return {
            "schema": migrations.current_revision(connection),
            "workers": len(workers.list_alive(connection)),
            "threads": counts.threads,
            "messages": counts.messages,
            "turns": dict(counts.turns),
            "estimated": sorted(counts.estimated),
            "unserved": count_unserved(connection, tenant),
        }

    return database.run(read)


def _describe_stale(database: "Database", settings: "Settings") -> str | None:
    """The schedules without a run that succeeded for too long, in a sentence; None where there is none."""
    from tasks.schedules import load_statuses

    schedule_statuses = load_statuses(database, settings)
    stale_names = [schedule.name for schedule in schedule_statuses if schedule.state == "stale"]
    if not stale_names:
        return None
    return f"no run succeeded for two periods: {', '.join(stale_names)}; check that beat and maintenance run"


def _check_broker(settings: "Settings") -> str:
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
