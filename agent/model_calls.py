"""The model calls of a run: each is asked once, and journalled before its tools start.

What stays true: a call that an earlier attempt finished is taken out of the journal. The last one,
which asks for no tool, is journalled with the commit of its answer: that costs no transaction of its own.
"""

from dataclasses import dataclass

import structlog

from agent.chat_messages import request_digest
from agent.journal import make_reply_storable, model_step, tool_intent
from agent.models.protocol import ModelReply, ModelRequest, StreamRestarted, TextDelta
from agent.models.token_counter import estimate_usage
from agent.run_state import RunState
from conversation.errors import ModelError
from conversation.step import Step

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class ModelCalls:
    """The model calls of one run."""

    state: RunState
    #: The request of the call that is under way.
    pending_request: ModelRequest | None = None

    async def next_reply(self, request: ModelRequest) -> Step:
        """The step of the next reply: out of the journal if it is there, else of a model call."""
        digest = request_digest(request)
        index = self.state.take_index()
        journalled_step = self.state.find_final_step(index)
        if journalled_step is not None:
            if journalled_step.request_digest != digest:
                _log.warning("step_request_changed", turn=self.state.claimed.id, step=index)
            self.state.transcript.spend(journalled_step.usage, journalled_step.cost)
            return journalled_step
        reply = make_reply_storable(await self._call_model(request))
        self.pending_request = None
        self.state.transcript.spend(reply.usage, reply.cost)
        step = model_step(index, reply, digest)
        if reply.tool_calls:
            intents = [tool_intent(index + 1 + n, call) for n, call in enumerate(reply.tool_calls)]
            await self.state.dependencies.journal.record([step, *intents])
        return step

    async def _call_model(self, request: ModelRequest) -> ModelReply:
        self.pending_request = request
        try:
            return await self._stream_reply(request)
        except ModelError:
            # The provider said no: there is nothing to pay for.
            self.pending_request = None
            raise

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
            raise ModelError("stream_interrupted", "the model's stream ended without an answer", retryable=True)
        return reply

    def charge_interrupted_call(self) -> None:
        """Charge an estimate for an interrupted model call: it costs money, and no provider counts it."""
        if self.pending_request is not None:
            transcript = self.state.transcript
            transcript.spend(estimate_usage(self.pending_request, transcript.partial_text), None)
            self.pending_request = None
