"""The people who decide what turns wait for: late, twice, two at once, with other arguments, or not at all.

What stays true: the plan says what becomes of a call, by its ticket and its tool; whoever decides tries until it is
known what became of it, and that is noted.
"""

import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from conversation.errors import AlreadyDecided, DigestMismatch, OperatorError, PendingCallNotFound, TurnNotFound
from conversation.pending_call import Decision, DecisionKind, PendingCall, PendingKind, digest_of
from producers import Producer
from producers.turn import Turn
from store.turns.pending_listing import list_pending
from tests.chaos import gateway_client
from tests.chaos.gateway_client import GatewayClient
from tests.chaos.hands import Hands, try_until_known
from tests.chaos.sent import Decided
from tests.chaos.tickets import BRIEF, DESK, Fate, references, ticket_of

#: Seconds between two looks at what waits.
LOOK_SECONDS = 0.3
#: Calls that are looked at together, and decisions that are under way at once.
PAGE, HANDS = 200, 12
#: Seconds after which a call is decided: at once, or late.
SOON_SECONDS, LATE_SECONDS = 0.3, 5.0
#: Seconds around the end of a wait in which somebody decides at the last moment.
MEET_SECONDS = 0.6
ADA, BOB = "ada", "bob"


class Office:
    """All who decide."""

    def __init__(self, producer: Producer, gateway: GatewayClient, fates: Mapping[str, Mapping[str, Fate]]) -> None:
        """`fates` are by the ticket's reference, then by the tool."""
        self.decided: list[Decided] = []
        self._producer, self._gateway, self._fates = producer, gateway, fates
        self._seen: set[tuple[str, str]] = set()
        self._is_open = True
        self._hands = Hands(HANDS)
        self._watcher = threading.Thread(target=self._watch, daemon=True)

    def start(self) -> None:
        self._watcher.start()

    @property
    def is_idle(self) -> bool:
        """Whether nobody is about to decide anything."""
        return self._hands.are_idle

    def close(self) -> None:
        """Decide nothing more; raises what broke one of them."""
        self._is_open = False
        self._watcher.join()
        self._hands.close(leave_rest=True)

    def _watch(self) -> None:
        while self._is_open:
            try:
                for call in self._producer.database.run(list_pending, "default", limit=PAGE):
                    if call.kind is not PendingKind.CHILD and (call.turn_id, call.call_id) not in self._seen:
                        self._seen.add((call.turn_id, call.call_id))
                        self._hands.begin(self._handle, call)
            except OperatorError:
                pass
            time.sleep(LOOK_SECONDS)

    def _handle(self, call: PendingCall) -> None:
        self._decide_by(self._fate_of(call), call)

    def _fate_of(self, call: PendingCall) -> Fate:
        (ref,) = references(call.arguments)
        fate = self._fates.get(ticket_of(ref), {}).get(call.name, Fate.AGREE)
        agent = try_until_known(lambda: self._turn(call).record.agent)
        if fate in (Fate.NEVER, Fate.MEET) and agent == DESK:
            # An interrupted ticket was taken up by an agent that waits for ever.
            return Fate.LATE
        return Fate.LATE if fate is Fate.MEET and agent != BRIEF else fate

    def _decide_by(self, fate: Fate, call: PendingCall) -> None:
        agreed, ada = _agreement(call), _Voice(ADA, call.arguments_digest)
        match fate:
            case Fate.NEVER:
                return
            case Fate.LATE:
                time.sleep(LATE_SECONDS)
            case Fate.MEET:
                self._wait_until(call.expires_at, _spread(call))
            case _:
                time.sleep(SOON_SECONDS)
        match fate:
            case Fate.TWICE:
                self._decide(call, agreed, ada)
                self._decide(call, agreed, ada)
            case Fate.TWO_AT_ONCE:
                self._decide_at_once(call, agreed)
            case Fate.DENY:
                self._decide(call, Decision.deny("too much"), replace(ada, digest=None), over_http=True)
            case Fate.CHANGE if call.kind is PendingKind.APPROVAL:
                self._decide(call, Decision.edit(call.parsed_arguments | {"details": {"changed": True}}), ada)
            case Fate.WRONG_DIGEST if call.kind is PendingKind.APPROVAL:
                self._decide(call, agreed, replace(ada, digest=digest_of(call.name, '{"ref": "another"}')))
                self._decide(call, agreed, ada)
            case _:
                self._decide(call, agreed, ada, over_http=fate is Fate.AGREE)

    def _wait_until(self, moment: datetime, spread: float) -> None:
        seconds = (moment - datetime.now(UTC)).total_seconds() + spread
        time.sleep(max(0.0, seconds))

    def _decide_at_once(self, call: PendingCall, agreed: Decision) -> None:
        """One agrees while another one denies."""
        barrier = threading.Barrier(2)

        def deny() -> None:
            barrier.wait()
            self._decide(call, Decision.deny("too much"), _Voice(BOB, None))

        other = threading.Thread(target=deny)
        other.start()
        barrier.wait()
        self._decide(call, agreed, _Voice(ADA, None))
        other.join()

    def _decide(self, call: PendingCall, decision: Decision, voice: "_Voice", *, over_http: bool = False) -> None:
        """Decide, and note what was said to it."""
        by = gateway_client.NAME if over_http else voice.by
        if over_http:
            body = _body_of(decision, voice.digest)
            answer = self._ask(lambda: self._gateway.decide(call.turn_id, call.call_id, body))
        else:
            answer = self._ask(lambda: _DECIDE[decision.kind](self._turn(call), call.call_id, decision, voice))
        # The other verbs take no digest.
        names_digest = over_http or decision.kind in (DecisionKind.APPROVE, DecisionKind.EDIT)
        digest = voice.digest if names_digest else None
        kind = decision.kind.value
        self.decided.append(Decided(call.turn_id, call.call_id, kind, decision.value, by, digest, answer))

    def _ask(self, decide: Callable[[], object]) -> str:
        try:
            try_until_known(decide)
        except (AlreadyDecided, DigestMismatch, PendingCallNotFound, TurnNotFound) as refusal:
            return type(refusal).__name__
        return "accepted"

    def _turn(self, call: PendingCall) -> Turn:
        return self._producer.find_turn(call.turn_id)


