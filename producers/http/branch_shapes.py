"""The shapes of answers about branches, as the OpenAPI document shows them."""

from typing import Any

from pydantic import BaseModel, Field

from conversation.events import message_json
from producers.http.answer_shapes import StoredMessage, Written, write_moment
from store.branches.branches import Branch, Comparison


class ThreadBranch(BaseModel):
    """A branch of a thread, without its messages."""

    id: str = Field(description="`main` for the thread's first one.", examples=["4f0c2d9e8a71"])
    name: str | None = Field(examples=["a shorter one"])
    origin: str | None = Field(
        description="`branch`, `regenerate` or `edit`; null for the thread's first one.", examples=["branch"]
    )
    is_chosen: bool = Field(description="The thread's id stands for it.")
    parent: str | None = Field(
        description="The branch that has the last message which it shares; null where it shares none.",
        examples=["main"],
    )
    shared_to_seq: int = Field(description="Its own messages come after this `seq`.", examples=[3])
    last_seq: int = Field(description="The `seq` of its newest message.", examples=[4])
    created_at: Written
    updated_at: Written
    unfinished_turns: int = Field(description="Turns on it that wait or run.", examples=[0])

    @classmethod
    def of(cls, branch: Branch) -> "ThreadBranch":
        """The shape of a branch."""
        return cls(
            id=branch.id,
            name=branch.name,
            origin=branch.origin,
            is_chosen=branch.is_chosen,
            parent=branch.parent,
            shared_to_seq=branch.shared_to_seq,
            last_seq=branch.last_seq,
            created_at=write_moment(branch.created_at),
            updated_at=write_moment(branch.updated_at),
            unfinished_turns=branch.unfinished_turns,
        )


class BranchList(BaseModel):
    """All branches of a thread, the oldest first."""

    branches: list[ThreadBranch]


class BranchComparison(BaseModel):
    """Two branches behind what they share."""

    shared_to_seq: int = Field(description="The newest `seq` up to which both are the same history.", examples=[3])
    ours: list[StoredMessage] = Field(description="Of the branch in the path: 200 messages at most.")
    theirs: list[StoredMessage] = Field(description="Of the other one.")


def comparison_json(comparison: Comparison) -> dict[str, Any]:
    """The JSON of a comparison, in the shape of `BranchComparison`."""
    return {
        "shared_to_seq": comparison.shared_to_seq,
        "ours": [message_json(message) for message in comparison.ours],
        "theirs": [message_json(message) for message in comparison.theirs],
    }
