"""The loop: ask the model, run its tools, ask again, until it answers or a limit is hit.

What stays true: a model or tool call that finished is in the journal and is never repeated on
resume; the intent of a tool call is in the journal before the tool starts. However a run ends, its
messages so far are kept, closed.
"""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

from agent.agent import Agent
from agent.call_decisions import CallDecisions
from agent.dependencies import RunDependencies
from agent.events import MessageAdded
from agent.files.token_budget import FileTokenBudget
from agent.limits import TurnLimits, find_token_error
from agent.model_calls import ModelCalls
from agent.model_view import ModelView
from agent.run_state import RunState
from agent.subagents import Subagents
from agent.tool_calls import NOT_RUN_RESULT, ToolCalls
from conversation.error_sentences import MODEL_SENTENCES, SENTENCES
from conversation.errors import Fault, FileStoreUnavailable, ModelError, ToolServerUnavailable
from conversation.exhaustion import Resource, resource_of
from conversation.replay import assistant_message, replay_transcript, tool_calls_of
from conversation.step import Step
from conversation.turn import (
    Cancelled,
    ClaimedTurn,
    Completed,
    Ending,
    Failed,
    HandOver,
    RetryLater,
    TurnError,
    Waiting,
)

#: Replies in a row whose tool calls were cut at the token limit, after which the turn ends: a model that was
#: told once and is cut again would be cut each time.
CUT_REPLIES_MAX = 2


