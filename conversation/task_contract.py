"""The doorbell: the contract between those who ring and the worker that hears.

A bell carries ids only, never content. Losing one loses nothing: the sweep rings again. Names and
payloads stay stable across releases; `v` is raised when a payload changes shape.
"""

from dataclasses import dataclass
from typing import Any

RUN_TURNS = "turns.run"
SWEEP_TURNS = "turns.sweep"
RUN_SUMMARIES = "summaries.run"
SUMMARIZE_DUE = "summaries.due"
RUN_RETENTION = "retention.run"
PREPARE_FILE = "files.prepare"
PREPARE_FILES = "files.prepare_waiting"
COLLECT_FILES = "files.collect"
EXPIRE_UPLOADS = "uploads.expire"
REFRESH_STATISTICS = "statistics.refresh"
RUN_PURGE = "turns.purge"

#: Where ordinary turns are rung.
TURNS_QUEUE = "turns"
#: Where a turn goes that stood in two crashes: it runs alone there.
SUSPECTS_QUEUE = "suspects"
#: Where files are made ready for models: work for a CPU, in processes that a file may take down.
FILES_QUEUE = "files"
#: Sweeps, retention and whatever else beat asks for: never behind a queue of turns.
MAINTENANCE_QUEUE = "maintenance"

PAYLOAD_VERSION = 1
#: Priority of a turn: 0 is ordinary, 9 the most urgent.
PRIORITY_MAX = 9


@dataclass(frozen=True, slots=True, kw_only=True)
class Bell:
    """Says that a thread has a turn to run."""

    tenant: str
    thread_id: str
    turn_id: str
    priority: int = 0
    queue: str = TURNS_QUEUE

    def payload(self) -> dict[str, Any]:
        return {"v": PAYLOAD_VERSION, "tenant": self.tenant, "thread": self.thread_id, "turn": self.turn_id}

    def broker_priority(self) -> int:
        """Higher is sooner with us, lower is sooner in a Redis broker: this is where the two meet."""
        return PRIORITY_MAX - self.priority


def turn_channel(turn_id: str) -> str:
    """The pub/sub channel on which the end of a turn is announced."""
    return f"threadmill:turn:{turn_id}"


#: The pub/sub channel on which cancel requests are announced to workers, as turn ids.
CANCEL_CHANNEL = "threadmill:cancel"