@dataclass(frozen=True, slots=True)
class _Voice:
    """Who decides, and what they were shown."""

    by: str
    digest: str | None


def _agreement(call: PendingCall) -> Decision:
    """What has the call go on."""
    if call.kind is PendingKind.QUESTION:
        assert call.choices
        return Decision.answer(call.choices[len(call.call_id) % len(call.choices)])
    if call.kind is PendingKind.CLIENT_TOOL:
        return Decision.give_result({"shown": references(call.arguments)})
    return Decision.approve()


def _spread(call: PendingCall) -> float:
    """Seconds by which the end of a wait is missed, on both sides: of each call its own."""
    return MEET_SECONDS * (2 * (int(call.arguments_digest[:4], 16) / 0xFFFF) - 1)


def _body_of(decision: Decision, digest: str | None) -> dict[str, Any]:
    body: dict[str, Any] = {"decision": decision.kind.value, "digest": digest}
    match decision.kind:
        case DecisionKind.DENY:
            body["reason"] = decision.reason
        case DecisionKind.EDIT:
            body["arguments"] = json.loads(decision.value)
        case DecisionKind.ANSWER:
            body["value"] = decision.value
        case DecisionKind.RESULT:
            body["content"] = decision.value
        case _:
            pass
    return body


_DECIDE: Mapping[DecisionKind, Callable[[Turn, str, Decision, _Voice], object]] = {
    DecisionKind.APPROVE: lambda turn, call_id, _, voice: turn.approve(call_id, by=voice.by, digest=voice.digest),
    DecisionKind.DENY: lambda turn, call_id, decision, voice: turn.deny(call_id, decision.reason, by=voice.by),
    DecisionKind.EDIT: lambda turn, call_id, decision, voice: turn.edit(
        call_id, json.loads(decision.value), by=voice.by, digest=voice.digest
    ),
    DecisionKind.ANSWER: lambda turn, call_id, decision, voice: turn.answer(call_id, decision.value, by=voice.by),
    DecisionKind.RESULT: lambda turn, call_id, decision, voice: turn.give_result(call_id, decision.value, by=voice.by),
}
