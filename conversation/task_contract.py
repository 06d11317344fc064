"""The contract between publishers of tasks and workers: task names, queues, and the payload of a wake-up.

A wake-up carries ids only, never content. Losing one loses nothing: the sweep publishes it again. Names and
payloads stay stable across releases; `v` is raised when a payload changes shape.
"""

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

    def payload(self) -> dict[str, int | str]:
        """The arguments of the task, as JSON: which thread to look at, and the turn that asked for it."""
        return {"v": PAYLOAD_VERSION, "tenant": self.tenant, "thread": self.thread_id, "turn": self.turn_id}

    def broker_priority(self) -> int:
        """The priority in the order of a Redis broker, where lower is sooner; with us higher is."""
        return PRIORITY_MAX - self.priority


def turn_channel(turn_id: str) -> str:
    """The pub/sub channel on which the end of a turn is published."""
    return f"threadmill:turn:{turn_id}"


#: The pub/sub channel on which cancel requests are published to workers, as turn ids.
CANCEL_CHANNEL = "threadmill:cancel"
