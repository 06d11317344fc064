"""The report of a run that requeued many turns."""

from dataclasses import dataclass

from store.turns.bulk_requeue import BulkRequeuedTurn, RequeueResult


@dataclass(frozen=True, slots=True)
class RequeueReport:
    """The turns that a run of `requeue_turns` came to, in the order in which they had ended."""

    turns: tuple[BulkRequeuedTurn, ...]

    @property
    def requeued(self) -> int:
        """How many were requeued, or would be, where it was a dry run."""
        return self._count(RequeueResult.REQUEUED, RequeueResult.WOULD_REQUEUE)

    @property
    def skipped(self) -> int:
        """How many had been requeued by the time that the run came to them."""
        return self._count(RequeueResult.SKIPPED)

    @property
    def failed(self) -> int:
        """How many cannot be requeued; the `reason` of each says why."""
        return self._count(RequeueResult.FAILED)

    def _count(self, *results: RequeueResult) -> int:
        return sum(turn.result in results for turn in self.turns)
