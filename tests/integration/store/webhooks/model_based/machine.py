"""The machine of the outbox: turns end, senders claim and die, servers fail, owners change their webhooks.

A sender has died when it never records what became of what it had claimed; one that stood still records it too late.
"""

from itertools import groupby
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule
from sqlalchemy import delete, select

from conversation.webhooks import SECRET_PREFIX
from store import tables as t
from store.webhooks.sealed_secrets import SigningKey
from tests.integration.store.small_machine import SmallMachine, second_of
from tests.integration.store.turns.model_based.operations import Operation
from tests.integration.store.webhooks.model_based.operations import (
    SEALED_SECRETS,
    Claim,
    Create,
    Delete,
    DeleteUnwanted,
    Enable,
    EndTurn,
    ListDue,
    Record,
    Replay,
    Rotate,
)
from tests.integration.store.webhooks.model_based.reference import GIVE_UP, Outbox, Sending

WEBHOOKS = tuple(f"e0000000-0000-0000-0000-00000000000{number}" for number in (1, 2))
KINDS = ("turn.completed", "turn.failed", "turn.cancelled", "turn.waiting")
KEYS = tuple(f"{SECRET_PREFIX}{letter * 42}A=" for letter in "ABCD")
#: Rounds in which everything must have been sent once all are well.
DRAIN_ROUNDS = 40

statuses = st.sampled_from([200, 200, 200, 204, 500, 500, None, 429, 503, 410])
places = st.integers(0, 5)


