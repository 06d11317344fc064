"""The loop: ask the model, run its tools, ask again, until it answers or a limit is hit.

What stays true: a model or tool call that finished is in the journal and is never repeated on
resume; the intent of a tool call is in the journal before the tool starts. The last model call is
journalled with the commit of its answer, which costs no transaction of its own.
"""

import asyncio
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog

from agent.agent import Agent
from agent.chat_messages import build_messages, request_digest
from agent.dependencies import RunDependencies
from agent.events import Event, MessageAdded, ToolFinished, ToolStarted
from agent.files.thread_files import ThreadFiles
from agent.files.token_budget import FileTokenBudget
from agent.journal import (
    JournalledResult,
    assistant_message,
    ending_without_run,
    make_reply_storable,
    model_step,
    reply_of,
    tool_intent,
    tool_message,
    tool_result_of,
    tool_step,
)
from agent.models.capabilities import capabilities_of
from agent.models.protocol import ModelReply, ModelRequest, StreamRestarted, TextDelta
from agent.models.token_counter import TokenCounter, estimate_usage
from agent.tools.result import ToolResult, failure
from agent.tools.run_context import RunContext
from agent.transcript import Transcript
from conversation.attachment import Attachment
from conversation.errors import Fault, FileRejected, FileStoreUnavailable, LimitReached, ModelError
from conversation.message import Message, ToolCall
from conversation.step import Step
from conversation.turn import Cancelled, ClaimedTurn, Completed, Ending, Failed, RetryLater, TurnError
from conversation.window import fit_into_tokens, start_at_turn_boundary

