"""The shapes of pending calls and of decisions on them, as the OpenAPI document shows them."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from conversation.errors import InvalidInput
from conversation.events import pending_json
from conversation.pending_call import REASON_MAX_CHARS, Decision, PendingCall
from producers.http.answer_shapes import SHA256, TURN_ID, NextCursor, Written
from producers.http.request_shapes import RequestShape, Sha256, Text


class StoredCall(BaseModel):
    """A tool call that waits for a decision, or got one."""

    turn_id: str = Field(examples=[TURN_ID])
    call_id: str = Field(description="Its name within the turn.", examples=["call_1"])
    kind: Literal["approval", "question", "client_tool", "child"]
    name: str = Field(description="The tool's.", examples=["refund"])
    arguments: Any = Field(description="As the model gave them: these are what runs.", examples=[{"amount": 20}])
    digest: str = Field(description="SHA-256 of name and arguments: pass it back with an approval.", examples=[SHA256])
    question: str | None
    choices: list[Any] | None = Field(description="The only answers that are taken; null takes any.")
    answer_schema: dict[str, Any] | None = Field(alias="schema", description="JSON schema of an answer or a result.")
    requested_at: Written
    expires_at: Written
    decision: Literal["approve", "deny", "edit", "answer", "result", "closed"] | None
    reason: str | None
    decided_by: str | None
    decided_at: Written | None


class CallList(BaseModel):
    """The open calls of one turn."""

    pending: list[StoredCall]


class CallPage(BaseModel):
    """A page of what turns wait for, the oldest first."""

    pending: list[StoredCall]
    next_cursor: NextCursor


class OneCall(BaseModel):
    """A pending call by itself."""

    call: StoredCall


class NewDecision(RequestShape):
    """A decision on a pending call."""

    decision: Literal["approve", "deny", "edit", "answer", "result"] = Field(
        description="Of an approval the first three, of a question `answer` or `deny`, else `result` or `deny`.",
        examples=["approve"],
    )
    digest: Sha256 | None = Field(None, description="Decide only if the call still has this one.", examples=[None])
    reason: Annotated[Text, Field(max_length=REASON_MAX_CHARS)] | None = Field(
        None, description="Of a denial: the model reads it.", examples=[None]
    )
    arguments: dict[str, Any] | None = Field(None, description="Of `edit`: all arguments of the call.", examples=[None])
    value: Any = Field(None, description="Of `answer`: the answer, one of the choices if there are any.")
    content: Any = Field(None, description="Of `result`: what the tool gave, as any JSON value.")

    def build(self) -> Decision:
        """The decision. Raises `InvalidInput` for what does not belong to it."""
        match self.decision:
            case "approve":
                return Decision.approve()
            case "deny":
                return Decision.deny(self.reason)
            case "edit":
                if self.arguments is None:
                    raise InvalidInput("arguments", "is missing", "pass all arguments of the call")
                return Decision.edit(self.arguments)
            case "answer":
                return Decision.answer(self.value)
            case "result":
                return Decision.give_result(self.content)


def call_json(call: PendingCall) -> dict[str, Any]:
    """The JSON of a pending call, in the shape of `StoredCall`."""
    return pending_json(call)