class OutboxMachine(SmallMachine):
    """What happens to deliveries."""

    def __init__(self) -> None:
        super().__init__()
        self.stage.clear()
        self.stage.database.run(lambda c: c.execute(delete(t.webhooks)) and None)
        self.model = Outbox()
        self.ids = 0
        #: What senders believe to have claimed: the newest last, the stale ones with them.
        self.sendings: list[Sending] = []
        self.seen: dict[str, int] = {}

    def new_id(self, kind: str) -> str:
        self.ids += 1
        return f"{kind}0000000-0000-0000-0000-{self.ids:012}"

    @initialize(kinds=st.sampled_from([(), KINDS[:2]]))
    def begin(self, kinds: tuple[str, ...]) -> None:
        self.do(Create(WEBHOOKS[0], (), KEYS[0]))
        self.do(Create(WEBHOOKS[1], kinds, KEYS[0]))

    @rule(
        thread=st.sampled_from("xxy"), kind=st.sampled_from(KINDS), commits=st.sampled_from([True, True, True, False])
    )
    def end_turn(self, thread: str, kind: str, *, commits: bool) -> None:
        self.do(EndTurn(thread, self.new_id("b"), kind, self.model.now), commits=commits)

    @rule()
    def look(self) -> None:
        self.seen = self.do(ListDue())

    @precondition(lambda self: self.seen)
    @rule(place=places, limit=st.sampled_from([1, 2, 10]), is_told=st.sampled_from([True, True, False]))
    def claim(self, place: int, limit: int, *, is_told: bool) -> None:
        """A sender that is not told has died after its commit."""
        told = self.do(self._claim(place, limit))
        self.sendings += told if is_told else ()

    def _claim(self, place: int, limit: int) -> Claim:
        webhook = sorted(self.seen)[place % len(self.seen)]
        return Claim(webhook, self.new_id("f"), self.seen[webhook], limit)

    @precondition(lambda self: self.sendings)
    @rule(place=places, status=statuses, pause=st.sampled_from([0, 0, 7, 4000]), again=st.booleans())
    def record(self, place: int, status: int | None, pause: int, *, again: bool) -> None:
        """Now and then twice, as where the answer to the commit was lost."""
        operation = Record(self.sendings[-1 - place % len(self.sendings)], status, pause)
        self.do(operation)
        if again:
            assert self.do(operation) is None

    @rule(seconds=st.sampled_from([1, 5, 30, 61, 120, 600, 3600, GIVE_UP]))
    def pass_time(self, seconds: int) -> None:
        self.move_clock(seconds)

    @rule(webhook=st.sampled_from(WEBHOOKS), enabled=st.sampled_from([True, True, False]))
    def enable(self, webhook: str, *, enabled: bool) -> None:
        self.do(Enable(webhook, enabled))

    @rule(webhook=st.sampled_from(WEBHOOKS), key=st.sampled_from(KEYS), grace=st.sampled_from([0, 100, 100, 10_000]))
    def rotate(self, webhook: str, key: str, grace: int) -> None:
        self.do(Rotate(webhook, key, grace))

    @precondition(lambda self: self.ids > 20)
    @rule(webhook=st.sampled_from(WEBHOOKS), comes_back=st.booleans())
    def delete(self, webhook: str, *, comes_back: bool) -> None:
        self.do(Delete(webhook))
        if comes_back:
            self.do(DeleteUnwanted())
            self.do(Create(webhook, (), KEYS[0]))

    @precondition(lambda self: self.sendings)
    @rule(place=places)
    def replay(self, place: int) -> None:
        self.do(Replay(self.sendings[-1 - place % len(self.sendings)]))

    @precondition(lambda self: self.seen)
    @rule(places=st.tuples(places, places), limit=st.sampled_from([1, 10]), after=st.integers(1, 6), data=st.data())
    def race(self, places: tuple[int, int], limit: int, after: int, data: Any) -> None:
        """Two at once: a claim beside another one, a record, or the end of a turn; each is held up, too."""
        others: list[Operation] = [
            self._claim(places[1], limit),
            EndTurn("x", self.new_id("b"), KINDS[0], self.model.now),
            Enable(min(self.seen), False),
        ]
        if self.sendings:
            others.append(Record(self.sendings[-1], data.draw(statuses), 0))
        pair = [self._claim(places[0], limit), data.draw(st.sampled_from(others))]
        first, second = reversed(pair) if data.draw(st.booleans()) else pair
        raced = self.stage.race(first, second, after=after)
        both = [(first, raced.first), (second, raced.second)]
        self.explain((both, both[::-1]), f"{raced} of {first} and {second}")
        for one in (raced.first, raced.second):
            self.sendings += one if isinstance(one, tuple) else ()

    # What must hold

    def picture(self) -> Any:
        return self.stage.database.run(_read)

    @staticmethod
    def picture_of(model: Outbox) -> Any:
        """Webhooks by their ids, deliveries by turn and webhook."""
        return {
            "webhooks": [
                [one, its.state, its.reason, its.failures, its.retry_at, its.keys]
                for one, its in sorted(model.webhooks.items())
            ],
            "deliveries": sorted(
                [
                    *(one.turn, one.webhook, one.thread, one.kind, one.state, one.attempts, one.claim),
                    *(*_times(one), one.status),
                ]
                for one in model.deliveries
            ),
        }

    @invariant()
    def each_thread_is_sent_in_order(self) -> None:
        """What holds whatever the model says: of a thread, nothing is sent before what came earlier is over."""
        columns = t.webhook_deliveries.c
        query = select(columns.webhook_id, columns.thread_key, columns.state, columns.claim).where(
            columns.replayed_at.is_(None)
        )
        rows = self.stage.database.run(
            lambda c: c.execute(query.order_by(columns.webhook_id, columns.thread_key, columns.key)).all()
        )
        for _, group in groupby(rows, key=lambda row: (row.webhook_id, row.thread_key)):
            states = [(row.state, row.claim is not None) for row in group]
            begins = next((place for place, (state, _) in enumerate(states) if state == "pending"), len(states))
            assert all(state == (("pending"), False) for state in states[begins + 1 :]), f"out of order: {states}"

    def teardown(self) -> None:
        """All senders die, all webhooks are well: everything must be delivered, or given up."""
        for webhook in list(self.model.webhooks):
            self.do(Enable(webhook, True))
        for _ in range(DRAIN_ROUNDS):
            self.pass_time(4 * 3600)
            for webhook, failures in self.do(ListDue()).items():
                for sending in self.do(Claim(webhook, self.new_id("f"), failures, 100)):
                    self.do(Record(sending, 200, 0))
        waiting = [
            one for one in self.model.deliveries if one.state == "pending" and one.webhook in self.model.webhooks
        ]
        assert not waiting, "a delivery is never made"
        self.both_hold_the_same()


def _times(one: Any) -> list[int | None]:
    return [one.claimed_until, one.next_try_at if one.state == "pending" else None, one.replayed_at]


def _read(connection: Any) -> Any:
    rows = connection.execute(
        select(t.webhook_deliveries, t.threads.c.id.label("thread")).join(
            t.threads, t.threads.c.key == t.webhook_deliveries.c.thread_key
        )
    )
    webhooks = connection.execute(select(t.webhooks).order_by(t.webhooks.c.id))
    return {
        "webhooks": [
            [row.id, row.state, row.disabled_reason, row.failures, second_of(row.retry_at), _keys(row)]
            for row in webhooks
        ],
        "deliveries": sorted(
            [
                *(row.turn_id, row.webhook_id, row.thread, row.kind, row.state, row.attempts, row.claim),
                second_of(row.claimed_until),
                second_of(row.next_try_at) if row.state == "pending" else None,
                *(second_of(row.replayed_at), row.last_status),
            ]
            for row in rows
        ),
    }


def _keys(row: Any) -> list[tuple[str, int | None]]:
    keys = [SigningKey.from_json(value) for value in row.secrets]
    return [(SEALED_SECRETS.unseal(row.id, key.sealed), second_of(key.expires_at)) for key in keys]
