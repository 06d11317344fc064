"""Schedules, as the gateway tells of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from threadmill_client.decoding import Model


@dataclass(frozen=True, kw_only=True)
class Schedule(Model):
    """A message that is sent at its times."""

    id: str
    name: str | None = None
    #: Who asks.
    user: str | None = None
    content: str = ""
    #: Minute, hour, day of the month, month, day of the week; None of one that runs once.
    cron: str | None = None
    #: When it runs, of one that runs once.
    at: datetime | None = None
    #: In which `cron` and the rule are read.
    time_zone: str = "UTC"
    #: Which runs are sent that an outage missed: `skip`, `one` or `all`.
    catch_up: str = "one"
    #: Where it sends to, or the rule that makes a thread's id of the date of the run.
    thread_id: str | None = None
    thread_rule: str | None = None
    agent: str | None = None
    when_busy: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    priority: int = 0
    #: `active`, `paused` or `ended`.
    state: str = "active"
    #: When it runs next; None of one that has ended.
    next_at: datetime | None = None
    #: When a run that was refused is tried again.
    retry_at: datetime | None = None
    #: The time of its last run, its turn, and why it was refused, if it was.
    last_due_at: datetime | None = None
    last_turn_id: str | None = None
    last_error: str | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
