"""The model calls of a run: each is asked once, and journalled before its tools start.

What stays true: a call that an earlier attempt finished is taken out of the journal. The last one,
which asks for no tool, is journalled with the commit of its answer: that costs no transaction of its own.
Whatever a call cost is charged to the turn once, whether it came to a reply or not, and the journal says so.
"""

import time
from dataclasses import dataclass, field, replace

import structlog

from agent.chat_messages import request_digest
from agent.events import ReplyBegun
from agent.journal import make_reply_storable, model_step, tool_intent, unanswered_step
from agent.models.protocol import Meter, ModelReply, ModelRequest, StreamRestarted, TextDelta
from agent.models.spending import estimate_usage
from agent.run_state import RunState
from conversation.errors import ModelError
from conversation.step import Step
from conversation.transcript import reply_id

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _PendingCall:
    """A model call without a reply: under way, or refused and about to be asked again with less."""

    index: int
    request: ModelRequest
    digest: str
    #: What was spent on it so far.
    spent: Meter = field(default_factory=Meter)
    is_under_way: bool = False
    _began_at: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        """Seconds since it was asked first, in this run."""
        return time.monotonic() - self._began_at


@dataclass(slots=True)
class ModelCalls:
    """The model calls of one run."""

    state: RunState
    _pending: _PendingCall | None = None

    @property
    def is_asking(self) -> bool:
        """Whether a model is being asked."""
        return self._pending is not None and self._pending.is_under_way

    async def next_reply(self, request: ModelRequest) -> Step:
        """The step of the next reply: out of the journal if it is there, else of a model call.

        After a `ModelError` the same call may be asked again with another request.
        """
        digest = request_digest(request)
        index = self._pending.index if self._pending is not None else self.state.take_index()
        journalled_step = self.state.find_final_step(index)
        if journalled_step is not None:
            # A call that was decided after its turn ended is asked for by nobody: its step has no digest.
            if journalled_step.request_digest not in (digest, ""):
                _log.warning("step_request_changed", step=index)
            self.state.spend(journalled_step.usage, journalled_step.cost)
            self.state.take_call_indexes(journalled_step)
            return journalled_step
        pending = self._begin_call(index, request, digest)
        reply = make_reply_storable(await self._call_model(pending))
        self._pending = None
        pending.spent.add(reply.usage, reply.cost)
        reply = replace(reply, usage=pending.spent.usage, cost=pending.spent.cost)
        self.state.spend(reply.usage, reply.cost)
        step = model_step(index, reply, digest, pending.seconds)
        if reply.tool_calls:
            indexed_calls = zip(self.state.take_call_indexes(step), reply.tool_calls, strict=False)
            intents = [
                tool_intent(call_index, call, may_wait=self.state.may_wait(call.name))
                for call_index, call in indexed_calls
            ]
            await self.state.record([step, *intents])
        return step

    def charge_unanswered_call(self) -> tuple[Step, ...]:
        """Charge what was spent on a call that got no reply. Returns the step that says so, if there is one."""
        pending, self._pending = self._pending, None
        if pending is None:
            return ()
        if pending.is_under_way and not pending.request.meter.attempts:
            # It costs money, and its model's adapter counts nothing.
            pending.spent.add(estimate_usage(pending.request, self.state.transcript.partial_text), None)
        elif pending.is_under_way:
            pending.spent.add(pending.request.meter.usage, pending.request.meter.cost)
        if not pending.spent.usage.total_tokens:
            return ()
        self.state.spend(pending.spent.usage, pending.spent.cost)
        spent = pending.spent
        step = unanswered_step(pending.index, pending.request.model, pending.digest, usage=spent.usage, cost=spent.cost)
        return (self.state.own(replace(step, seconds=pending.seconds)),)

    def _begin_call(self, index: int, request: ModelRequest, digest: str) -> _PendingCall:
        pending = self._pending
        if pending is None:
            pending = _PendingCall(index, request, digest)
            earlier_step = self.state.find_unanswered_step(index)
            if earlier_step is not None and earlier_step.usage is not None:
                pending.spent.add(earlier_step.usage, earlier_step.cost)
        pending.request, pending.digest, pending.is_under_way = request, digest, True
        self._pending = pending
        self.state.transcript.partial_id = reply_id(self.state.claimed.id, index)
        self.state.emit(ReplyBegun(self.state.transcript.partial_id, index))
        return pending

    async def _call_model(self, pending: _PendingCall) -> ModelReply:
        try:
            reply = await self._ask_permitted(pending.request)
        except Exception as error:
            # It failed, and was not cut off: there is nothing to estimate.
            pending.is_under_way = False
            if isinstance(error, ModelError) and not error.retryable:
                # What a filter stopped, or what is void for another reason, is not kept as half an answer.
                self.state.transcript.partial_text = ""
            pending.spent.add(pending.request.meter.usage, pending.request.meter.cost)
            raise
        pending.spent.add(pending.request.meter.usage, pending.request.meter.cost)
        return reply

    async def _ask_permitted(self, request: ModelRequest) -> ModelReply:
        """Ask the model if its breaker permits it, and tell the breaker what came of it."""
        model = self.state.dependencies.model
        if request.breakers is None or getattr(model, "guards_itself", False):
            return await self._stream_reply(request)
        # Two models of one name may be two classes.
        name = f"{type(model).__module__}.{type(model).__qualname__}/{request.model}"
        permit = await request.breakers.admit(name, request.parameters)
        try:
            reply = await self._stream_reply(request)
        except ModelError as error:
            await permit.report_failure(error)
            raise
        await permit.report_success()
        return reply

    async def _stream_reply(self, request: ModelRequest) -> ModelReply:
        dependencies, transcript = self.state.dependencies, self.state.transcript
        if dependencies.emit is None and not self.state.agent.streams:
            return await dependencies.model.complete(request)
        reply: ModelReply | None = None
        async for piece in dependencies.model.stream(request):
            match piece:
                case TextDelta(text=text):
                    transcript.partial_text += text
                    self.state.emit(piece)
                case StreamRestarted():
                    transcript.partial_text = ""
                    self.state.emit(piece)
                case ModelReply():
                    reply = piece
        if reply is None:
            raise ModelError(
                "stream_interrupted", "the model's stream ended without an answer", retryable=True, is_ours=True
            )
        return reply
