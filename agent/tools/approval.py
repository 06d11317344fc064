"""A tool that may run only after a person has consented: always, or by a rule over the call."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalRequest:
    """A tool call as a rule sees it, to say whether a person has to approve it."""

    tool: str
    #: As the model gave them: JSON values by the names of parameters.
    arguments: Mapping[str, Any]
    #: The user who asks in this turn; None where nobody was named.
    user: str | None = None
    #: The user whose thread it is.
    thread_owner: str | None = None
    tenant: str = "default"
    thread_id: str = ""
    turn_id: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)


#: Says whether a person has to approve a call: a function, sync or async.
ApprovalRule = Callable[[ApprovalRequest], bool | Awaitable[bool]]
