"""The built-in summarizer: has a model write the next summary of a thread, and checks it.

What stays true: what comes out of here is in sections, within its bound, and holds every open task
and preference that is not over; an answer that cannot be used is asked for once more, then it is an
error and nothing else.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog

from agent.models.protocol import Model, ModelReply, ModelRequest
from agent.summaries.check import Report, checked, with_missing
from agent.summaries.prompt import PURPOSE, check_messages, prompt_version, repair_messages, summary_messages
from agent.summaries.sections import NotSections, Sections, entries_of, parsed
from conversation.errors import ModelError
from conversation.message import Message, Usage
from conversation.summary import Draft, NewSummary

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSummarizer:
    """Has a model write summaries."""

    model: Model
    model_name: str
    #: Characters of a summary, at most.
    max_chars: int
    #: Whether the model is asked if its summary is true to what it covers.
    is_checked: bool = False
    purpose: str = PURPOSE
    timeout_seconds: float = 120
    max_attempts: int = 4

    async def summarize(self, draft: Draft) -> NewSummary:
        """The next summary. Raises `ModelError`, also where two answers in a row cannot be used."""
        previous = _previous(draft)
        asking = _Asking(self)
        written, report = await asking.written(previous, draft.covered_messages)
        if self.is_checked:
            written, report = await asking.compared(previous, draft.covered_messages, written, report)
        _log.info("summary_written", thread_key=draft.thread_key, to_seq=draft.to_seq, **report.counts())
        return NewSummary(
            content=written.render(),
            sections=written.to_json(),
            model=asking.model_name,
            prompt_version=prompt_version(self.purpose, self.max_chars),
            usage=asking.usage,
            cost=asking.cost,
            report=report.to_json(),
        )


def _previous(draft: Draft) -> Sections:
    """The summary before; one that was imported, or written by hand, may be text alone."""
    try:
        return Sections.from_json(draft.previous_sections)
    except NotSections:
        return Sections.of_text(draft.previous_content)


@dataclass(slots=True)
class _Asking:
    """The model calls of one summary, and what they cost together."""

    by: ModelSummarizer
    usage: Usage = field(default_factory=Usage)
    cost: float | None = 0.0
    model_name: str = ""

    async def written(self, previous: Sections, covered: Sequence[Message]) -> tuple[Sections, Report]:
        """A summary that can be used. An answer that cannot be is told why, once."""
        messages = summary_messages(self.by.purpose, previous, covered, max_chars=self.by.max_chars)
        reply = await self._reply(messages)
        self.model_name = reply.model
        try:
            return self._usable(reply, previous, covered)
        except NotSections as error:
            problem = str(error)
        reply = await self._reply([*messages, *repair_messages(reply.content, problem)])
        try:
            return self._usable(reply, previous, covered)
        except NotSections as error:
            raise ModelError("summary_unusable", f"twice: {error}", retryable=True) from None

    def _usable(
        self, reply: ModelReply, previous: Sections, covered: Sequence[Message]
    ) -> tuple[Sections, Report]:
        """What the reply says, checked. Raises `NotSections`."""
        said = parsed(reply.content)
        written = Sections.from_json(said)
        if written.is_empty:
            raise NotSections("it says nothing")
        closed = entries_of("closed", said.get("closed"))
        left_out = entries_of("left_out", said.get("left_out"))
        written, report = checked(
            written, closed, previous, covered, max_chars=self.by.max_chars, left_out=left_out
        )
        length = len(written.render())
        if length > self.by.max_chars:
            raise NotSections(f"it has {length} characters, and {self.by.max_chars} fit")
        return written, report

    async def compared(
        self, previous: Sections, covered: Sequence[Message], written: Sections, report: Report
    ) -> tuple[Sections, Report]:
        """The summary with the open tasks that the model found missing."""
        said = self._judgement(await self._reply(check_messages(previous, covered, written)))
        if said.get("ok") is not True:
            raise ModelError("summary_untrue", "the check says that it is not what was said", retryable=True)
        missing = entries_of("missing", said.get("missing"))
        return with_missing(written, report, missing, previous, covered, max_chars=self.by.max_chars)

    def _judgement(self, reply: ModelReply) -> Mapping[str, Any]:
        try:
            said = parsed(reply.content)
            entries_of("missing", said.get("missing"))
        except NotSections as error:
            raise ModelError("summary_untrue", f"the check cannot be read: {error}", retryable=True) from None
        return said

    async def _reply(self, messages: Sequence[Mapping[str, Any]]) -> ModelReply:
        reply = await self.by.model.complete(
            ModelRequest(
                model=self.by.model_name,
                messages=messages,
                timeout_seconds=self.by.timeout_seconds,
                max_attempts=self.by.max_attempts,
            )
        )
        self.usage += reply.usage
        self.cost = None if self.cost is None or reply.cost is None else self.cost + reply.cost
        return reply
