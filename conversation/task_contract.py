"""The contract between publishers of tasks and workers: task names, queues, periods, a wake-up's payload.

A wake-up carries ids only, never content. Losing one loses nothing: the sweep publishes it again. Names and
payloads stay stable across releases; `v` is raised when a payload changes shape.
"""

from collections.abc import Mapping
from dataclasses import dataclass

RUN_TURNS = "turns.run"
SWEEP_TURNS = "turns.sweep"
RUN_SUMMARIES = "summaries.run"
RUN_SUMMARIES_NOW = "summaries.run_now"
RUN_RETENTION = "retention.run"
PREPARE_FILE = "files.prepare"
PREPARE_PENDING_FILES = "files.prepare_pending"
COLLECT_FILES = "files.collect"
EXPIRE_UPLOADS = "uploads.expire"
REFRESH_STATISTICS = "statistics.refresh"
RUN_PURGE = "turns.purge"
SEND_WEBHOOKS = "webhooks.send"
RUN_SCHEDULES = "schedules.run"

#: The queue of wake-ups for ordinary turns.
TURNS_QUEUE = "turns"
#: The queue of a turn that was running in two crashes of a process: it runs alone there.
QUARANTINE_QUEUE = "quarantine"
#: The queue of files to prepare for models: work for a CPU, in processes that a file may take down.
FILES_QUEUE = "files"
#: Sweeps, retention and whatever else beat asks for: never behind a queue of turns.
MAINTENANCE_QUEUE = "maintenance"

PAYLOAD_VERSION = 1
#: Priority of a turn: 0 is ordinary, 9 the most urgent.
PRIORITY_MAX = 9

#: Bytes of a task's message at most, as it waits in the broker. The longest of ours has nine kilobytes: ids of the
#: greatest length, in letters that JSON writes with twelve bytes each, once to run and once to be shown.
MESSAGE_MAX_BYTES = 16 * 1024

#: A length of time: its seconds, or the name of the setting that has them.
Interval = float | str


@dataclass(frozen=True, slots=True, kw_only=True)
class PeriodicTask:
    """A task that beat sends. Beat only ticks: what is due is found in Postgres."""

    task: str
    queue: str = MAINTENANCE_QUEUE
    #: Time between two ticks of beat; no longer than the period, so that none is without a tick.
    tick: Interval = 60.0
    #: Time between two runs: a tick asks the database whether this period's run was claimed, so that two
    #: beats run it once, and one that was lost is made up for. None runs the task at each tick.
    period: Interval | None = None
    #: Ticks for which a message is worth running: behind an older one there is a younger one.
    expires_after_ticks: int = 1

    def tick_seconds(self, settings: object) -> float:
        """Seconds between two ticks of beat."""
        seconds = _seconds(self.tick, settings)
        return seconds if self.period is None else min(seconds, self.period_seconds(settings))

    def period_seconds(self, settings: object) -> float:
        """Seconds between two runs."""
        return _seconds(self.tick if self.period is None else self.period, settings)

    def expiry_seconds(self, settings: object) -> float:
        """Seconds after which a message that waits in the broker is dropped."""
        return self.expires_after_ticks * self.tick_seconds(settings)


def _seconds(interval: Interval, settings: object) -> float:
    return float(getattr(settings, interval) if isinstance(interval, str) else interval)


#: What beat sends, by the name of its entry there: the only place that says when a task is due.
PERIODIC_TASKS: Mapping[str, PeriodicTask] = {
    # Wake-ups for every turn whose wake-up was lost, whose worker died, or whose time has come.
    "sweep-turns": PeriodicTask(task=SWEEP_TURNS, tick="sweep_interval_seconds", expires_after_ticks=2),
    # Events that webhooks are still to be told of.
    "send-webhooks": PeriodicTask(task=SEND_WEBHOOKS, tick="webhook_interval_seconds", expires_after_ticks=2),
    # Messages whose time has come: each schedule's row says when that is.
    "run-schedules": PeriodicTask(task=RUN_SCHEDULES, tick="schedule_interval_seconds", expires_after_ticks=2),
    # Files that no turn has requested yet, or whose request was lost.
    "prepare-files": PeriodicTask(task=PREPARE_PENDING_FILES),
    # Threads whose uncovered history passed a high-water mark, down to the low one.
    "run-summaries": PeriodicTask(
        task=RUN_SUMMARIES, tick="summarize_interval_seconds", period="summarize_interval_seconds"
    ),
    # What policies say is past its time, and erasures that broke off.
    "run-retention": PeriodicTask(task=RUN_RETENTION, period="retention_interval_seconds"),
    # Turns that ended long ago, with their journals; their messages stay. And what webhooks were told long ago.
    "run-purge": PeriodicTask(task=RUN_PURGE, period="retention_interval_seconds"),
    # Blobs that no message has, and bytes that no row knows; each run continues where the last one ended.
    "collect-files": PeriodicTask(task=COLLECT_FILES, period="collect_interval_seconds"),
    # What the database knows of its tables, so that it finds what is due through its indexes.
    "refresh-statistics": PeriodicTask(task=REFRESH_STATISTICS, period="statistics_interval_seconds"),
    # Uploads that were never completed, and what was put for them.
    "expire-uploads": PeriodicTask(task=EXPIRE_UPLOADS, period=600.0),
}

#: Which tasks a queue may carry: nothing else in it is run.
TASKS_OF_QUEUES: Mapping[str, frozenset[str]] = {
    TURNS_QUEUE: frozenset({RUN_TURNS}),
    QUARANTINE_QUEUE: frozenset({RUN_TURNS}),
    FILES_QUEUE: frozenset({PREPARE_FILE}),
    MAINTENANCE_QUEUE: frozenset({RUN_SUMMARIES_NOW, *(periodic.task for periodic in PERIODIC_TASKS.values())}),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class WakeUp:
    """The message to a worker that a thread has a turn to run."""

    tenant: str
    thread_id: str
    #: The turn that it was published for. A worker runs the thread's oldest one, whichever that is.
    turn_id: str
    #: 0 to `PRIORITY_MAX`: of the threads that wait, that of the higher priority is run first.
    priority: int = 0
    queue: str = TURNS_QUEUE
    #: Published before all that wait, whatever their priority: its tenant has got less than others.
    comes_first: bool = False

    def payload(self) -> dict[str, int | str]:
        """The arguments of the task, as JSON: which thread to look at, and the turn that asked for it."""
        return {"v": PAYLOAD_VERSION, "tenant": self.tenant, "thread": self.thread_id, "turn": self.turn_id}

    def broker_priority(self) -> int:
        """The priority in the order of a Redis broker, where lower is sooner; with us higher is."""
        return 0 if self.comes_first else PRIORITY_MAX - min(max(self.priority, 0), PRIORITY_MAX)


def turn_channel(turn_id: str) -> str:
    """The pub/sub channel on which the end of a turn is published."""
    return f"threadmill:turn:{turn_id}"


#: The pub/sub channel on which cancel requests are published to workers, as turn ids.
CANCEL_CHANNEL = "threadmill:cancel"
