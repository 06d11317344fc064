"""The limits of a turn: its time, its tokens, its model calls, and its attempts while what it needs is away."""

from dataclasses import dataclass
from datetime import timedelta

from agent.agent import Agent
from agent.run_state import RunState
from conversation.backoff import add_jitter, backoff_seconds
from conversation.errors import Fault
from conversation.turn import ClaimedTurn, TurnError

#: Seconds before a turn whose model is away is tried again; doubled each time, and spread over the
#: second half of that time, so that turns which failed together do not come back together.
RETRY_FIRST_SECONDS = 5.0
RETRY_MAX_SECONDS = 300.0
#: Attempts at a turn that fails of what does not pass by itself, where nobody set a number.
OTHER_MAX_ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class TurnLimits:
    """The limits that an agent and a deadline set to one attempt at a turn."""

    agent: Agent
    claimed: ClaimedTurn
    #: Attempts at a turn of an agent that sets no limit, whatever it fails of; 0 has `OTHER_MAX_ATTEMPTS`.
    default_max_attempts: int
    #: Seconds for which a turn is retried that fails of what passes by itself, of an agent that sets no limit.
    default_max_retry_seconds: float

    @property
    def remaining_seconds(self) -> float:
        """The seconds that this attempt may still take, as it begins."""
        deadline_seconds = self.claimed.remaining_seconds
        limit = self.agent.max_turn_seconds
        return limit if deadline_seconds is None else min(limit, deadline_seconds)

    def timeout_error(self, fault: Fault) -> TurnError:
        """The error of a turn whose time is over, by the fault of what it was waiting for."""
        limit = self.agent.max_turn_seconds
        if self.remaining_seconds < limit:
            return TurnError("deadline", "the turn did not end before its deadline", fault=fault)
        return TurnError("time_limit", f"the turn took longer than {limit:g} seconds", fault=fault)

    def step_error(self) -> TurnError:
        """The error of a turn that has used all of its model calls."""
        return TurnError("step_limit", f"no answer after {self.agent.max_steps} model calls", fault=Fault.MODEL)

    def truncation_error(self) -> TurnError:
        """The error of a turn whose model cannot write its tool calls within the token limit."""
        problem = "the model's tool calls were cut at its token limit again, after it was told so"
        return TurnError("truncated", problem, fault=Fault.MODEL)

    def retry_delay(
        self, error: TurnError, requested_seconds: float = 0, *, is_put_off: bool = False
    ) -> timedelta | None:
        """The time before the next attempt, at least what a provider asked for; None after the last one.

        `is_put_off` says that this one was no attempt: the model was not asked.
        """
        if not error.retryable or (not is_put_off and self._has_used_attempts(error)):
            return None
        remaining_seconds = self._retry_limit - self.claimed.failing_seconds
        if _passes_by_itself(error) and (remaining_seconds <= 0 or requested_seconds > remaining_seconds):
            return None
        if is_put_off:
            # Nothing counts how often; as long again as it has waited doubles the pause, too.
            pause = min(max(self.claimed.failing_seconds, RETRY_FIRST_SECONDS), RETRY_MAX_SECONDS)
        else:
            pause = backoff_seconds(self.claimed.retries, first=RETRY_FIRST_SECONDS, maximum=RETRY_MAX_SECONDS)
        wait_seconds = add_jitter(pause)
        if _passes_by_itself(error):
            # The last attempt is made when the time is over.
            wait_seconds = min(wait_seconds, remaining_seconds)
        return timedelta(seconds=max(wait_seconds, requested_seconds))

    @property
    def _retry_limit(self) -> float:
        limit = self.agent.max_turn_retry_seconds
        return self.default_max_retry_seconds if limit is None else limit

    def _has_used_attempts(self, error: TurnError) -> bool:
        """Whether this was the last attempt: a number that somebody set holds for any error."""
        limit = self.agent.max_turn_attempts or self.default_max_attempts
        if not limit and not _passes_by_itself(error):
            limit = OTHER_MAX_ATTEMPTS
        return bool(limit) and self.claimed.retries + 1 >= limit


def find_token_error(state: RunState) -> TurnError | None:
    """The error of a run that has used all of its tokens, or all of those that it is nested in; None with some left."""
    for each in state.lineage:
        limit, used_tokens = each.agent.max_turn_tokens, each.transcript.usage.total_tokens
        if limit is not None and used_tokens >= limit:
            return TurnError("token_limit", f"the turn used {used_tokens} tokens", fault=Fault.MODEL)
    return None


def _passes_by_itself(error: TurnError) -> bool:
    """Whether an error is that something is away, be it a provider, the file store or a tool server."""
    return error.fault in (Fault.PROVIDER, Fault.OPERATOR)
