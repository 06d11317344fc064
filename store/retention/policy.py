"""Policies as values: that of one scope, and the effective policy of one thread.

What stays true: of what several policies say about a field, the strictest holds; a policy that says
nothing of a field leaves it to the others.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from conversation.errors import InvalidInput
from conversation.validation import check_id, check_tenant
from store.settings import Settings

#: Days that a calendar can hold.
DAYS_MAX = 36_500.0
#: Messages that a column of numbers can hold.
MESSAGES_MAX = 2**31 - 1

#: How strict wins, field by field: the fewest days, the fewest messages; a summary stays if all
#: policies that set the field say so, and an archive is written if any policy does.
STRICTEST: Mapping[str, Callable[[Iterable[Any]], Any]] = {
    "idle_days": min,
    "max_age_days": min,
    "max_messages": min,
    "keep_last": min,
    "keep_summary": all,
    "archive": any,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The retention policy of one scope. A field that is None sets nothing."""

    #: Empty: every tenant.
    tenant: str = ""
    #: Empty: whichever agent answered last.
    agent: str = ""
    #: Empty: every thread.
    thread_id: str = ""
    #: Days without a change after which the whole thread goes.
    idle_days: float | None = None
    #: Days after which a message goes.
    max_age_days: float | None = None
    #: Messages that stay, at most; more only where the newest turn alone has more.
    max_messages: int | None = None
    #: The newest messages, which stay however old they are.
    keep_last: int | None = None
    #: The summary stays, and with it every message that it does not cover.
    keep_summary: bool | None = None
    #: What is deleted is put into the file store first.
    archive: bool | None = None

    @property
    def scope(self) -> str:
        """The kind of the policy's scope: installation, tenant, agent or thread."""
        if self.thread_id:
            return "thread"
        return "agent" if self.agent else "tenant" if self.tenant else "installation"

    def check(self) -> None:
        """Refuse what makes no sense. Raises `InvalidInput`."""
        if self.thread_id and (self.agent or not self.tenant):
            raise InvalidInput("thread_id", "stands without its tenant alone", "name tenant and thread only")
        if self.tenant:
            check_tenant(self.tenant)
        if self.agent:
            check_id("agent", self.agent)
        if self.thread_id:
            check_id("thread_id", self.thread_id)
        for name in ("idle_days", "max_age_days"):
            days = getattr(self, name)
            if days is not None and (isinstance(days, bool) or not 0 < days <= DAYS_MAX):
                fix = f"pass more than 0, up to {DAYS_MAX:g}; for never, leave it out"
                raise InvalidInput(name, f"is {days!r}", fix)
        for name in ("max_messages", "keep_last"):
            count = getattr(self, name)
            if count is not None and (isinstance(count, bool) or not 0 <= count <= MESSAGES_MAX):
                raise InvalidInput(name, f"is {count!r}", f"pass 0 to {MESSAGES_MAX}")
        if all(getattr(self, name) is None for name in STRICTEST):
            raise InvalidInput("policy", "says nothing", f"set one of {', '.join(STRICTEST)}")

    def to_json(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if value not in (None, "")}


@dataclass(frozen=True, slots=True)
class EffectivePolicy:
    """The strictest of several policies, field by field, with the scope that sets each value."""

    values_by_field: Mapping[str, tuple[Any, str]]

    def value(self, name: str) -> Any:
        """The strictest value of a field; None where no policy sets it."""
        return self.values_by_field.get(name, (None, ""))[0]

    def describe_field(self, name: str) -> dict[str, Any]:
        """The field that decided, as the audit has it: no ids in it."""
        value, scope = self.values_by_field[name]
        return {"field": name, "value": value, "scope": scope}


def combine_policies(policies: Iterable[Policy]) -> EffectivePolicy:
    """Combine the policies of one thread: of each field, the strictest value."""
    all_policies = list(policies)
    values_by_field = {}
    for name, pick_strictest in STRICTEST.items():
        values = [(getattr(each, name), each.scope) for each in all_policies if getattr(each, name) is not None]
        if values:
            value = pick_strictest(value for value, _ in values)
            values_by_field[name] = value, next(scope for each, scope in values if each == value)
    return EffectivePolicy(values_by_field)


def policy_from_settings(settings: Settings) -> Policy:
    """The policy of the whole installation. A setting of 0 sets nothing."""
    values: dict[str, Any] = {name: getattr(settings, f"retention_{name}") or None for name in STRICTEST}
    return Policy(**values)
