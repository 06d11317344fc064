"""The built-in summarizer: has a model write the next summary of a thread, and checks it.

What stays true: what comes out of here is in sections, within its bound, and holds every open task
and preference that is not over; an answer that cannot be used is asked for once more, then it is an
error and nothing else. A request never holds more than its model takes: what is covered goes in parts. Patterns
go over what was said in another thread than the event loop's, piece by piece: see `conversation/long_text.py`.
"""

import json
from asyncio import to_thread
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog

from agent.models.capabilities import capabilities_of
from agent.models.protocol import Model, ModelReply, ModelRequest
from agent.models.spending import estimate_usage
from agent.summaries.check import Report, add_missing, check_summary
from agent.summaries.parts import Part, SummaryParts
from agent.summaries.prompt import PURPOSE, comparison_messages, prompt_version, retry_messages, summary_messages
from agent.summaries.sections import InvalidSections, SummarySections, entries_of, parse_json_object
from agent.window.fitting import size_of
from conversation.errors import ModelError
from conversation.message import Usage
from conversation.summary import Draft, NewSummary

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSummarizer:
    """A summarizer that has a model write summaries."""

    model: Model
    model_name: str
    #: Characters of a summary, at most.
    max_chars: int
    #: Whether the model is asked if its summary is true to what it covers.
    is_checked: bool = False
    purpose: str = PURPOSE
    timeout_seconds: float = 120
    max_attempts: int = 4
    #: As the model is asked beside the messages: its account above all.
    parameters: Mapping[str, Any] = field(default_factory=dict, repr=False)
    #: Tokens, and US dollars, that the model calls of one summary may use together; None means no limit.
    max_tokens: int | None = None
    max_cost: float | None = None

    async def summarize(self, draft: Draft) -> NewSummary:
        """Write the next summary. Raises `ModelError`, also where two answers in a row cannot be used."""
        previous_sections = _previous_sections(draft)
        model_calls = _ModelCalls(self)
        capabilities = await capabilities_of(self.model, self.model_name)
        parts = SummaryParts(draft.covered_messages, capabilities.max_input_tokens)
        sections, report = await model_calls.write_parts(previous_sections, parts)
        _log.info("summary_written", thread_key=draft.thread_key, to_seq=draft.to_seq, **report.counts())
        return NewSummary(
            content=sections.render(),
            sections=sections.to_json(),
            model=model_calls.model_name,
            prompt_version=prompt_version(self.purpose, self.max_chars),
            usage=model_calls.usage,
            cost=model_calls.cost,
            report=report.to_json(),
        )


def _previous_sections(draft: Draft) -> SummarySections:
    """The summary before; one that was imported, or written by hand, may be text alone."""
    try:
        return SummarySections.from_json(draft.previous_sections)
    except InvalidSections:
        return SummarySections.from_text(draft.previous_content)


