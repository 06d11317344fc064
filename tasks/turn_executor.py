"""The execution of a claimed turn, by a worker as by a library call: run its agent, commit its end.

What stays true: a run that breaks or is stopped keeps what was said in it, its usage and its cost; an
ending that cannot be stored becomes a failure that can. For what its process lacks no turn fails that another
process can go on with.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import assert_never

import structlog

from agent.loop import Run
from agent.tools.toolbox import is_task_cancelled
from conversation.errors import DatabaseUnavailable, Fault, LeaseLost
from conversation.exhaustion import Resource, missing_resource, resource_of
from conversation.foreign_exceptions import name_of
from conversation.logs import bind_turn
from conversation.replay import replay_transcript
from conversation.shielding import run_to_completion
from conversation.turn import ClaimedTurn, Ending, Failed, HandOver, RefusedTurn, TurnError
from store.turns.settle import SettleOutcome
from store.turns.turn_store import TurnStore
from tasks.active_runs import ActiveRun, ActiveRuns, StopReason
from tasks.agent_trace import trace_agent_error

#: The kind of error of a turn that its agent broke.
AGENT_ERROR = "agent_error"

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ExecutedTurn:
    """A turn whose end is committed."""

    ending: Ending
    settle_outcome: SettleOutcome
    #: What broke the run or its commit, or the cancellation of the caller that ended it; None for most.
    error: BaseException | None = None
    #: Of all attempts together.
    model_calls: int = 0
    tokens: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnExecutor:
    """Executes the claimed turns of one process."""

    turn_store: TurnStore
    active_runs: ActiveRuns
    #: Another process can go on with a turn that this one leaves without an end.
    is_resumable: bool
    #: Called with what this process lacks, where a turn met that; None leaves the process as it is.
    on_exhaustion: Callable[[Resource], None] | None = None

    async def execute(
        self, turn: ClaimedTurn, create_run: Callable[[], Run], entry: ActiveRun, *, releases: Callable[[], bool]
    ) -> ExecutedTurn:
        """Run a turn's agent and commit its end; `releases`, asked after the run, releases the lease.

        The caller has bound the turn's ids to what is logged. Raises `LeaseLost`, and leaves the turn without an end;
        so do `DatabaseUnavailable` and a cancellation of the caller where the turn can be resumed.
        """
        try:
            run = create_run()
        except BaseException as error:  # noqa: BLE001 - a model that cannot be made breaks its turn, no more
            unrun_ending = self._end_exhausted(turn, error) or _end_unrun(turn, error)
            return await self._commit_ending(turn, unrun_ending, error, release=releases())
        ending, run_error = await self._run_agent(run, entry)
        executed = await self._commit_ending(turn, ending, run_error, release=releases(), run=run)
        return replace(executed, model_calls=run.model_calls, tokens=run.tokens)

    async def end_refused(self, turn: RefusedTurn, *, release: bool) -> ExecutedTurn:
        """Commit the end of a turn that must not run. Raises `LeaseLost` and `DatabaseUnavailable`."""
        return await self._commit_ending(turn, turn.ending, None, release=release)

    async def _run_agent(self, run: Run, entry: ActiveRun) -> tuple[Ending, BaseException | None]:
        """Run the agent. Returns how the turn ends, by itself or stopped, and the error that ended it."""
        task = self.active_runs.begin_run(entry, run.claimed.id, _contain(run))
        try:
            ending = await task
        except asyncio.CancelledError as error:
            return self._end_stopped_run(run, entry.stop_reason, error)
        finally:
            entry.end_run()
        if not isinstance(ending, BaseException):
            return ending, None
        if isinstance(ending, LeaseLost) or (self.is_resumable and isinstance(ending, DatabaseUnavailable)):
            raise ending
        return self._end_broken_run(run, ending), ending

    def _end_broken_run(self, run: Run, error: BaseException) -> Ending:
        match self._end_exhausted(run.claimed, error):
            case HandOver(error=turn_error):
                return run.hand_over(turn_error)
            case Failed(error=turn_error):
                return run.wait_for_disk(turn_error) if turn_error.retryable else run.end_failed(turn_error)
        return run.end_failed(_log_agent_error(run.claimed, error))

    def _end_exhausted(self, turn: ClaimedTurn | RefusedTurn, error: BaseException) -> HandOver | Failed | None:
        """The ending of a turn for which something has run out; None for any other error.

        Where the error has lost its cause, as one of a name that could not be looked up, the system says it.
        """
        resource = resource_of(error) or missing_resource()
        if resource is None:
            return None
        with bind_turn(turn):
            _log.error("turn_exhausted", resource=str(resource), error=name_of(error), trace=trace_agent_error(error))
        is_disk = resource is Resource.DISK
        turn_error = TurnError("exhausted", f"{resource} ran out", retryable=is_disk, fault=Fault.OPERATOR)
        if is_disk or not self.is_resumable:
            return Failed(error=turn_error)
        if self.on_exhaustion is not None:
            self.on_exhaustion(resource)
        return HandOver(error=turn_error)

    def _end_stopped_run(
        self, run: Run, reason: StopReason | None, error: asyncio.CancelledError
    ) -> tuple[Ending, BaseException | None]:
        if is_task_cancelled():
            if self.is_resumable:
                raise error
            return run.end_cancelled(), error
        match reason:
            case StopReason.CANCEL:
                return run.end_cancelled(), None
            case StopReason.SHUTDOWN:
                return run.hand_over(), None
            case None:
                # No stop was requested: something that the agent waited for was cancelled.
                return self._end_broken_run(run, error), error
            case _:
                assert_never(reason)

    async def _commit_ending(
        self,
        turn: ClaimedTurn | RefusedTurn,
        ending: Ending,
        error: BaseException | None,
        *,
        release: bool,
        run: Run | None = None,
    ) -> ExecutedTurn:
        try:
            return ExecutedTurn(ending, await self._settle(turn, ending, release=release), error)
        except (LeaseLost, DatabaseUnavailable):
            raise
        except Exception as settle_error:  # noqa: BLE001 - what a value does to the driver, it would do so again
            error = error or settle_error
            if (exhausted := self._end_exhausted(turn, settle_error)) is not None:
                ending = exhausted
            else:
                settle_failure = _log_agent_error(turn, settle_error)
                # Of a turn that was claimed only to be ended, that is still the reason.
                if not (isinstance(turn, RefusedTurn) and isinstance(ending, Failed)):
                    if run is not None and (kept := await self._keep_messages(run, settle_failure, release=release)):
                        return replace(kept, error=error)
                    ending = Failed(error=settle_failure)
        return ExecutedTurn(ending, await self._settle(turn, ending, release=release), error)

    async def _keep_messages(self, run: Run, error: TurnError, *, release: bool) -> ExecutedTurn | None:
        """Commit a failure with what was said before the end that cannot be stored; None if that cannot be either.

        What tools did, and messages that were read meanwhile, stand nowhere else in the history.
        """
        failed = run.end_failed(error)
        if failed.messages and failed.messages[-1].role == "assistant":
            # It is the end that cannot be stored, or a part of it.
            failed = replace(failed, messages=failed.messages[:-1])
        try:
            return ExecutedTurn(failed, await self._settle(run.claimed, failed, release=release))
        except (LeaseLost, DatabaseUnavailable):
            raise
        except Exception:  # noqa: BLE001 - why it cannot be stored was logged
            return None

    async def _settle(self, turn: ClaimedTurn | RefusedTurn, ending: Ending, *, release: bool) -> SettleOutcome:
        return await run_to_completion(self.turn_store.settle(turn, ending, release=release))


async def _contain(run: Run) -> Ending | BaseException:
    """Run to an ending, or to what broke the run: a task that raised `SystemExit` would stop the loop."""
    try:
        return await run.run()
    except asyncio.CancelledError:
        raise
    except BaseException as error:  # noqa: BLE001 - foreign code; the caller tells which of them is whose
        return error


def _end_unrun(turn: ClaimedTurn, error: BaseException) -> Failed:
    """The end of a turn whose run could not even be made: what earlier attempts said is kept."""
    transcript = replay_transcript(turn.id, turn.steps, {"agent": turn.agent})
    messages = transcript.close()
    turn_error = _log_agent_error(turn, error)
    return Failed(error=turn_error, messages=messages, usage=transcript.usage, cost=transcript.cost)


def _log_agent_error(turn: ClaimedTurn | RefusedTurn, error: BaseException) -> TurnError:
    """The error of a turn that code broke: its type alone, as its text may quote a message; logs where."""
    name = f"{type(error).__module__}.{type(error).__qualname__}"
    with bind_turn(turn):
        _log.error("agent_error", error=name, trace=trace_agent_error(error))
    return TurnError(AGENT_ERROR, name)
