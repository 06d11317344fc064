"""A summary: what stands for the older part of a thread in front of a model.

What stays true: a summary covers messages and replaces none; it ends where a turn ends; each one
covers from the first message on, without a hole, all that the one before covered and what came next.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from conversation.message import Message, Usage
from conversation.water_marks import WaterMarks


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """The material of a thread's next summary: the previous summary, and the messages that came after it."""

    thread_key: int
    #: How often the thread's summary changed: the next one does not replace one that was undone meanwhile.
    version: int = 0
    #: The newest summary now: the next one only replaces it if that is still so.
    previous_id: str | None
    #: Its text; "" where there is none.
    previous_content: str
    #: The same in sections; None where it is text alone.
    previous_sections: Mapping[str, Any] | None = None
    #: Retention's cutoff now: what was hidden meanwhile must not live on in a summary.
    history_starts_after: int = 0
    #: The positions of the first and the last message that the new summary stands for.
    from_seq: int
    to_seq: int
    #: The messages behind the previous summary, whole turns, and the position behind which they begin.
    covered_messages: Sequence[Message]
    after_seq: int = 0
    #: The summary up to there that another branch of the same history has: no model is asked for it once more.
    shared: "NewSummary | None" = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSummary:
    """A summary as a summarizer wrote it, before it is stored."""

    #: What the model reads in place of the messages.
    content: str
    #: The same in sections, for the next one to build upon.
    sections: Mapping[str, Any] | None = None
    model: str
    #: Changes whenever the summarizer's instructions do.
    prompt_version: str | None = None
    #: Of all its model calls: tokens in and out.
    usage: Usage = field(default_factory=Usage)
    #: In US dollars; None where a price is missing.
    cost: float | None = None
    #: What was carried over, restored and left out.
    report: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """A summary as it is stored."""

    id: str
    #: The first and the last position that it covers.
    from_seq: int
    to_seq: int
    content: str
    model: str
    prompt_version: str | None
    usage: Usage | None
    cost: float | None
    #: What was carried over, restored and left out.
    report: Mapping[str, Any] | None
    #: The summary that it replaced.
    previous_id: str | None
    created_at: datetime
    #: When it was undone, and the summary before it restored.
    restored_at: datetime | None
    #: Models read this one.
    is_current: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SummaryDefaults:
    """The installation's settings of summaries, for every agent that has none of its own."""

    #: The model of agents that name none.
    model: str
    #: The model that writes summaries; "" takes the agent's.
    summary_model: str
    #: Characters of a summary, at most.
    max_chars: int
    #: Whether a model is asked if a summary is true to what it covers.
    is_checked: bool
    marks: WaterMarks


class Summarizer(Protocol):
    """A writer of summaries."""

    async def summarize(self, draft: Draft) -> NewSummary:
        """Write the next summary. Raises `ModelError` where there is none that can be used."""
        ...


class SummarizedAgent(Protocol):
    """An agent, as far as summaries of its threads go."""

    def summarizer(self, defaults: SummaryDefaults) -> Summarizer:
        """The summarizer of its threads."""
        ...

    def water_marks(self, defaults: SummaryDefaults) -> WaterMarks:
        """The marks at which its threads are summarized, and down to where."""
        ...
