"""The verbs of pending calls, with values that they take: on a turn that waits for nothing."""

import producers
from conversation.errors import PendingCallNotFound
from tests.integration.hostile.verb import Make, Verb, just

#: Decisions, with the arguments that each takes beside the call and who decides.
_DECISIONS: dict[str, dict[str, Make]] = {
    "approve": {"digest": just("0" * 64)},
    "deny": {"reason": just("too much")},
    "edit": {"arguments": just({"amount": 1}), "digest": just("0" * 64)},
    "answer": {"value": just("blue")},
    "give_result": {"result": just({"shown": True})},
}
_LISTED: dict[str, Make] = {"tenant": just("default"), "user": just("me"), "limit": just(1), "cursor": just(None)}


def _verbs_of(class_name: str, turn_name: str) -> dict[str, Verb]:
    decisions = {
        f"{class_name}.{name}": Verb(
            lambda stage, name=name, **given: getattr(getattr(stage, turn_name), name)(**given),
            {"call_id": just("call-1"), "by": just("me"), **arguments},
            raises=(PendingCallNotFound,),
        )
        for name, arguments in _DECISIONS.items()
    }
    return decisions | {f"{class_name}.pending": Verb(lambda stage: getattr(stage, turn_name).pending())}


PENDING: dict[str, Verb] = {
    **_verbs_of("Turn", "turn"),
    **_verbs_of("AsyncTurn", "async_turn"),
    "producers.list_pending": Verb(lambda _, **given: producers.list_pending(**given), _LISTED),
    "producers.list_pending_async": Verb(lambda _, **given: producers.list_pending_async(**given), _LISTED),
}
