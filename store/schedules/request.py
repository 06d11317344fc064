"""A schedule that is asked for: everything is checked before the first write."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from conversation.arguments import check_one_of, check_whole_number
from conversation.cron import check_time_zone
from conversation.errors import InvalidInput
from conversation.message import Message
from conversation.schedule import CatchUp, cron_of
from conversation.task_contract import PRIORITY_MAX
from conversation.thread_rule import check_thread_rule
from conversation.user import named_user
from conversation.validation import check_id, check_metadata, check_moment, check_tenant_of_user, check_text
from conversation.when_busy import WhenBusy, check_when_busy

#: Characters of a schedule's name.
NAME_MAX_CHARS = 100
#: The roles of what a schedule sends: the others are the agent's own messages.
ROLES = ("user", "system")


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleRequest:
    """A schedule as its creator asks for it; `checked` makes it one that can be stored."""

    content: str
    #: Minute, hour, day of the month, month, day of the week; or `at`.
    cron: str | None = None
    #: Aware: the one time at which it runs.
    at: datetime | None = None
    #: The time zone in which the cron expression and the rule are read.
    time_zone: str = "UTC"
    #: What becomes of runs whose time passed while nobody was there: `skip`, `one` or `all`.
    catch_up: CatchUp | Literal["skip", "one", "all"] = "one"
    #: The thread that its messages are sent to; or `thread_rule`.
    thread_id: str | None = None
    #: A thread id with the local date of the run in it: `report-{date}`.
    thread_rule: str | None = None
    #: A name that no other schedule of the same user has: created again as it is, it is the same one.
    name: str | None = None
    #: The agent that shall answer; None: the installation's default, or the one that the thread was handed over to.
    agent: str | None = None
    #: What becomes of a run while its thread is busy: `enqueue`, `reject`, …; None leaves it to the thread.
    when_busy: WhenBusy | str | None = None
    #: The user who asks.
    user: str | None = None
    tenant: str = "default"
    role: str = "user"
    metadata: Mapping[str, Any] | None = None
    priority: int = 0
    #: It may send to threads of its user alone.
    owner_only: bool = False

    def values(self) -> dict[str, Any]:
        """The columns of the schedule's row, checked. Raises `InvalidInput`."""
        metadata = check_metadata("metadata", self.metadata)
        return {
            "tenant": check_tenant_of_user(self.tenant),
            "name": None if self.name is None else _check_name(self.name),
            "owner": named_user(self.user, metadata),
            "owner_only": self.owner_only,
            **self._timing(),
            "catch_up": check_one_of("catch_up", self.catch_up, tuple(CatchUp)),
            **self._thread(),
            "agent": None if self.agent is None else check_id("agent", self.agent),
            "when_busy": None if self.when_busy is None else check_when_busy("when_busy", self.when_busy),
            "role": check_one_of("role", self.role, ROLES),
            "content": _check_content(self.content, self.role),
            "metadata": metadata,
            "priority": check_whole_number("priority", self.priority, maximum=PRIORITY_MAX),
        }

    def _timing(self) -> dict[str, Any]:
        if (self.cron is None) == (self.at is None):
            raise InvalidInput("cron", "and at are given together, or neither of them", "pass one of the two")
        check_time_zone(self.time_zone)
        cron = cron_of(self.cron, self.time_zone)
        at = None if self.at is None else check_moment("at", self.at)
        return {"cron": None if cron is None else cron.expression, "at": at, "time_zone": self.time_zone}

    def _thread(self) -> dict[str, str | None]:
        if (self.thread_id is None) == (self.thread_rule is None):
            raise InvalidInput(
                "thread_id", "and thread_rule are given together, or neither of them", "pass one of the two"
            )
        return {
            "thread_id": None if self.thread_id is None else check_id("thread_id", self.thread_id),
            "thread_rule": None if self.thread_rule is None else check_thread_rule(self.thread_rule),
        }


def _check_name(name: object) -> str:
    text = check_text("name", name, max_chars=NAME_MAX_CHARS)
    if not text.strip():
        raise InvalidInput("name", "is empty", "leave it out, or name it")
    return text


def _check_content(content: object, role: str) -> str:
    # Parts would have to be kept with the files that they speak of.
    text = check_text("content", content)
    if not text.strip():
        raise InvalidInput("content", "is empty", "pass some text")
    Message(role=role, content=text)  # type: ignore[arg-type]  # checked with its row
    return text
