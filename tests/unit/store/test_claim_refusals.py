"""Which reason a claim gives where a turn must not run for several."""

from types import SimpleNamespace

import pytest

from store.turns.claim_request import ClaimRequest, refusal_of

CLAIMANT = ClaimRequest(worker="a", agents={"assistant": "1"})


@pytest.mark.parametrize(
    ("crashes", "seconds_left", "wait_is_over", "kind"),
    [(3, -1, True, "poison"), (0, -1, True, "deadline"), (0, 5, True, "waiting_expired")],
)
def test_what_kills_processes_is_told_before_what_took_too_long(
    crashes: int, seconds_left: float, wait_is_over: bool, kind: str
) -> None:
    turn = SimpleNamespace(local_process_id=None, crashes=crashes, interruptions=0, error_kind=None)

    refusal = refusal_of(turn, CLAIMANT, remaining_seconds=seconds_left, wait_is_over=wait_is_over)

    assert refusal is not None
    assert refusal.kind == kind