@dataclass(slots=True)
class _ModelCalls:
    """The model calls of one summary, and what they cost together."""

    summarizer: ModelSummarizer
    usage: Usage = field(default_factory=Usage)
    cost: float | None = 0.0
    model_name: str = ""

    async def write_parts(
        self, previous_sections: SummarySections, parts: SummaryParts
    ) -> tuple[SummarySections, Report]:
        """Have a summary written part by part, of as much at a time as its model takes."""
        sections, report = previous_sections, Report()
        while (part := await to_thread(self._take, parts, sections)) is not None:
            try:
                sections, part_report = await self._write_part(sections, part)
            except ModelError as error:
                if error.kind != "context_length" or not parts.put_back_smaller(part):
                    raise
            else:
                report += part_report
        return sections, report

    def _take(self, parts: SummaryParts, sections: SummarySections) -> Part | None:
        return parts.take(self._prompt_tokens(sections))

    async def _write_part(self, previous_sections: SummarySections, part: Part) -> tuple[SummarySections, Report]:
        sections, report = await self._write(previous_sections, part)
        if self.summarizer.is_checked:
            sections, report = await self._compare(previous_sections, part, sections, report)
        return sections, report

    def _prompt_tokens(self, previous_sections: SummarySections) -> int:
        """The tokens, about, of a request without what it covers."""
        summarizer = self.summarizer
        messages = summary_messages(summarizer.purpose, previous_sections, (), max_chars=summarizer.max_chars)
        return size_of(json.dumps(messages, ensure_ascii=False))

    async def _write(self, previous_sections: SummarySections, part: Part) -> tuple[SummarySections, Report]:
        """Have a usable summary written. An unusable answer is sent back with the reason, once."""
        messages = await to_thread(
            summary_messages,
            self.summarizer.purpose,
            previous_sections,
            part.messages,
            max_chars=self.summarizer.max_chars,
            shown_chars=part.shown_chars,
        )
        reply = await self._call_model(messages)
        self.model_name = reply.model
        try:
            return await to_thread(self._check_reply, reply, previous_sections, part)
        except InvalidSections as error:
            problem = "it was cut at the token limit; write less" if reply.is_truncated else str(error)
        reply = await self._call_model([*messages, *retry_messages(reply.content, problem)])
        try:
            return await to_thread(self._check_reply, reply, previous_sections, part)
        except InvalidSections as error:
            raise ModelError("summary_unusable", f"twice: {error}", retryable=True) from None

    def _check_reply(
        self, reply: ModelReply, previous_sections: SummarySections, part: Part
    ) -> tuple[SummarySections, Report]:
        """Parse and check a reply. Raises `InvalidSections`."""
        summary_json = parse_json_object(reply.content)
        sections = SummarySections.from_json(summary_json)
        if sections.is_empty:
            raise InvalidSections("it says nothing")
        closed_entries = entries_of("closed", summary_json.get("closed"))
        left_out = entries_of("left_out", summary_json.get("left_out"))
        sections, report = check_summary(
            sections,
            closed_entries,
            previous_sections,
            part.messages,
            max_chars=self.summarizer.max_chars,
            left_out=left_out,
            shown_chars=part.shown_chars,
        )
        length = len(sections.render())
        if length > self.summarizer.max_chars:
            raise InvalidSections(f"it has {length} characters, and {self.summarizer.max_chars} fit")
        return sections, report

    async def _compare(
        self, previous_sections: SummarySections, part: Part, sections: SummarySections, report: Report
    ) -> tuple[SummarySections, Report]:
        """Compare the summary with the messages, and add open tasks that the model found missing."""
        messages = await to_thread(
            comparison_messages, previous_sections, part.messages, sections, shown_chars=part.shown_chars
        )
        judgement = self._parse_judgement(await self._call_model(messages))
        if judgement.get("ok") is not True:
            raise ModelError("summary_untrue", "the check says that it is not what was said", retryable=True)
        missing = entries_of("missing", judgement.get("missing"))
        return await to_thread(
            add_missing,
            sections,
            report,
            missing,
            previous_sections,
            part.messages,
            max_chars=self.summarizer.max_chars,
        )

    def _parse_judgement(self, reply: ModelReply) -> Mapping[str, Any]:
        try:
            judgement = parse_json_object(reply.content)
            entries_of("missing", judgement.get("missing"))
        except InvalidSections as error:
            raise ModelError("summary_untrue", f"the check cannot be read: {error}", retryable=True) from None
        return judgement

    async def _call_model(self, messages: Sequence[Mapping[str, Any]]) -> ModelReply:
        request = ModelRequest(
            model=self.summarizer.model_name,
            messages=messages,
            parameters=self.summarizer.parameters,
            timeout_seconds=self.summarizer.timeout_seconds,
            max_attempts=self.summarizer.max_attempts,
        )
        self._check_limits(request)
        try:
            reply = await self.summarizer.model.complete(request)
        finally:
            self._spend(request.meter.usage, request.meter.cost)
        self._spend(reply.usage, reply.cost)
        return reply

    def _spend(self, usage: Usage, cost: float | None) -> None:
        self.usage += usage
        self.cost = None if self.cost is None or cost is None else self.cost + cost

    def _check_limits(self, request: ModelRequest) -> None:
        """Raise `ModelError` for a call that would bring the summary above its limits: it is never made."""
        max_tokens, max_cost = self.summarizer.max_tokens, self.summarizer.max_cost
        tokens = self.usage.total_tokens + estimate_usage(request, "").total_tokens
        if max_tokens is not None and tokens > max_tokens:
            raise ModelError("summary_token_limit", f"{tokens} tokens, and {max_tokens} are allowed", retryable=False)
        if max_cost is not None and self.cost is not None and self.cost >= max_cost:
            raise ModelError("summary_cost_limit", f"${self.cost:g} of ${max_cost:g} are spent", retryable=False)