#: What the model reads of a call that had begun when its process died.
UNKNOWN_RESULT = failure(
    "Unknown",
    "this call had started when its worker died: it may or may not have taken effect. "
    "Find out before you do it again.",
    outcome="unknown",
)
#: Seconds before a turn whose model is away is tried again; doubled each time, and spread over the
#: second half of that time, so that turns which failed together do not come back together.
RETRY_FIRST_SECONDS = 5.0
RETRY_MAX_SECONDS = 300.0

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Run:
    """The run of an agent for one attempt at a turn."""

    agent: Agent
    claimed: ClaimedTurn
    dependencies: RunDependencies
    transcript: Transcript = field(default_factory=Transcript)
    _index: int = 0
    _parts: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    _deadline: datetime | None = None
    #: The model call that is under way.
    _pending_request: ModelRequest | None = None

    async def run(self) -> Ending:
        """Run to an ending. Cancellation and `LeaseLost` pass through: see `end_cancelled`."""
        ending = ending_without_run(self.claimed)
        if ending is not None:
            return ending
        seconds = self._remaining_seconds()
        self._deadline = datetime.now(UTC) + timedelta(seconds=seconds)
        try:
            async with asyncio.timeout(seconds) as time_limit:
                return await self._run_model_loop()
        except TimeoutError:
            if not time_limit.expired():
                raise
            reason = self._timeout_error()
            self._charge_interrupted_call()
            return self._fail(reason)
        except ModelError as error:
            turn_error = TurnError("model_error", f"{error.kind}: {error}", error.retryable, error.fault)
            return self._retry_later(turn_error, error)
        except FileStoreUnavailable as error:
            return self._retry_later(
                TurnError("file_store_unavailable", str(error), retryable=True, fault=Fault.OPERATOR)
            )

    def end_cancelled(self) -> Cancelled:
        """End a run that was cancelled: all of its messages so far are kept, closed."""
        self._charge_interrupted_call()
        messages = self.transcript.close(source=self._source())
        return Cancelled(messages=messages, usage=self.transcript.usage, cost=self.transcript.cost)

    def end_failed(self, error: TurnError) -> Failed:
        """End a run whose agent broke: all of its messages so far are kept, closed."""
        return self._fail(error)

    async def _run_model_loop(self) -> Ending:
        window = await self._fit_window()
        await self._add_file_parts(window, FileTokenBudget(self.agent.max_file_tokens))
        tool_budget = FileTokenBudget(self.agent.max_file_tokens)
        for _ in range(self.agent.max_steps):
            if self._is_out_of_tokens():
                return self._fail(
                    TurnError("token_limit", f"the turn used {self._used_tokens()} tokens", fault=Fault.MODEL)
                )
            reply, step = await self._next_reply(window)
            if not reply.tool_calls:
                return self._complete(reply, step)
            tool_messages = await self._run_tools(reply)
            await self._add_file_parts(tool_messages, tool_budget)
        return self._fail(
            TurnError("step_limit", f"no answer after {self.agent.max_steps} model calls", fault=Fault.MODEL)
        )

    async def _fit_window(self) -> Sequence[Message]:
        """The part of the history that the model sees: the same for every call of this turn."""
        window = start_at_turn_boundary(self.claimed.window)
        limit = self.agent.max_window_tokens
        if limit is None:
            return window
        counter = TokenCounter(self.dependencies.model_name)
        # The first count loads a tokenizer: tens of megabytes, and never on the loop.
        return await asyncio.to_thread(fit_into_tokens, window, limit, counter.count)

    async def _next_reply(self, window: Sequence[Message]) -> tuple[ModelReply, Step]:
        """The next reply: out of the journal if it is there, else of a model call."""
        request = self._build_request(window)
        digest = request_digest(request)
        index = self._take_index()
        journalled_step = self.claimed.steps.get(index)
        if journalled_step is not None and journalled_step.is_final:
            if journalled_step.request_digest != digest:
                _log.warning("step_request_changed", turn=self.claimed.id, step=index)
            reply = reply_of(journalled_step)
            self.transcript.spend(reply.usage, reply.cost)
            return reply, journalled_step
        reply = make_reply_storable(await self._call_model(request))
        self._pending_request = None
        self.transcript.spend(reply.usage, reply.cost)
        step = model_step(index, reply, digest)
        if reply.tool_calls:
            intents = [tool_intent(index + 1 + n, call) for n, call in enumerate(reply.tool_calls)]
            await self.dependencies.journal.record([step, *intents])
        return reply, step

    def _build_request(self, window: Sequence[Message]) -> ModelRequest:
        return ModelRequest(
            model=self.dependencies.model_name,
            messages=build_messages(
                system_texts=[self.agent.purpose, *self.claimed.context],
                window=window,
                new_messages=self.transcript.messages,
                attachment_parts=self._parts,
            ),
            tools=self.agent.toolbox.declarations(),
            parameters=self.agent.request_parameters(),
            fallbacks=self.agent.fallbacks,
            timeout_seconds=self.agent.model_timeout_seconds,
            max_attempts=self.agent.model_max_attempts,
        )

    async def _call_model(self, request: ModelRequest) -> ModelReply:
        self._pending_request = request
        try:
            return await self._stream_reply(request)
        except ModelError:
            # The provider said no: there is nothing to pay for.
            self._pending_request = None
            raise

    async def _stream_reply(self, request: ModelRequest) -> ModelReply:
        if self.dependencies.emit is None and not self.agent.streams:
            return await self.dependencies.model.complete(request)
        reply: ModelReply | None = None
        async for piece in self.dependencies.model.stream(request):
            match piece:
                case TextDelta(text=text):
                    self.transcript.partial_text += text
                    self._emit(piece)
                case StreamRestarted():
                    self.transcript.partial_text = ""
                    self._emit(piece)
                case ModelReply():
                    reply = piece
        if reply is None:
            raise ModelError(
                "stream_interrupted", "the model's stream ended without an answer", retryable=True
            )
        return reply

    async def _add_file_parts(self, messages: Sequence[Message], budget: FileTokenBudget) -> None:
        """Let the model see the files of these messages from now on."""
        if not any(message.attachments for message in messages):
            return
        capabilities = self.agent.capabilities
        if capabilities is None:
            capabilities = await capabilities_of(self.dependencies.model, self.dependencies.model_name)
        new_parts = await self.dependencies.attachments.build_parts(
            self.claimed.tenant, messages, capabilities, budget
        )
        self._parts = {**self._parts, **new_parts}

    async def _run_tools(self, reply: ModelReply) -> Sequence[Message]:
        """Run the tools that one reply asks for, all at once. Returns their messages."""
        assistant = self._assistant_message(reply)
        self.transcript.open_block(assistant)
        self._emit(MessageAdded(assistant))
        indexed_calls = [(self._take_index(), call) for call in assistant.tool_calls]
        try:
            async with asyncio.TaskGroup() as group:
                for index, call in indexed_calls:
                    group.create_task(self._run_tool_call(index, call))
        except ExceptionGroup as errors:
            # One write that was refused is why the others were stopped: raise that, and only that.
            raise errors.exceptions[0] from None
        tool_messages = self.transcript.close_block()
        for message in tool_messages:
            self._emit(MessageAdded(message))
        return tool_messages

    async def _run_tool_call(self, index: int, call: ToolCall) -> None:
        """Run one tool call, or take its result out of the journal; of an interrupted one it is unknown."""
        journalled_step = self.claimed.steps.get(index)
        # A call that was closed by its turn's end has no result: its outcome is unknown.
        if journalled_step is not None and journalled_step.is_final and journalled_step.result is not None:
            result = tool_result_of(journalled_step)
        else:
            self._emit(ToolStarted(call))
            result = await self._store_files(
                await self._call_tool(index, call, interrupted=journalled_step is not None)
            )
            await self.dependencies.journal.record([tool_step(index, call, result)])
            self._emit(ToolFinished(call, result.content))
        self.transcript.add_result(tool_message(call.id, call.name, result))

    async def _store_files(self, tool_result: ToolResult) -> JournalledResult:
        """Store the files of a result, which the journal and the tool's message then point to."""
        attachments: Sequence[Attachment] = ()
        if tool_result.files:
            unstored_files = [file.to_attachment() for file in tool_result.files]
            try:
                attachments = await self.dependencies.attachments.store_all(
                    self.claimed.tenant, unstored_files
                )
            except (FileRejected, LimitReached) as error:
                # The tool did its work, but what it brought may not be kept: the model can do without.
                return JournalledResult(failure(type(error).__name__, str(error)).content, "failed")
        return JournalledResult(tool_result.content, tool_result.outcome, tuple(attachments))

    async def _call_tool(self, index: int, call: ToolCall, *, interrupted: bool) -> ToolResult:
        tool = self.agent.toolbox.get(call.name)
        if interrupted and not (tool is not None and tool.idempotent):
            return UNKNOWN_RESULT
        context = RunContext(
            tenant=self.claimed.tenant,
            thread_id=self.claimed.thread_id,
            turn_id=self.claimed.id,
            call_id=call.id,
            # By its index, which a resume finds again: ids of calls may repeat within a turn.
            idempotency_key=f"{self.claimed.id}-{index}",
            user=self.claimed.metadata.get("user"),
            metadata=self.claimed.metadata,
            attempt=self.claimed.attempt,
            deadline=self._deadline,
            thread_files=ThreadFiles(
                self.dependencies.attachments, self.claimed.tenant, self.claimed.thread_id, self._turn_files
            ),
        )
        return await self.agent.toolbox.run(
            call.name, call.arguments, context, executor=self.dependencies.tool_threads
        )

    def _complete(self, reply: ModelReply, step: Step) -> Completed:
        answer = self._assistant_message(reply)
        self.transcript.partial_text = ""
        self._emit(MessageAdded(answer))
        return Completed(
            messages=(*self.transcript.messages, answer),
            steps=(step,),
            usage=self.transcript.usage,
            cost=self.transcript.cost,
        )

    def _fail(self, error: TurnError) -> Failed:
        messages = self.transcript.close(source=self._source())
        return Failed(error=error, messages=messages, usage=self.transcript.usage, cost=self.transcript.cost)

    def _retry_later(self, turn_error: TurnError, model_error: ModelError | None = None) -> Ending:
        """Retry the turn later from its journal, since its model or the file store is away, or fail it."""
        retries = self.claimed.retries
        if not turn_error.retryable or retries + 1 >= (
            self.agent.max_turn_attempts or self.dependencies.max_attempts
        ):
            return self._fail(turn_error)
        max_wait_seconds = min(RETRY_FIRST_SECONDS * 2 ** min(retries, 16), RETRY_MAX_SECONDS)
        wait_seconds = max_wait_seconds * random.uniform(0.5, 1)  # noqa: S311 - spreads load, guards nothing
        requested_seconds = (model_error.retry_after_seconds if model_error is not None else None) or 0
        return RetryLater(after=timedelta(seconds=max(wait_seconds, requested_seconds)), error=turn_error)

    def _remaining_seconds(self) -> float:
        """The seconds that this attempt may still take."""
        deadline_seconds = self.claimed.remaining_seconds
        limit = self.agent.max_turn_seconds
        return limit if deadline_seconds is None else min(limit, deadline_seconds)

    def _timeout_error(self) -> TurnError:
        fault = Fault.PROVIDER if self._pending_request is not None else Fault.TOOL
        limit = self.agent.max_turn_seconds
        if self._remaining_seconds() < limit:
            return TurnError("deadline", "the turn did not end before its deadline", fault=fault)
        return TurnError("time_limit", f"the turn took longer than {limit:g} seconds", fault=fault)

    def _charge_interrupted_call(self) -> None:
        """Charge an estimate for an interrupted model call: it costs money, and no provider counts it."""
        if self._pending_request is not None:
            self.transcript.spend(estimate_usage(self._pending_request, self.transcript.partial_text), None)
            self._pending_request = None

    def _assistant_message(self, reply: ModelReply) -> Message:
        return assistant_message(reply, self._source())

    def _source(self) -> dict[str, Any]:
        return {"agent": self.agent.name, "version": self.agent.version}

    def _turn_files(self) -> Sequence[Attachment]:
        return [file for message in self.transcript.messages for file in message.attachments]

    def _take_index(self) -> int:
        self._index += 1
        return self._index - 1

    def _used_tokens(self) -> int:
        return self.transcript.usage.total_tokens

    def _is_out_of_tokens(self) -> bool:
        limit = self.agent.max_turn_tokens
        return limit is not None and self._used_tokens() >= limit

    def _emit(self, event: Event) -> None:
        if self.dependencies.emit is not None:
            self.dependencies.emit(event)
