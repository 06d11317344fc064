"""Turns that another one answers with its own, which is not there any more."""

import pytest
from sqlalchemy import delete

from conversation.ids import new_id
from conversation.turn import Completed
from conversation.when_busy import WhenBusy
from store import tables
from store.doctor import Outcome
from store.turns.requeue import requeue
from tests.integration.store.doctor.conftest import Site, outcomes

pytestmark = pytest.mark.soak

NAME = "merged-turn-without-answer"


def test_a_merged_turn_whose_answer_is_gone_fails_and_can_be_asked_again(site: Site) -> None:
    worker = site.worker()
    first, merged = (site.send(text, when_busy=WhenBusy.MERGE) for text in ("one", "two"))
    site.settle(site.claim(worker), Completed(), release=True)
    site.age()
    assert site.turn(merged).state == "merged"
    assert site.found(NAME) == {}
    site.write(delete(tables.turns).where(tables.turns.c.id == first))

    (note,) = site.found(NAME)[NAME]
    mended = site.repaired(NAME)

    assert note.finding.ids == {"tenant": "default", "thread": "t", "turn": merged}
    assert outcomes(mended) == {NAME: [Outcome.REPAIRED]}
    turn = site.turn(merged)
    assert (turn.state, turn.merged_into, turn.error_kind) == ("failed", None, "unreadable")
    assert site.found(NAME) == {}
    site.database.run(requeue, merged, new_turn_id=new_id(), new_message_id=new_id())
    assert site.claim(worker).window[-1].content == "two"
