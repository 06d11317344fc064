"""The decisions on the tool calls of a run: what was decided before, and what has to be asked now.

What stays true: a decision counts for the very call that was shown to whoever decided, by the digest of its name and
arguments. A call whose turn ended before anybody decided is asked about anew.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from agent.tools.questions import Question
from agent.tools.result import ToolResult, failure
from conversation.message import ToolCall
from conversation.pending_call import (
    ChildTurn,
    Decision,
    DecisionKind,
    PendingCall,
    PendingKind,
    PendingRequest,
    digest_of,
)

#: Ids of models' calls that can stand in an address, and leave room for a number behind them.
_PLAIN_ID = re.compile(r"[A-Za-z0-9_-]{1,48}")

#: What the model reads of a call that waits while its turn goes on.
NOT_DECIDED_RESULT = failure(
    "NotDecided",
    "nobody has decided on this call yet, so it was not run. It stays open: once it is decided, it is taken up in a "
    "turn of its own. Do not call again; tell the user what you wait for.",
)


@dataclass(slots=True)
class CallDecisions:
    """The decisions on the calls of one run."""

    #: What earlier attempts asked for.
    earlier_calls: Sequence[PendingCall]
    expire_seconds: float
    #: Of an agent that another one called: several beside each other may number their calls alike.
    names_by_step: bool = False
    #: What this attempt asks for, and waits for.
    requests: list[PendingRequest] = field(default_factory=list)
    #: What it asks for, and goes on without.
    left_open: list[PendingRequest] = field(default_factory=list)

    def find(self, index: int, kind: PendingKind, call: ToolCall) -> Decision | None:
        """The decision on a call; None where there is none, or it was on other arguments."""
        digest = digest_of(call.name, call.arguments)
        decisions = [
            each.decision for each in self._list_decided(index) if each.kind is kind and each.arguments_digest == digest
        ]
        return decisions[-1] if decisions else None

    def answers(self, index: int) -> Mapping[int, Decision]:
        """The answers to the questions of a call, by their place."""
        questions = [each for each in self._list_decided(index) if each.kind is PendingKind.QUESTION]
        return {place: each.decision for place, each in enumerate(questions) if each.decision is not None}

    def request(
        self,
        index: int,
        call: ToolCall,
        kind: PendingKind,
        question: Question | None = None,
        child: ChildTurn | None = None,
    ) -> PendingRequest:
        """Ask for a decision on a call."""
        request = PendingRequest(
            call_id=self._new_id(index, call.id, "" if question is None else f".q{question.position}"),
            step_index=index,
            kind=kind,
            name=call.name,
            arguments=call.arguments,
            question=None if question is None else question.text,
            choices=None if question is None else question.choices,
            schema=None if question is None else question.schema,
            expire_seconds=self.expire_seconds,
            child=child,
        )
        self.requests.append(request)
        return request

    def leave_open(self, request: PendingRequest) -> None:
        """Go on without a decision that was just asked for."""
        self.requests.remove(request)
        self.left_open.append(request)

    def _list_decided(self, index: int) -> list[PendingCall]:
        return [
            each
            for each in self.earlier_calls
            if each.step_index == index and each.decision is not None and each.decision.kind is not DecisionKind.CLOSED
        ]

    def _new_id(self, index: int, call_id: str, suffix: str) -> str:
        """An id that no other call of the turn has: models number their calls anew in each reply."""
        taken = {each.call_id for each in self.earlier_calls}
        taken |= {each.call_id for each in (*self.requests, *self.left_open)}
        is_plain = _PLAIN_ID.fullmatch(call_id) and not self.names_by_step
        base = (call_id if is_plain else f"step-{index}") + suffix
        candidate, count = base, 1
        while candidate in taken:
            count += 1
            candidate = f"{base}.{count}"
        return candidate


def denial(decision: Decision) -> ToolResult:
    """The result of a call that a person denied."""
    return failure("Denied", decision.reason or "a person denied this call; it was not run")


def client_result(decision: Decision) -> ToolResult:
    """The result that a client gave."""
    if decision.kind is DecisionKind.DENY:
        return failure("Declined", decision.reason or "the client did not run this call")
    return ToolResult(json.dumps(decision.value, ensure_ascii=False))


def edited_call(call: ToolCall, decision: Decision) -> ToolCall:
    """The call as it was approved: with the arguments that a person gave it, or its own."""
    return ToolCall(call.id, call.name, decision.value) if decision.kind is DecisionKind.EDIT else call


def tell_edited(result: ToolResult, arguments: str) -> ToolResult:
    """The result of a call whose arguments a person changed: the model has to know with which it ran."""
    told = {"note": "a person changed the arguments of this call before it ran", "arguments": json.loads(arguments)}
    content = json.dumps(told | {"result": json.loads(result.content)}, ensure_ascii=False)
    return ToolResult(content, result.outcome, result.files)
