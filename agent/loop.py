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
from agent.dependencies import Hands
from agent.events import Event, MessageAdded, ToolFinished, ToolStarted
from agent.files.thread_files import ThreadFiles
from agent.files.token_budget import FileRoom
from agent.journal import (
    JournalledResult,
    assistant_message,
    model_step,
    over_before_it_ran,
    reply_of,
    storable,
    tool_intent,
    tool_message,
    tool_result_of,
    tool_step,
)
from agent.models.capabilities import capabilities_of
from agent.models.protocol import ModelReply, ModelRequest, Restarted, TextDelta
from agent.models.token_counter import TokenCounter, estimated_usage
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
UNKNOWN = failure(
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
    """One attempt at one turn."""

    agent: Agent
    claimed: ClaimedTurn
    hands: Hands
    transcript: Transcript = field(default_factory=Transcript)
    _index: int = 0
    _parts: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    _deadline: datetime | None = None
    #: The model call that is under way.
    _asked: ModelRequest | None = None

    async def go(self) -> Ending:
        """Run to an ending. Cancellation and `LeaseLost` pass through: see `cancelled`."""
        over = over_before_it_ran(self.claimed)
        if over is not None:
            return over
        seconds = self._seconds()
        self._deadline = datetime.now(UTC) + timedelta(seconds=seconds)
        try:
            async with asyncio.timeout(seconds) as time_limit:
                return await self._converse()
        except TimeoutError:
            if not time_limit.expired():
                raise
            reason = self._time_is_over()
            self._settle_broken_call()
            return self._failed(reason)
        except ModelError as error:
            told = TurnError("model_error", f"{error.kind}: {error}", error.retryable, error.fault)
            return self._put_off(told, error)
        except FileStoreUnavailable as error:
            return self._put_off(
                TurnError("file_store_unavailable", str(error), retryable=True, fault=Fault.OPERATOR)
            )

    def cancelled(self) -> Cancelled:
        """What is kept when somebody stopped this run: all that was said, closed."""
        self._settle_broken_call()
        messages = self.transcript.closed(source=self._source())
        return Cancelled(messages=messages, usage=self.transcript.usage, cost=self.transcript.cost)

    def broken(self, error: TurnError) -> Failed:
        """What is kept when the agent itself broke: all that was said, closed."""
        return self._failed(error)

    async def _converse(self) -> Ending:
        window = await self._window()
        await self._show_files(window, FileRoom(self.agent.max_file_tokens))
        room_for_tools = FileRoom(self.agent.max_file_tokens)
        for _ in range(self.agent.max_steps):
            if self._tokens_used_up():
                return self._failed(
                    TurnError("token_limit", f"the turn used {self._tokens()} tokens", fault=Fault.MODEL)
                )
            reply, step = await self._ask(window)
            if not reply.tool_calls:
                return self._completed(reply, step)
            closing = await self._use_tools(reply)
            await self._show_files(closing, room_for_tools)
        return self._failed(
            TurnError("step_limit", f"no answer after {self.agent.max_steps} model calls", fault=Fault.MODEL)
        )

    async def _window(self) -> Sequence[Message]:
        """What the model sees of the history: the same for every call of this turn."""
        window = start_at_turn_boundary(self.claimed.window)
        limit = self.agent.max_window_tokens
        if limit is None:
            return window
        counter = TokenCounter(self.hands.model_name)
        # The first count loads a tokenizer: tens of megabytes, and never on the loop.
        return await asyncio.to_thread(fit_into_tokens, window, limit, counter.of)

    async def _ask(self, window: Sequence[Message]) -> tuple[ModelReply, Step]:
        """One model call, out of the journal if it is there."""
        request = self._request(window)
        digest = request_digest(request)
        index = self._take_index()
        known = self.claimed.steps.get(index)
        if known is not None and known.is_final:
            if known.request_digest != digest:
                _log.warning("step_request_changed", turn=self.claimed.id, step=index)
            reply = reply_of(known)
            self.transcript.spend(reply.usage, reply.cost)
            return reply, known
        reply = storable(await self._call_model(request))
        self._asked = None
        self.transcript.spend(reply.usage, reply.cost)
        step = model_step(index, reply, digest)
        if reply.tool_calls:
            intents = [tool_intent(index + 1 + n, call) for n, call in enumerate(reply.tool_calls)]
            await self.hands.journal.record([step, *intents])
        return reply, step

    def _request(self, window: Sequence[Message]) -> ModelRequest:
        return ModelRequest(
            model=self.hands.model_name,
            messages=build_messages(
                system_texts=[self.agent.purpose, *self.claimed.context],
                window=window,
                new=self.transcript.messages,
                attachment_parts=self._parts,
            ),
            tools=self.agent.toolbox.declarations(),
            parameters=self.agent.request_parameters(),
            fallbacks=self.agent.fallbacks,
            timeout_seconds=self.agent.model_timeout_seconds,
            max_attempts=self.agent.model_max_attempts,
        )

    async def _call_model(self, request: ModelRequest) -> ModelReply:
        self._asked = request
        try:
            return await self._reply_to(request)
        except ModelError:
            # The provider said no: there is nothing to pay for.
            self._asked = None
            raise

    async def _reply_to(self, request: ModelRequest) -> ModelReply:
        if self.hands.emit is None and not self.agent.streams:
            return await self.hands.model.complete(request)
        reply: ModelReply | None = None
        async for piece in self.hands.model.stream(request):
            match piece:
                case TextDelta(text=text):
                    self.transcript.partial_text += text
                    self._emit(piece)
                case Restarted():
                    self.transcript.partial_text = ""
                    self._emit(piece)
                case ModelReply():
                    reply = piece
        if reply is None:
            raise ModelError(
                "stream_interrupted", "the model's stream ended without an answer", retryable=True
            )
        return reply

    async def _show_files(self, messages: Sequence[Message], room: FileRoom) -> None:
        """Let the model see the files of these messages from now on."""
        if not any(message.attachments for message in messages):
            return
        takes = self.agent.capabilities
        if takes is None:
            takes = await capabilities_of(self.hands.model, self.hands.model_name)
        shown = await self.hands.attachments.parts(self.claimed.tenant, messages, takes, room)
        self._parts = {**self._parts, **shown}

    async def _use_tools(self, reply: ModelReply) -> Sequence[Message]:
        """Run the tools that one reply asks for, all at once. The messages that they came to."""
        assistant = self._assistant(reply)
        self.transcript.open_block(assistant)
        self._emit(MessageAdded(assistant))
        indexed = [(self._take_index(), call) for call in assistant.tool_calls]
        try:
            async with asyncio.TaskGroup() as group:
                for index, call in indexed:
                    group.create_task(self._use_tool(index, call))
        except ExceptionGroup as errors:
            # One write that was refused is why the others were stopped: say that, and only that.
            raise errors.exceptions[0] from None
        closing = self.transcript.close_block()
        for message in closing:
            self._emit(MessageAdded(message))
        return closing

    async def _use_tool(self, index: int, call: ToolCall) -> None:
        """One tool call: out of the journal, unknown, or run."""
        known = self.claimed.steps.get(index)
        # One that its turn's end closed has no result: nobody knows what it came to.
        if known is not None and known.is_final and known.result is not None:
            result = tool_result_of(known)
        else:
            self._emit(ToolStarted(call))
            result = await self._stored(await self._outcome(index, call, interrupted=known is not None))
            await self.hands.journal.record([tool_step(index, call, result)])
            self._emit(ToolFinished(call, result.content))
        self.transcript.result(tool_message(call.id, call.name, result))

    async def _stored(self, outcome: ToolResult) -> JournalledResult:
        """The result with its files stored: what the journal and the tool's message point to."""
        stored: Sequence[Attachment] = ()
        if outcome.files:
            brought = [file.attachment() for file in outcome.files]
            try:
                stored = await self.hands.attachments.store_all(self.claimed.tenant, brought)
            except (FileRejected, LimitReached) as error:
                # The tool did its work, but what it brought may not be kept: the model can do without.
                return JournalledResult(failure(type(error).__name__, str(error)).content, "failed")
        return JournalledResult(outcome.content, outcome.outcome, tuple(stored))

    async def _outcome(self, index: int, call: ToolCall, *, interrupted: bool) -> ToolResult:
        tool = self.agent.toolbox.get(call.name)
        if interrupted and not (tool is not None and tool.idempotent):
            return UNKNOWN
        context = RunContext(
            tenant=self.claimed.tenant,
            thread_id=self.claimed.thread_id,
            turn_id=self.claimed.id,
            call_id=call.id,
            # By its place, which a resume finds again: ids of calls may repeat within a turn.
            idempotency_key=f"{self.claimed.id}-{index}",
            user=self.claimed.metadata.get("user"),
            metadata=self.claimed.metadata,
            attempt=self.claimed.attempt,
            deadline=self._deadline,
            thread_files=ThreadFiles(
                self.hands.attachments, self.claimed.tenant, self.claimed.thread_id, self._brought
            ),
        )
        return await self.agent.toolbox.run(
            call.name, call.arguments, context, executor=self.hands.tool_threads
        )

    def _completed(self, reply: ModelReply, step: Step) -> Completed:
        answer = self._assistant(reply)
        self.transcript.partial_text = ""
        self._emit(MessageAdded(answer))
        return Completed(
            messages=(*self.transcript.messages, answer),
            steps=(step,),
            usage=self.transcript.usage,
            cost=self.transcript.cost,
        )

    def _failed(self, error: TurnError) -> Failed:
        messages = self.transcript.closed(source=self._source())
        return Failed(error=error, messages=messages, usage=self.transcript.usage, cost=self.transcript.cost)

    def _put_off(self, told: TurnError, error: ModelError | None = None) -> Ending:
        """What the turn needs is away: try it later, from its journal, or give up."""
        retries = self.claimed.retries
        if not told.retryable or retries + 1 >= (self.agent.max_turn_attempts or self.hands.max_attempts):
            return self._failed(told)
        longest = min(RETRY_FIRST_SECONDS * 2 ** min(retries, 16), RETRY_MAX_SECONDS)
        wait = longest * random.uniform(0.5, 1)  # noqa: S311 - spreads load, guards nothing
        asked = (error.retry_after_seconds if error is not None else None) or 0
        return RetryLater(after=timedelta(seconds=max(wait, asked)), error=told)

    def _seconds(self) -> float:
        """What is left of the time of this attempt."""
        left = self.claimed.remaining_seconds
        limit = self.agent.max_turn_seconds
        return limit if left is None else min(limit, left)

    def _time_is_over(self) -> TurnError:
        fault = Fault.PROVIDER if self._asked is not None else Fault.TOOL
        limit = self.agent.max_turn_seconds
        if self._seconds() < limit:
            return TurnError("deadline", "the turn did not end before its deadline", fault=fault)
        return TurnError("time_limit", f"the turn took longer than {limit:g} seconds", fault=fault)

    def _settle_broken_call(self) -> None:
        """A call that is broken off is paid for and never counted by its provider: estimate it."""
        if self._asked is not None:
            self.transcript.spend(estimated_usage(self._asked, self.transcript.partial_text), None)
            self._asked = None

    def _assistant(self, reply: ModelReply) -> Message:
        return assistant_message(reply, self._source())

    def _source(self) -> dict[str, Any]:
        return {"agent": self.agent.name, "version": self.agent.version}

    def _brought(self) -> Sequence[Attachment]:
        return [file for message in self.transcript.messages for file in message.attachments]

    def _take_index(self) -> int:
        self._index += 1
        return self._index - 1

    def _tokens(self) -> int:
        return self.transcript.usage.total_tokens

    def _tokens_used_up(self) -> bool:
        limit = self.agent.max_turn_tokens
        return limit is not None and self._tokens() >= limit

    def _emit(self, event: Event) -> None:
        if self.hands.emit is not None:
            self.hands.emit(event)