class Run:
    """The run of an agent for one attempt at a turn."""

    def __init__(
        self, agent: Agent, claimed: ClaimedTurn, dependencies: RunDependencies, state: RunState | None = None
    ) -> None:
        """`state` is that of a run which is nested in another one."""
        self.agent = agent
        self.claimed = claimed
        self._limits = TurnLimits(agent, claimed, dependencies.max_attempts, dependencies.max_retry_seconds)
        state = state or RunState(agent, claimed, dependencies, is_steered=claimed.is_steered)
        self._state, self._transcript = state, state.transcript
        self._view = ModelView(state)
        self._model_calls = ModelCalls(state)
        self._subagents = Subagents(state, _create_nested)
        wait_seconds = agent.wait_expire_seconds or dependencies.wait_expire_seconds
        decisions = CallDecisions(claimed.pending, wait_seconds, names_by_step=state.outer is not None)
        self._tool_calls = ToolCalls(state, self._subagents, decisions)

    @property
    def model_calls(self) -> int:
        """The model calls of the turn so far, those of earlier attempts included."""
        return self._transcript.model_calls

    @property
    def tokens(self) -> int:
        """The tokens that the turn has used so far."""
        return self._transcript.usage.total_tokens

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
        except (ModelError, FileStoreUnavailable, ToolServerUnavailable) as error:
            if resource_of(error) not in (None, Resource.DISK):
                # It is there, and this process could not ask it.
                raise
            return self._end_without(error)

    async def run_nested(self) -> Completed | Failed | Waiting:
        """Run to an answer for the run that called this agent as a tool, or to what is in its way.

        What the whole turn has to wait for, a model that is away above all, passes through.
        """
        try:
            async with asyncio.timeout(self.agent.max_turn_seconds) as time_limit:
                return await self._run_model_loop()
        except TimeoutError:
            if not time_limit.expired():
                raise
            return self._end_timed_out()
        except ModelError as error:
            if error.retryable or resource_of(error) not in (None, Resource.DISK):
                raise
            return self.end_failed(self._describe(error))

    def charge_unanswered_calls(self) -> tuple[Step, ...]:
        """Charge what was spent on model calls that got no reply. Returns the steps that say so."""
        return (*self._model_calls.charge_unanswered_call(), *self._subagents.charge_unanswered_calls())

    def end_cancelled(self) -> Cancelled:
        """End a run that was cancelled: all of its messages so far are kept, closed."""
        return Cancelled(**self._close())

    def end_failed(self, error: TurnError) -> Failed:
        """End a run that failed: all of its messages so far are kept, closed."""
        return Failed(error=error, **self._close())

    def hand_over(self, error: TurnError | None = None) -> HandOver:
        """End a run whose process stops, perhaps since it lacks something: another one goes on from the journal."""
        return HandOver(steps=self.charge_unanswered_calls(), error=error)

    def wait_for_disk(self, error: TurnError) -> RetryLater | Failed:
        """End a run whose disk is full: no process helps, and time may."""
        return self._retry_later(error)

    def _close(self) -> dict[str, Any]:
        """Close a run that ends without an answer: its messages, its spending, what was left out of its window."""
        steps = self.charge_unanswered_calls()
        if self._state.outer is None:
            # Stopped before it came to where the attempts before it were: what they said and did is kept, too.
            replayed = replay_transcript(self.claimed.id, self.claimed.steps, self._state.source)
            if len(replayed.messages) > len(self._transcript.messages):
                self._transcript = replayed
        messages = self._transcript.close(source=self._state.source)
        return {"messages": messages, "steps": steps, **self._totals()}

    def _totals(self) -> dict[str, Any]:
        return {
            "usage": self._transcript.usage,
            "cost": self._transcript.cost,
            "omitted": self._view.omitted,
            "window_tokens": self._view.window_tokens,
            "hands_over_to": self._transcript.hands_over_to,
        }

    async def _run_model_loop(self) -> Completed | Failed | Waiting:
        await self._view.load_window()
        tool_file_budget = FileTokenBudget(self.agent.max_file_tokens)
        told_file_budget = FileTokenBudget(self.agent.max_file_tokens)
        cut_replies = 0
        for remaining_steps in reversed(range(self.agent.max_steps)):
            if self._state.has_full_journal:
                break
            token_error = find_token_error(self._state)
            if token_error is not None:
                return self.end_failed(token_error)
            await self._state.load_tools()
            await self._view.show_files(await self._state.take_messages(), told_file_budget)
            reply = await self._ask_model(offers_tools=remaining_steps > 0)
            if not tool_calls_of(reply):
                return self._complete(reply)
            if reply.is_truncated:
                cut_replies += 1
                self._tell_cut_calls(reply)
                if cut_replies == CUT_REPLIES_MAX:
                    return self.end_failed(self._limits.truncation_error())
                continue
            cut_replies = 0
            if not remaining_steps:
                # No step is left in which the model could read what a tool says.
                await self._tool_calls.refuse_tools(reply, NOT_RUN_RESULT)
                break
            tool_messages = await self._tool_calls.run_tools(reply)
            if self._tool_calls.is_waiting:
                return self._tool_calls.wait()
            tool_error = self._tool_calls.failures.close_reply()
            if tool_error is not None:
                return self.end_failed(tool_error)
            await self._view.show_files(tool_messages, tool_file_budget)
        return self.end_failed(self._limits.step_error())

    async def _ask_model(self, *, offers_tools: bool) -> Step:
        """The step of the next reply. What the model finds too long is asked again with less."""
        while True:
            try:
                request = await self._view.build_request(offers_tools=offers_tools)
                return await self._model_calls.next_reply(request)
            except ModelError as error:
                if error.kind != "context_length" or not await self._view.shrink(error.max_tokens):
                    raise

    def _tell_cut_calls(self, reply: Step) -> None:
        """Tell the model that its tool calls were cut at the token limit: none of them is run."""
        assistant = assistant_message(self.claimed.id, reply, self._state.source)
        self._transcript.open_block(assistant)
        for message in (assistant, *self._transcript.close_block()):
            self._state.emit(MessageAdded(message))

    def _complete(self, reply: Step) -> Completed:
        answer = assistant_message(self.claimed.id, reply, self._state.source)
        self._transcript.partial_text = ""
        self._state.emit(MessageAdded(answer))
        return Completed(messages=(*self._transcript.messages, answer), steps=(reply,), **self._totals())

    def _end_without(self, error: ModelError | FileStoreUnavailable | ToolServerUnavailable) -> RetryLater | Failed:
        """End a run that cannot go on without its model, its files or its tools."""
        if isinstance(error, ModelError):
            return self._retry_later(self._describe(error), error)
        of_operator: dict[str, Any] = {"retryable": True, "fault": Fault.OPERATOR}
        if isinstance(error, FileStoreUnavailable):
            return self._retry_later(TurnError("file_store_unavailable", str(error), **of_operator))
        return self._retry_later(TurnError("tool_server_unavailable", str(error), **of_operator))

    def _describe(self, error: ModelError) -> TurnError:
        """The turn's error for a model's: without the provider's words, where these are not to be kept."""
        own_text = str(error) if error.is_ours else MODEL_SENTENCES.get(error.kind, SENTENCES["model_error"])
        other_text = error.provider_text if error.is_ours else str(error)
        is_kept = self._state.dependencies.keeps_provider_errors
        message = ": ".join(filter(None, (error.kind, own_text, other_text if is_kept else "")))
        return TurnError("model_error", message, error.retryable, error.fault)

    def _end_timed_out(self) -> Failed:
        is_model_slow = self._model_calls.is_asking
        return self.end_failed(self._limits.timeout_error(Fault.PROVIDER if is_model_slow else Fault.TOOL))

    def _retry_later(self, error: TurnError, model_error: ModelError | None = None) -> RetryLater | Failed:
        """Retry the turn later from its journal, since what it needs is away, or fail it."""
        requested_seconds = (model_error and model_error.retry_after_seconds) or 0
        is_put_off = model_error is not None and model_error.is_put_off
        delay = self._limits.retry_delay(error, requested_seconds, is_put_off=is_put_off)
        if delay is None:
            return self.end_failed(error)
        return RetryLater(
            after=delay,
            error=error,
            is_put_off=is_put_off,
            waits_for=model_error.breaker if model_error is not None else None,
            steps=self.charge_unanswered_calls(),
        )


def _create_nested(state: RunState) -> Run:
    return Run(state.agent, state.claimed, state.dependencies, state)
