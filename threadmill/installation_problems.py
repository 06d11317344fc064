"""The problems of an installation, a sentence each: `threadmill status` prints them, and ends with status 1.

What stays true: each sentence says what is seen, and what to do; nothing is a problem on SQLite but the database,
since no worker and no broker belong to it; a worker whose process answers but that consumes nothing is known by
the due turns that wait while no turn runs.
"""

from collections.abc import Iterator
from typing import Any

from redis import Redis
from redis.exceptions import RedisError

from conversation.task_contract import FILES_QUEUE, MAINTENANCE_QUEUE, QUARANTINE_QUEUE, TURNS_QUEUE
from store.database.engine import Database
from store.schedules.runs import count_overdue
from store.settings import Settings
from store.turns.unserved import list_served_agents
from store.turns.waiting import WaitingTurn, find_longest_waiting, runs_any_turn
from store.turns.worker_listing import ListedWorker, list_silent, list_workers
from store.webhooks.health import examine_webhooks
from tasks.schedules import load_statuses

#: What waits where nobody serves a queue.
QUEUES = {
    TURNS_QUEUE: "turns wait",
    QUARANTINE_QUEUE: "turns that were running in two crashes wait",
    MAINTENANCE_QUEUE: "nothing is swept, summarized or deleted",
    FILES_QUEUE: "files are prepared by nobody",
}
#: Seconds for the broker to connect and to answer.
BROKER_SECONDS = 2


def describe_broker(settings: Settings) -> str | None:
    """The problem of the broker; None where it answers."""
    url = settings.broker_url.get_secret_value()
    limits: dict[str, Any] = {"socket_connect_timeout": BROKER_SECONDS, "socket_timeout": BROKER_SECONDS}
    try:
        with Redis.from_url(url, **limits) as client:
            client.ping()
    except (RedisError, OSError, ValueError) as error:
        return f"the broker does not answer ({type(error).__name__}): messages wait for it, none is lost"
    return None


def list_problems(database: Database, settings: Settings, *, broker_answers: bool) -> list[str]:
    """List the problems that the database tells of. Raises `DatabaseUnavailable`."""
    if database.is_sqlite:
        return [
            *_describe_schedules(database, settings),
            *_describe_overdue(database, settings),
            *_describe_webhooks(database),
        ]
    workers = [worker for worker in database.run(list_workers) if not worker.is_library]
    return [
        *_describe_workers(workers, settings, broker_answers=broker_answers),
        *_describe_waiting(database, settings),
        *_describe_schedules(database, settings),
        *_describe_webhooks(database),
        *_describe_overdue(database, settings),
    ]


def _describe_workers(workers: list[ListedWorker], settings: Settings, *, broker_answers: bool) -> Iterator[str]:
    lease_duration_seconds = settings.lease_duration_seconds
    for worker in list_silent(workers, lease_duration_seconds=lease_duration_seconds):
        # Without its broker, one that runs no turns cannot say that it lives.
        if broker_answers or _runs_turns(worker):
            silent_seconds = worker.dead_seconds + lease_duration_seconds
            queues = ", ".join(worker.served_queues)
            yield (
                f"the worker of {queues} on {worker.host} (process {worker.pid}) has been silent for "
                f"{silent_seconds:.0f} s: it hangs, or was killed"
            )
    living = [worker for worker in workers if worker.is_alive]
    if not living:
        yield "no worker lives: turns wait until one is started"
        return
    served_queues = {queue for worker in living for queue in worker.served_queues}
    for queue, consequence in QUEUES.items():
        if queue not in served_queues and (broker_answers or queue in (TURNS_QUEUE, QUARANTINE_QUEUE)):
            yield f"no worker serves the queue {queue}: {consequence} until one is started with -Q {queue}"


def _runs_turns(worker: ListedWorker) -> bool:
    return TURNS_QUEUE in worker.served_queues or QUARANTINE_QUEUE in worker.served_queues


def _describe_waiting(database: Database, settings: Settings) -> Iterator[str]:
    bound_seconds = settings.status_max_wait_seconds
    waiting_turn = database.run(
        find_longest_waiting, over_seconds=bound_seconds, tenant_max_running=settings.tenant_max_running_turns.count
    )
    if waiting_turn is not None:
        yield (
            f"turn {waiting_turn.id} of thread {waiting_turn.thread_id!r} of tenant {waiting_turn.tenant!r} has waited "
            f"for {waiting_turn.seconds:.0f} s, more than {bound_seconds:g}: {_explain(database, waiting_turn)}"
        )


def _explain(database: Database, waiting_turn: WaitingTurn) -> str:
    if waiting_turn.agent not in database.run(list_served_agents):
        return f"no living worker serves the agent {waiting_turn.agent!r}"
    if database.run(runs_any_turn):
        return "the workers are busy; start more"
    return "the workers run nothing: they hang, or their wake-ups are lost and beat or maintenance does not sweep"


def _describe_schedules(database: Database, settings: Settings) -> Iterator[str]:
    stale_names = [schedule.name for schedule in load_statuses(database, settings) if schedule.state == "stale"]
    if stale_names:
        yield f"no run succeeded for two periods: {', '.join(stale_names)}; check that beat and maintenance run"


def _describe_webhooks(database: Database) -> Iterator[str]:
    for webhook in database.run(examine_webhooks):
        if webhook.is_gone:
            yield f"webhook {webhook.id} of tenant {webhook.tenant!r} is disabled: its server answered 410"
        elif webhook.is_away and webhook.state == "enabled":
            yield (
                f"webhook {webhook.id} of tenant {webhook.tenant!r} is away: {webhook.failures} attempts in a row "
                f"failed, and {webhook.pending} deliveries wait"
            )


def _describe_overdue(database: Database, settings: Settings) -> Iterator[str]:
    bound_seconds = settings.status_max_wait_seconds
    overdue = database.run(count_overdue, over_seconds=bound_seconds)
    if overdue:
        yield (
            f"{overdue} recurring messages are more than {bound_seconds:g} s late: "
            "check that beat and maintenance run; `threadmill doctor` names them"
        )
