"""What the outbox of webhooks must come to, in plain Python: no lock, no SQL, one thing at a time.

What stays true: times are whole seconds of the clock that the machine moves; a delivery stands in the list where its
event happened among the others.
"""

from dataclasses import dataclass, field

from conversation.backoff import backoff_seconds
from store.webhooks.endpoints import SECRETS_MAX
from store.webhooks.outbox import (
    AWAY_AFTER,
    AWAY_FIRST_SECONDS,
    AWAY_MAX_SECONDS,
    BUSY_STATUSES,
    CLAIM_MARGIN_SECONDS,
    GONE_STATUS,
    PAUSES,
    RETRY_AFTER_MAX_SECONDS,
)

#: Seconds of one attempt, and those after which a delivery that fails is given up.
TIMEOUT, GIVE_UP = 15, 40_000


@dataclass(frozen=True)
class Sending:
    """A delivery that a sender believes to have claimed."""

    webhook: str
    turn: str
    kind: str
    attempt: int
    claim: str


@dataclass
class Webhook:
    #: The kinds that it is told of; empty for all.
    kinds: tuple[str, ...]
    keys: list[tuple[str, int | None]]
    state: str = "enabled"
    reason: str | None = None
    failures: int = 0
    retry_at: int | None = None


@dataclass
class Delivery:
    webhook: str
    thread: str
    turn: str
    kind: str
    created_at: int
    next_try_at: int
    state: str = "pending"
    attempts: int = 0
    claim: str | None = None
    claimed_until: int | None = None
    status: int | None = None
    replayed_at: int | None = None


@dataclass
class Outbox:
    """The webhooks and their deliveries, and the verbs over them."""

    now: int = 0
    webhooks: dict[str, Webhook] = field(default_factory=dict)
    deliveries: list[Delivery] = field(default_factory=list)

    def create(self, webhook: str, kinds: tuple[str, ...], key: str) -> None:
        self.webhooks.setdefault(webhook, Webhook(kinds, [(key, None)]))

    def end(self, thread: str, turn: str, kind: str) -> None:
        """A turn ends, or begins to wait."""
        for webhook, its in self.webhooks.items():
            if its.state == "enabled" and kind in (its.kinds or (kind,)):
                self.deliveries.append(Delivery(webhook, thread, turn, kind, self.now, self.now))

    # Who sends

    def due(self, webhook: str) -> list[Delivery]:
        """Those that may be sent now, by how long they have waited."""
        first: dict[str, Delivery] = {}
        for delivery in self.deliveries:
            if delivery.webhook == webhook and delivery.state == "pending":
                first.setdefault(delivery.thread, delivery)
        found = [one for one in first.values() if one.next_try_at <= self.now and (one.claimed_until or 0) <= self.now]
        return sorted(found, key=lambda one: one.next_try_at)

    def is_open(self, webhook: str) -> bool:
        its = self.webhooks.get(webhook)
        return its is not None and its.state == "enabled" and (its.retry_at or 0) <= self.now

    def list_due(self) -> dict[str, int]:
        """The failures in a row of each webhook that something can be sent to."""
        return {one: its.failures for one, its in self.webhooks.items() if self.is_open(one) and self.due(one)}

    def claim(self, webhook: str, claim: str, failures: int, limit: int) -> tuple[Sending, ...]:
        if not self.is_open(webhook):
            return ()
        found = self.due(webhook)[: 1 if failures >= AWAY_AFTER else limit]
        for one in found:
            one.claim, one.claimed_until = claim, self.now + TIMEOUT + int(CLAIM_MARGIN_SECONDS)
            one.attempts += 1
        in_order = sorted(found, key=self.deliveries.index)
        return tuple(Sending(webhook, one.turn, one.kind, one.attempts, claim) for one in in_order)

    def record(self, sending: Sending, status: int | None, pause: int) -> str | None:
        """`pause` is what the server asked for. Returns the delivery's state; None where its claim is lost."""
        found = [one for one in self.deliveries if one.claim == sending.claim and one.turn == sending.turn]
        if not found:
            return None
        (one,) = found
        is_made = status is not None and 200 <= status < 300
        is_over = self.now - (one.created_at if one.replayed_at is None else one.replayed_at) >= GIVE_UP
        one.claim, one.claimed_until, one.status = None, None, status
        one.state = "delivered" if is_made else "dead" if is_over and status != GONE_STATUS else "pending"
        if one.state == "pending":
            asked = min(pause, int(RETRY_AFTER_MAX_SECONDS))
            one.next_try_at = self.now + max(int(PAUSES[min(sending.attempt, len(PAUSES)) - 1]), asked)
        self._note_health(sending.webhook, status, pause, is_made=is_made)
        return one.state

    def _note_health(self, webhook: str, status: int | None, pause: int, *, is_made: bool) -> None:
        its = self.webhooks.get(webhook)
        if its is None:
            return
        if is_made:
            if its.failures >= AWAY_AFTER:
                waiting = [one for one in self.deliveries if one.webhook == webhook and one.state == "pending"]
                for one in waiting:
                    one.next_try_at = min(one.next_try_at, self.now)
            its.failures, its.retry_at = 0, None
        elif status == GONE_STATUS:
            if its.state == "enabled":
                its.state, its.reason = "disabled", "gone"
        else:
            its.failures += 1
            seconds = 0
            if its.failures >= AWAY_AFTER:
                doublings = its.failures - AWAY_AFTER
                seconds = int(backoff_seconds(doublings, first=AWAY_FIRST_SECONDS, maximum=AWAY_MAX_SECONDS))
            if status in BUSY_STATUSES:
                seconds = max(seconds, pause)
            if seconds:
                its.retry_at = self.now + seconds

    # Who owns them

    def enable(self, webhook: str, *, enabled: bool) -> str:
        its = self.webhooks.get(webhook)
        if its is None:
            return "WebhookNotFound"
        its.state, its.reason = ("enabled", None) if enabled else ("disabled", "asked")
        its.failures, its.retry_at = 0, None
        return its.state

    def rotate(self, webhook: str, key: str, grace: int) -> int | str:
        """Returns how many keys sign now."""
        its = self.webhooks.get(webhook)
        if its is None:
            return "WebhookNotFound"
        if its.keys[-1][0] != key:
            good = [one for one in its.keys[:-1] if one[1] is None or one[1] > self.now][-SECRETS_MAX + 2 :]
            before = [(its.keys[-1][0], self.now + grace)] if grace else []
            its.keys = [*good, *before, (key, None)]
        return sum(until is None or until > self.now for _, until in its.keys)

    def delete(self, webhook: str) -> str | None:
        return "WebhookNotFound" if self.webhooks.pop(webhook, None) is None else None

    def delete_unwanted(self) -> int:
        kept = [one for one in self.deliveries if one.webhook in self.webhooks]
        count, self.deliveries = len(self.deliveries) - len(kept), kept
        return count

    def replay(self, sent: Sending) -> str | None:
        """Have a delivery that was made, or is dead, made again."""
        found = [one for one in self.deliveries if (one.webhook, one.turn) == (sent.webhook, sent.turn)]
        if sent.webhook not in self.webhooks or not found:
            return "WebhookNotFound"
        (one,) = found
        if one.state != "pending":
            one.state, one.attempts, one.claim, one.claimed_until = "pending", 0, None, None
            one.next_try_at = one.replayed_at = self.now
        return None
