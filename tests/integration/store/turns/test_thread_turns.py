"""The turns of a thread, listed: newest first, page by page, of this tenant and thread only."""

from typing import Any

import pytest

from conversation.errors import Fault, InvalidInput, ThreadNotFound
from conversation.turn import Failed, TurnError, TurnState
from store.database.engine import Database
from store.turns.thread_turns import TurnPage, list_of_thread
from tests.integration.desk import Desk


@pytest.fixture
def desk(any_database: Database) -> Desk:
    return Desk(any_database)


def listed(desk: Desk, thread: str = "t", tenant: str = "default", **options: Any) -> TurnPage:
    return desk.database.run(list_of_thread, tenant, thread, **{"limit": 50} | options)


def test_turns_are_listed_newest_first_with_what_became_of_them(desk: Desk) -> None:
    first = desk.claim()
    desk.settle(first)
    second = desk.claim()
    error = TurnError("model_error", "no", retryable=True, fault=Fault.PROVIDER)
    desk.settle(second, ending=Failed(error=error))
    desk.claim("other")
    third = desk.claim()

    page = listed(desk)

    assert [(turn.id, turn.state) for turn in page] == [
        (third.id, TurnState.RUNNING),
        (second.id, TurnState.FAILED),
        (first.id, TurnState.COMPLETED),
    ]
    assert (page[1].error, page[0].thread_id, page.next_cursor) == (error, "t", None)


def test_pages_hold_every_turn_once_whatever_arrives_meanwhile(desk: Desk) -> None:
    ids = []
    for _ in range(5):
        claimed = desk.claim()
        desk.settle(claimed)
        ids.append(claimed.id)

    seen, cursor, pages = [], None, 0
    while pages == 0 or cursor:
        page = listed(desk, limit=2, cursor=cursor)
        seen += [turn.id for turn in page]
        cursor, pages = page.next_cursor, pages + 1
        desk.settle(desk.claim())

    assert (seen, pages) == (ids[::-1], 3)


def test_what_cannot_be_listed_is_refused_with_its_field(desk: Desk) -> None:
    desk.settle(desk.claim())
    wrong = [{"limit": 0}, {"limit": 1001}, {"limit": True}, {"limit": "5"}]
    wrong += [{"cursor": cursor} for cursor in ("", "é", "abc", "-1", "MTIz" * 30, "4pGi", 7, b"MQ")]

    for options in wrong:
        with pytest.raises(InvalidInput) as refused:
            listed(desk, **options)
        assert refused.value.field == next(iter(options)), options
    for thread, tenant in (("unheard-of", "default"), ("t", "acme")):
        with pytest.raises(ThreadNotFound):
            listed(desk, thread, tenant)
