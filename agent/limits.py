"""The limits of a turn: its time, its tokens, its model calls, and its attempts while its model is away."""

from dataclasses import dataclass
from datetime import timedelta

from agent.agent import Agent
from conversation.backoff import add_jitter, backoff_seconds
from conversation.errors import Fault
from conversation.message import Usage
from conversation.turn import ClaimedTurn, TurnError

#: Seconds before a turn whose model is away is tried again; doubled each time, and spread over the
#: second half of that time, so that turns which failed together do not come back together.
RETRY_FIRST_SECONDS = 5.0
RETRY_MAX_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class TurnLimits:
    """The limits that an agent and a deadline set to one attempt at a turn."""

    agent: Agent
    claimed: ClaimedTurn
    #: Attempts at a turn, while its model is away, of an agent that sets no limit.
    default_max_attempts: int

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

    def token_error(self, usage: Usage) -> TurnError | None:
        """The error of a turn that has used all of its tokens; None while it has some left."""
        limit = self.agent.max_turn_tokens
        if limit is None or usage.total_tokens < limit:
            return None
        return TurnError("token_limit", f"the turn used {usage.total_tokens} tokens", fault=Fault.MODEL)

    def step_error(self) -> TurnError:
        """The error of a turn that has used all of its model calls."""
        return TurnError("step_limit", f"no answer after {self.agent.max_steps} model calls", fault=Fault.MODEL)

    def truncation_error(self) -> TurnError:
        """The error of a turn whose model cannot write its tool calls within the token limit."""
        problem = "the model's tool calls were cut at its token limit again, after it was told so"
        return TurnError("truncated", problem, fault=Fault.MODEL)

    def retry_delay(self, requested_seconds: float) -> timedelta | None:
        """The time before the next attempt, at least what a provider asked for; None after the last one."""
        retries = self.claimed.retries
        if retries + 1 >= (self.agent.max_turn_attempts or self.default_max_attempts):
            return None
        pause = backoff_seconds(retries, first=RETRY_FIRST_SECONDS, maximum=RETRY_MAX_SECONDS)
        wait_seconds = add_jitter(pause)
        return timedelta(seconds=max(wait_seconds, requested_seconds))
