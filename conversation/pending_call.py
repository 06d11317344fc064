"""A pending call: a tool call of a turn that waits for a decision, and the decision.

What stays true: the arguments that are shown to whoever decides are the text that the model wrote, to the byte, and
that text is what runs; its digest says so.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from conversation.errors import InvalidInput
from conversation.validation import check_metadata, check_text

#: Characters of the reason of a denial.
REASON_MAX_CHARS = 4_000
#: Seconds after which a wait is over, where nobody says otherwise: seven days.
WAIT_EXPIRE_SECONDS = 7 * 86_400.0


class PendingKind(StrEnum):
    """The kind of what a pending call waits for."""

    #: A person's consent to run a tool.
    APPROVAL = "approval"
    #: A user's answer.
    QUESTION = "question"
    #: The result of a tool that the client runs.
    CLIENT_TOOL = "client_tool"
    #: The end of another turn.
    CHILD = "child"


class DecisionKind(StrEnum):
    """The kind of a decision."""

    APPROVE = "approve"
    DENY = "deny"
    #: Approve with other arguments.
    EDIT = "edit"
    ANSWER = "answer"
    RESULT = "result"
    #: Nobody decided: the turn ended first.
    CLOSED = "closed"


#: The decisions that fit each kind of pending call.
DECISIONS: Mapping[PendingKind, frozenset[DecisionKind]] = {
    PendingKind.APPROVAL: frozenset({DecisionKind.APPROVE, DecisionKind.DENY, DecisionKind.EDIT}),
    PendingKind.QUESTION: frozenset({DecisionKind.ANSWER, DecisionKind.DENY}),
    PendingKind.CLIENT_TOOL: frozenset({DecisionKind.RESULT, DecisionKind.DENY}),
    PendingKind.CHILD: frozenset({DecisionKind.RESULT}),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildTurn:
    """A turn that a call begins in a thread of its own: it is sent in the transaction that has its caller wait."""

    turn_id: str
    thread_id: str
    agent: str
    #: The task, as a user's message.
    content: str
    #: How deep it is nested: 1 for a call of a turn that no other one began.
    depth: int
    user: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingRequest:
    """A request for a decision, as a run makes it."""

    #: Its name within the turn; no other one there has it.
    call_id: str
    #: The index of its step in the journal.
    step_index: int
    kind: PendingKind
    #: The tool's name.
    name: str
    #: As the model wrote them: JSON text.
    arguments: str = "{}"
    question: str | None = None
    #: The only answers that are taken; None takes any that fits `schema`.
    choices: Sequence[Any] | None = None
    #: The JSON schema of an answer or a result; None takes any.
    schema: Mapping[str, Any] | None = None
    #: Seconds after which the wait is over.
    expire_seconds: float = WAIT_EXPIRE_SECONDS
    #: Of the kind `child`.
    child: ChildTurn | None = None

    @property
    def arguments_digest(self) -> str:
        """SHA-256 of the name and the arguments."""
        return digest_of(self.name, self.arguments)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """A decision on a pending call. `value` is an answer, a result, or the JSON text of edited arguments."""

    kind: DecisionKind
    value: Any = None
    #: Why a call was denied: the model reads it.
    reason: str | None = None

    @classmethod
    def approve(cls) -> "Decision":
        """The decision that a call may run as it was shown."""
        return cls(kind=DecisionKind.APPROVE)

    @classmethod
    def deny(cls, reason: str | None = None) -> "Decision":
        """The decision that a call must not run, or that a question is not answered. The model reads the reason.

        Raises `InvalidInput` for a reason of more than 4,000 characters, or one that cannot be stored.
        """
        reason = None if reason is None else check_text("reason", reason, max_chars=REASON_MAX_CHARS)
        return cls(kind=DecisionKind.DENY, reason=reason)

    @classmethod
    def edit(cls, arguments: Mapping[str, Any]) -> "Decision":
        """The decision that a call may run with these arguments in place of the model's.

        Raises `InvalidInput` for what is no JSON object, or one of more than 64 KiB.
        """
        if not isinstance(arguments, Mapping):
            raise InvalidInput("arguments", "is no JSON object", "pass a dict of all arguments of the call")
        plain = check_metadata("arguments", arguments)
        return cls(kind=DecisionKind.EDIT, value=json.dumps(plain, ensure_ascii=False))

    @classmethod
    def answer(cls, value: Any) -> "Decision":
        """The answer to a question. Raises `InvalidInput` for what is no JSON value, or one of more than 64 KiB."""
        return cls(kind=DecisionKind.ANSWER, value=check_metadata("value", {"value": value})["value"])

    @classmethod
    def give_result(cls, value: Any) -> "Decision":
        """The result of a tool that the client ran. Raises `InvalidInput` as `answer`."""
        return cls(kind=DecisionKind.RESULT, value=check_metadata("value", {"value": value})["value"])


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingCall:
    """A pending call as it is stored, decided or not."""

    turn_id: str
    call_id: str
    tenant: str
    step_index: int
    kind: PendingKind
    name: str
    #: As the model wrote them: JSON text.
    arguments: str
    arguments_digest: str
    question: str | None
    choices: Sequence[Any] | None
    schema: Mapping[str, Any] | None
    requested_at: datetime
    expires_at: datetime
    #: None while nobody has decided.
    decision: Decision | None
    decided_by: str | None
    decided_at: datetime | None

    @property
    def is_open(self) -> bool:
        """Whether nobody has decided, and the turn has not ended."""
        return self.decision is None

    @property
    def parsed_arguments(self) -> Any:
        """The arguments as values; an empty object of a text that is no JSON."""
        try:
            parsed = json.loads(self.arguments)
            # Some models quote the object as a string.
            return json.loads(parsed) if isinstance(parsed, str) else parsed
        except ValueError:
            return {}


def digest_of(name: str, arguments: str) -> str:
    """SHA-256 of a call: the tool's name and the text of its arguments."""
    return hashlib.sha256(f"{name}\n{arguments}".encode()).hexdigest()
