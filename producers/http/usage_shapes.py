"""The shapes of tokens and costs, in answers."""

from typing import Literal

from pydantic import BaseModel, Field

from producers.http.answer_shapes import Written
from store.turns.usage import UsageSum


class UsageEntry(BaseModel):
    """A sum of tokens and costs under one key."""

    key: str | None = Field(description="The day in UTC, the agent, or the user.", examples=["2030-01-31"])
    turns: int = Field(description="Turns that ended, and summaries.")
    failed: int
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    cost: float = Field(description="In US dollars, of what has a price.")
    unpriced: int = Field(description="Those that used tokens and have no price.")

    @classmethod
    def of(cls, usage: UsageSum) -> "UsageEntry":
        """The entry of a sum by one key."""
        (key,) = usage.keys.values()
        return cls(
            key=key,
            turns=usage.count,
            failed=usage.failed,
            prompt_tokens=usage.prompt_tokens,
            completion_tokens=usage.completion_tokens,
            cached_tokens=usage.cached_tokens,
            cost=usage.cost,
            unpriced=usage.unpriced,
        )


class UsageList(BaseModel):
    """The sums of tokens and costs of a time, the most expensive first."""

    by: Literal["day", "agent", "user"]
    since: Written
    until: Written | None
    usage: list[UsageEntry]
