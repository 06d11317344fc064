"""The loop: ask the model, run its tools, ask again, until it answers or a limit is hit.

What stays true: a model or tool call that finished is in the journal and is never repeated on
resume; the intent of a tool call is in the journal before the tool starts. However a run ends, its
messages so far are kept, closed.
"""

import asyncio
from datetime import UTC, datetime, timedelta

from agent.agent import Agent
from agent.dependencies import RunDependencies
from agent.events import MessageAdded
from agent.files.token_budget import FileTokenBudget
from agent.limits import TurnLimits
from agent.model_calls import ModelCalls
from agent.model_view import ModelView
from agent.run_state import RunState
from agent.tool_calls import ToolCalls
from conversation.errors import Fault, FileStoreUnavailable, ModelError, ToolServerUnavailable
from conversation.replay import assistant_message, tool_calls_of
from conversation.step import Step
from conversation.turn import Cancelled, ClaimedTurn, Completed, Ending, Failed, RetryLater, TurnError


class Run:
    """The run of an agent for one attempt at a turn."""

    def __init__(self, agent: Agent, claimed: ClaimedTurn, dependencies: RunDependencies) -> None:
        self.agent = agent
        self.claimed = claimed
        self._limits = TurnLimits(agent, claimed, dependencies.max_attempts)
        self._state = RunState(agent, claimed, dependencies)
        self._transcript = self._state.transcript
        self._view = ModelView(self._state)
        self._model_calls = ModelCalls(self._state)
        self._tool_calls = ToolCalls(self._state)

    async def run(self) -> Ending:
        """Run to an ending. Cancellation and `LeaseLost` pass through: see `end_cancelled`."""
        seconds = self._limits.remaining_seconds
        self._state.deadline = datetime.now(UTC) + timedelta(seconds=seconds)
        try:
            async with asyncio.timeout(seconds) as time_limit:
                return await self._run_model_loop()
        except TimeoutError:
            if not time_limit.expired():
                raise
            return self._end_timed_out()
        except ModelError as error:
            turn_error = TurnError("model_error", f"{error.kind}: {error}", error.retryable, error.fault)
            return self._retry_later(turn_error, error.retry_after_seconds or 0)
        except FileStoreUnavailable as error:
            return self._retry_later(
                TurnError("file_store_unavailable", str(error), retryable=True, fault=Fault.OPERATOR)
            )
        except ToolServerUnavailable as error:
            return self._retry_later(
                TurnError("tool_server_unavailable", str(error), retryable=True, fault=Fault.OPERATOR)
            )

    def end_cancelled(self) -> Cancelled:
        """End a run that was cancelled: all of its messages so far are kept, closed."""
        self._model_calls.charge_interrupted_call()
        messages = self._transcript.close(source=self._state.source)
        return Cancelled(messages=messages, usage=self._transcript.usage, cost=self._transcript.cost)

    def end_failed(self, error: TurnError) -> Failed:
        """End a run that failed: all of its messages so far are kept, closed."""
        messages = self._transcript.close(source=self._state.source)
        return Failed(error=error, messages=messages, usage=self._transcript.usage, cost=self._transcript.cost)

    async def _run_model_loop(self) -> Ending:
        await self._view.load_window()
        tool_file_budget = FileTokenBudget(self.agent.max_file_tokens)
        for _ in range(self.agent.max_steps):
            token_error = self._limits.token_error(self._transcript.usage)
            if token_error is not None:
                return self.end_failed(token_error)
            await self._state.load_tools()
            reply = await self._model_calls.next_reply(self._view.build_request())
            if not tool_calls_of(reply):
                return self._complete(reply)
            tool_messages = await self._tool_calls.run_tools(reply)
            await self._view.show_files(tool_messages, tool_file_budget)
        return self.end_failed(self._limits.step_error())

    def _complete(self, reply: Step) -> Completed:
        answer = assistant_message(reply, self._state.source)
        self._transcript.partial_text = ""
        self._state.emit(MessageAdded(answer))
        return Completed(
            messages=(*self._transcript.messages, answer),
            steps=(reply,),
            usage=self._transcript.usage,
            cost=self._transcript.cost,
        )

    def _end_timed_out(self) -> Failed:
        is_model_slow = self._model_calls.pending_request is not None
        self._model_calls.charge_interrupted_call()
        return self.end_failed(self._limits.timeout_error(Fault.PROVIDER if is_model_slow else Fault.TOOL))

    def _retry_later(self, error: TurnError, requested_seconds: float = 0) -> RetryLater | Failed:
        """Retry the turn later from its journal, since its model or the file store is away, or fail it."""
        delay = self._limits.retry_delay(requested_seconds) if error.retryable else None
        return self.end_failed(error) if delay is None else RetryLater(after=delay, error=error)
