"""`threadmill status`: the state of the database, the broker, the workers and the schedules."""

from typing import TYPE_CHECKING, Any

import typer

from threadmill.cli import running_stack
from threadmill.cli.common_options import DEFAULT_TENANT, AsJson, Tenant, open_database
from threadmill.cli.output import print_json, print_record, print_text, show_cell

if TYPE_CHECKING:
    from collections.abc import Sequence

    from store.database.engine import Database
    from store.webhooks.health import WebhookHealth


def status(tenant: Tenant = DEFAULT_TENANT, as_json: AsJson = False) -> None:
    """Print the state of the schema, workers, turns, broker and schedules, and a line for each problem.

    Exit status 1 where there is a problem: the database, its schema or the broker is away; no worker lives, one fell
    silent, or none serves a queue; a due turn waits for too long; a schedule is stale.
    """
    from conversation.errors import DatabaseUnavailable, OperatorError
    from threadmill.installation_problems import describe_broker, list_problems

    with open_database() as (database, settings):
        report: dict[str, Any] = {"database": database.url.render_as_string(hide_password=True)}
        broker_problem = describe_broker(settings)
        report["broker"] = broker_problem or "answers"
        problems = [broker_problem] if broker_problem and not database.is_sqlite else []
        try:
            report |= _read_database(database, tenant)
            problems += list_problems(database, settings, broker_answers=broker_problem is None)
        except DatabaseUnavailable as error:
            problems.insert(0, "; ".join(filter(None, (str(error), running_stack.advise(str(error))))))
        except OperatorError as error:
            problems.insert(0, running_stack.add_advice(str(error)))
    if as_json:
        print_json({**report, "problems": problems})
    else:
        # What is known without the database is in the problems already.
        _print_report(report if "schema" in report else {}, problems)
    if problems:
        raise typer.Exit(1)


def _print_report(report: dict[str, Any], problems: list[str]) -> None:
    estimated = report.pop("estimated", [])
    # A queue of nobody's, and webhooks, are worth a line only where there are any.
    lines = {name: value for name, value in report.items() if name not in ("unserved", "webhooks") or value}
    if lines:
        print_record(
            {name: f"about {show_cell(value)}" if name in estimated else value for name, value in lines.items()},
            as_json=False,
        )
    if report.get("unserved"):
        print_text("no living worker serves these agents: start one, or see `threadmill turns requeue --by`")
    for problem in problems:
        print_text(f"problem   {show_cell(problem)}")


def _read_database(database: "Database", tenant: str) -> dict[str, Any]:
    from store import migrations
    from store.threads.counts import stats
    from store.turns.unserved import count_unserved
    from store.turns.worker_listing import count_by_queue, list_workers
    from store.webhooks.health import examine_webhooks

    def read(connection: Any) -> dict[str, Any]:
        migrations.check(connection)
        counts = stats(connection, tenant)
        living = [worker for worker in list_workers(connection) if worker.is_alive and not worker.is_library]
        return {
            "schema": migrations.current_revision(connection),
            "workers": len(living),
            "queues": count_by_queue(living),
            "threads": counts.threads,
            "messages": counts.messages,
            "turns": dict(counts.turns),
            "estimated": sorted(counts.estimated),
            "unserved": count_unserved(connection, tenant),
            "webhooks": _count_deliveries(examine_webhooks(connection, tenant)),
        }

    return database.run(read)


def _count_deliveries(webhooks: "Sequence[WebhookHealth]") -> dict[str, int]:
    """How many webhooks there are, and what waits for them; nothing where there are none."""
    if not webhooks:
        return {}
    counts = {state: sum(webhook.state == state for webhook in webhooks) for state in ("enabled", "disabled")}
    return counts | {name: sum(getattr(webhook, name) for webhook in webhooks) for name in ("pending", "dead")}
