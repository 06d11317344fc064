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
    """What the next summary of a thread has to cover."""

    thread_key: int
    #: How often the thread's summary changed: the next one is not put over one that was taken back meanwhile.
    version: int = 0
    #: The newest summary now: the next one is only put in its place if that is still so.
    previous_id: str | None
    #: What it says; "" where there is none.
    previous: str
    #: The same in sections; None where it is text alone.
    previous_sections: Mapping[str, Any] | None = None
    #: The cut of retention now: what was cut meanwhile must not live on in a summary.
    retention_cut: int = 0
    #: The place of the first message that the new summary stands for, and of the last one.
    from_seq: int
    to_seq: int
    #: The messages behind the previous summary, whole turns, and the place behind which they begin.
    covered: Sequence[Message]
    after_seq: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSummary:
    """What a summarizer wrote."""

    #: What the model reads in place of the messages.
    content: str
    #: The same in sections, for the next one to build upon.
    sections: Mapping[str, Any] | None = None
    model: str
    #: Changes whenever the summarizer is told something else.
    prompt_version: str | None = None
    #: Of all its model calls: tokens in and out.
    usage: Usage = field(default_factory=Usage)
    #: In US dollars; None where a price is missing.
    cost: float | None = None
    #: What was carried over, put back and left out.
    report: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """A summary as it is stored."""

    id: str
    #: The first and the last place that it covers.
    from_seq: int
    to_seq: int
    content: str
    model: str
    prompt_version: str | None
    usage: Usage | None
    cost: float | None
    #: What was carried over, put back and left out.
    report: Mapping[str, Any] | None
    #: The summary that it took the place of.
    previous_id: str | None
    created_at: datetime
    #: When somebody took it back.
    restored_at: datetime | None
    #: Models read this one.
    is_current: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SummaryDefaults:
    """What holds for every agent that says nothing else."""

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
    """Whatever can write a summary."""

    async def summarize(self, draft: Draft) -> NewSummary:
        """The next summary. Raises `ModelError` where there is none that can be used."""
        ...


class Summarized(Protocol):
    """An agent, as far as summaries of its threads go."""

    def summarizer(self, defaults: SummaryDefaults) -> Summarizer:
        """Who writes them."""
        ...

    def water_marks(self, defaults: SummaryDefaults) -> WaterMarks:
        """When its threads get one, and down to where."""
        ...
