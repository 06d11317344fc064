"""The outbox: what is written when a turn ends, what is sent when, and in which order."""

import asyncio
import base64
import random
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import SecretStr
from sqlalchemy import func, select
from standardwebhooks import Webhook as Verifier
from standardwebhooks import WebhookVerificationError

from conversation.ids import new_id
from conversation.pending_call import Decision, DecisionKind, PendingKind, PendingRequest
from conversation.turn import Completed, Waiting
from conversation.webhooks import make_secret
from store import tables
from store.retention.delete_thread import delete_thread
from store.thread_store import ThreadStore
from store.turns import decisions, settle
from store.webhooks import endpoints, listing, outbox, reseal, upkeep
from tests.integration.webhook_scene import WebhookScene, cancelled, failed


def test_an_end_of_a_turn_is_told_with_its_ids_and_without_what_was_said(scene: WebhookScene) -> None:
    webhook = scene.webhook()

    turn_id = scene.turn("order-1")
    counts = scene.send()

    (request,) = scene.receiver.received
    assert counts == {"delivered": 1}
    assert request.event["type"] == "turn.completed"
    assert request.event["data"] == {"tenant": "default", "thread_id": "order-1", "turn_id": turn_id, "agent": "a"}
    assert b"secret" not in request.body
    (delivery,) = scene.deliveries(webhook)
    assert (delivery.id, delivery.state, delivery.attempts, delivery.last_status) == (request.id, "delivered", 1, 200)


def test_each_end_has_its_kind_and_a_failure_says_of_what_kind_it_was(scene: WebhookScene) -> None:
    scene.webhook()

    for ending in (None, failed("deadline"), cancelled()):
        scene.turn(ending=ending)
    scene.send()

    events = [request.event for request in scene.receiver.received]
    assert [event["type"] for event in events] == ["turn.completed", "turn.failed", "turn.cancelled"]
    assert [event["data"].get("error_kind") for event in events] == [None, "deadline", None]


def test_a_webhook_is_told_of_its_tenants_events_of_its_kinds_and_agents_alone(scene: WebhookScene) -> None:
    by_kind = scene.webhook(kinds=["turn.failed"])
    by_agent = scene.webhook(agents=["b"])
    disabled = scene.webhook()
    scene.database.run(endpoints.change_webhook, None, disabled.id, {"enabled": False})
    other = scene.webhook(tenant="acme")

    scene.turn()
    scene.turn(ending=failed())
    scene.turn(agent="b")
    scene.turn(tenant="acme")

    assert [one.kind for one in scene.deliveries(by_kind)] == ["turn.failed"]
    assert len(scene.deliveries(by_agent)) == len(scene.deliveries(other)) == 1
    assert scene.deliveries(disabled) == []


def test_a_turn_that_is_not_settled_tells_nobody(scene: WebhookScene) -> None:
    webhook = scene.webhook()
    turn = scene.claim()

    class Break(Exception):
        pass

    def settle_and_break(connection: object) -> None:
        settle.settle(connection, turn.lease, turn.id, Completed(), release=True)  # type: ignore[arg-type]
        raise Break

    with pytest.raises(Break):
        scene.database.run(settle_and_break)
    assert scene.deliveries(webhook) == []

    scene.settle(turn)
    scene.settle(turn)
    assert len(scene.deliveries(webhook)) == 1


def test_deliveries_of_a_thread_are_sent_in_order_whatever_fails(scene: WebhookScene) -> None:
    webhook = scene.webhook()
    luck = random.Random(7)
    scene.receiver.answer = lambda _: 200 if luck.random() < 0.5 else 500
    turns = {thread: [scene.turn(thread) for _ in range(4)] for thread in ("one", "two", "three")}

    scene.wait_and_send(30 * 3600, step=2 * 3600)

    assert {one.state for one in scene.deliveries(webhook)} == {"delivered"}
    for thread, turn_ids in turns.items():
        accepted = [one.event["data"]["turn_id"] for one in scene.receiver.received if one.thread == thread]
        # Repeats of one event stand together: none comes before one that happened earlier.
        assert list(dict.fromkeys(accepted)) == turn_ids
        assert accepted == sorted(accepted, key=turn_ids.index)


def test_a_receiver_that_was_down_for_an_hour_gets_each_event_once_it_is_back(scene: WebhookScene) -> None:
    webhook = scene.webhook()
    scene.receiver.answer = lambda _: None
    turns = [scene.turn(f"thread-{number % 8}") for number in range(24)]

    scene.wait_and_send(3600, step=240)
    attempts = sum(one.attempts for one in scene.deliveries(webhook, limit=100))
    # It is not knocked at by each of them again and again.
    assert attempts < 24 + 20
    assert scene.reread(webhook).failures >= outbox.AWAY_AFTER

    scene.receiver.answer = lambda _: 200
    scene.wait_and_send(600, step=300)

    assert sorted(one.event["data"]["turn_id"] for one in scene.receiver.received) == sorted(turns)
    assert len({one.id for one in scene.receiver.received}) == len(turns)
    for thread in {one.thread for one in scene.receiver.received}:
        accepted = [one.event["data"]["turn_id"] for one in scene.receiver.received if one.thread == thread]
        assert accepted == sorted(accepted, key=turns.index)
    assert scene.reread(webhook).failures == 0


def test_an_outage_of_a_moment_costs_seconds_however_many_attempts_met_it(scene: WebhookScene) -> None:
    webhook = scene.webhook()
    scene.receiver.answer = lambda _: None
    for number in range(16):
        scene.turn(f"thread-{number}")

    scene.send()
    assert scene.reread(webhook).failures == outbox.AWAY_AFTER
    scene.receiver.answer = lambda _: 200
    scene.wait_and_send(30, step=10)

    assert {one.state for one in scene.deliveries(webhook)} == {"delivered"}


def test_a_delivery_is_dead_after_days_and_what_is_behind_it_is_sent(scene: WebhookScene) -> None:
    webhook = scene.webhook()
    first = scene.turn()
    second = scene.turn()
    scene.receiver.answer = lambda request: 500 if request.event["data"]["turn_id"] == first else 200

    scene.wait_and_send(2 * 86_400, step=6 * 3600)
    assert [one.state for one in scene.deliveries(webhook)] == ["pending", "pending"]
    scene.wait_and_send(2 * 86_400, step=6 * 3600)

    newest, oldest = scene.deliveries(webhook)
    assert (oldest.turn_id, oldest.state, oldest.last_status) == (first, "dead", 500)
    assert (newest.turn_id, newest.state) == (second, "delivered")
    assert [one.id for one in scene.deliveries(webhook, state="dead")] == [oldest.id]


def test_a_dead_delivery_is_replayed_under_its_id_with_its_body(scene: WebhookScene) -> None:
    webhook = scene.webhook()
    scene.receiver.answer = lambda _: 500
    scene.turn()
    scene.send()
    (request,) = scene.receiver.received
    scene.wait(4 * 86_400)
    scene.send()
    (dead,) = scene.deliveries(webhook)
    assert dead.state == "dead"

    scene.receiver.answer = lambda _: 200
    scene.wait(3600)
    assert scene.database.run(listing.replay_dead, "default", webhook.id) == 1
    assert scene.database.run(listing.replay_dead, "default", webhook.id) == 0
    scene.send()

    (delivery,) = scene.deliveries(webhook)
    assert (delivery.id, delivery.state, delivery.attempts) == (request.id, "delivered", 1)
    assert (scene.receiver.received[-1].id, scene.receiver.received[-1].body) == (request.id, request.body)

    again = scene.database.run(listing.replay, "default", webhook.id, delivery.id)
    assert again.state == "pending"
    scene.send()
    assert len(scene.receiver.received) == 4


def test_a_sender_that_was_killed_leaves_its_delivery_to_the_next_one(scene: WebhookScene) -> None:
    webhook = scene.webhook()
    scene.turn()
    scene.turn()
    (due,) = scene.database.run(outbox.list_due)
    killed = scene.database.run(outbox.claim_due, due, new_id(), limit=16, timeout_seconds=15)
    assert len(killed) == 1

    scene.send()
    assert scene.receiver.received == []  # the claim holds, and the second event waits behind the first

    scene.wait(15 + outbox.CLAIM_MARGIN_SECONDS + 1)
    scene.send()

    assert next(one.id for one in scene.receiver.received) == killed[0].id
    assert {one.state for one in scene.deliveries(webhook)} == {"delivered"}
    # What the first one records when it comes back late counts no more.
    late = outbox.Attempt(error="too late")
    assert scene.database.run(outbox.record_attempt, webhook.id, killed[0], late, max_seconds=0) is None
    assert {one.state for one in scene.deliveries(webhook)} == {"delivered"}


def test_a_server_that_answers_410_is_sent_nothing_more_until_it_is_enabled(scene: WebhookScene) -> None:
    webhook = scene.webhook()
    scene.receiver.answer = lambda _: 410
    scene.turn()
    scene.send()

    gone = scene.reread(webhook)
    assert (gone.state, gone.disabled_reason) == ("disabled", "gone")
    scene.turn()
    scene.wait_and_send(4 * 86_400, step=86_400)
    assert [one.state for one in scene.deliveries(webhook)] == ["pending"]
    assert len(scene.receiver.received) == 1

    scene.receiver.answer = lambda _: 200
    scene.database.run(endpoints.change_webhook, "default", webhook.id, {"enabled": True})
    scene.send()
    assert [one.state for one in scene.deliveries(webhook)] == ["delivered"]


def test_a_server_that_asks_for_a_pause_gets_it(scene: WebhookScene) -> None:
    webhook = scene.webhook()
    scene.receiver.answer = lambda _: (429, 1800.0)
    scene.turn("one")
    scene.send()
    scene.receiver.answer = lambda _: 200
    scene.turn("two")

    scene.wait_and_send(1700, step=100)
    assert len(scene.receiver.received) == 1
    scene.wait_and_send(200, step=100)

    assert {one.state for one in scene.deliveries(webhook)} == {"delivered"}


def test_a_rotated_key_signs_beside_the_new_one_for_its_grace(scene: WebhookScene) -> None:
    old, new = make_secret(), make_secret()
    webhook = scene.webhook(old)
    rotate = {"secret": new, "sealed_secrets": scene.sealed_secrets, "grace": timedelta(hours=1)}
    for _ in range(2):
        rotated = scene.database.run(endpoints.rotate_secret, "default", webhook.id, **rotate)
        assert rotated.signing_keys == 2
    scene.turn()
    scene.send()

    (request,) = scene.receiver.received
    for secret in (old, new):
        Verifier(secret).verify(request.body, dict(request.headers))
    with pytest.raises(WebhookVerificationError):
        Verifier(make_secret()).verify(request.body, dict(request.headers))
    with scene.database.engine.begin() as connection:
        stored = str(connection.execute(select(tables.webhooks.c.secrets)).scalar_one())
    assert "whsec_" not in stored
    assert old.removeprefix("whsec_") not in stored


def test_keys_that_cannot_be_read_hold_up_their_webhook_and_nothing_else(scene: WebhookScene) -> None:
    webhook = scene.webhook()
    scene.turn()

    other_key = "b3RoZXJvdGhlcm90aGVyb3RoZXJvdGhlcm90aGVyIDE="
    scene.settings = scene.settings.model_copy(update={"webhook_encryption_keys": SecretStr(other_key)})
    assert scene.send() == {}

    (delivery,) = scene.deliveries(webhook)
    assert (delivery.state, delivery.attempts) == ("pending", 0)
    assert scene.reread(webhook).retry_at is not None


def test_deliveries_go_with_their_thread_their_webhook_and_their_time(scene: WebhookScene) -> None:
    webhook, other = scene.webhook(), scene.webhook()
    scene.turn("one")
    scene.turn("two")
    scene.send()

    scene.database.run(delete_thread, "default", "one")
    assert [one.thread_id for one in scene.deliveries(webhook)] == ["two"]

    scene.database.run(endpoints.delete_webhook, "default", other.id)
    assert scene.database.run(upkeep.delete_unwanted, retention_days=14) == 1
    assert scene.database.run(upkeep.delete_old, retention_days=14) == 0
    scene.wait(15 * 86_400)
    assert scene.database.run(upkeep.delete_old, retention_days=14) == 1
    with scene.database.engine.begin() as connection:
        count = connection.execute(select(func.count()).select_from(tables.webhook_deliveries)).scalar_one()
    assert count == 0


def waiting() -> Waiting:
    return Waiting(
        pending=(
            PendingRequest(
                call_id="call_1.2", step_index=1, kind=PendingKind.APPROVAL, name="refund", arguments='{"amount": 5}'
            ),
            PendingRequest(
                call_id="call-2",
                step_index=2,
                kind=PendingKind.QUESTION,
                name="ask_user",
                question="Which order?",
                choices=["A", "B"],
            ),
        )
    )


def test_a_turn_that_waits_tells_what_is_to_be_decided_and_where(scene: WebhookScene) -> None:
    scene.webhook(kinds=["turn.waiting"], link_template="https://app.example/{thread_id}/{turn_id}?call={call_id}")

    turn_id = scene.turn("order-1", waiting())
    scene.send()

    (request,) = scene.receiver.received
    assert request.event["type"] == "turn.waiting"
    approval, question = request.event["data"]["calls"]
    assert (approval["kind"], approval["name"], approval["arguments"]) == ("approval", "refund", '{"amount": 5}')
    assert approval["digest"] == waiting().pending[0].arguments_digest
    assert approval["link"] == f"https://app.example/order-1/{turn_id}?call=call_1.2"
    assert (question["question"], question["choices"]) == ("Which order?", ["A", "B"])
    assert datetime.fromisoformat(question["expires_at"]) > datetime.now(UTC)


def test_what_was_decided_before_it_was_told_is_not_asked_for(scene: WebhookScene) -> None:
    webhook = scene.webhook(kinds=["turn.waiting"])
    turn_id = scene.turn("order-1", waiting())
    scene.receiver.answer = lambda _: 500
    decision = Decision(kind=DecisionKind.APPROVE)
    scene.database.run(decisions.decide, turn_id, "call_1.2", decision, by="ann")
    scene.send()
    scene.database.run(decisions.decide, turn_id, "call-2", Decision(kind=DecisionKind.ANSWER, value="A"), by="ann")
    scene.receiver.answer = lambda _: 200
    scene.wait(3600)
    scene.send()

    first, second = scene.receiver.received
    assert [call["call_id"] for call in first.event["data"]["calls"]] == ["call-2"]
    # In each attempt it is the same event.
    assert (first.id, first.body) == (second.id, second.body)
    assert "link" not in first.event["data"]["calls"][0]
    assert [one.state for one in scene.deliveries(webhook)] == ["delivered"]


def test_the_operators_keys_are_rotated_without_a_gap(scene: WebhookScene) -> None:
    webhook = scene.webhook()
    old = scene.settings.webhook_encryption_keys.get_secret_value()
    new = base64.b64encode(b"n" * 32).decode()

    def use(keys: str) -> None:
        scene.settings = scene.settings.model_copy(update={"webhook_encryption_keys": SecretStr(keys)})

    use(f"{new}, {old}")
    scene.turn()
    assert scene.send() == {"delivered": 1}
    rows = scene.database.run(reseal.list_sealed)
    assert rows == [("webhooks", webhook.id)]
    for table_name, row_id in rows:
        scene.database.run(reseal.reseal, table_name, row_id, scene.sealed_secrets)

    use(new)
    scene.turn()
    assert scene.send() == {"delivered": 1}
    use(old)
    scene.turn()
    assert scene.send() == {}


async def test_a_switch_to_another_branch_is_told_with_the_branch(scene: WebhookScene) -> None:
    scene.webhook()
    await asyncio.to_thread(scene.turn, "order-1")
    store = ThreadStore(scene.settings)
    store.database = scene.database
    thread = await store.get_thread("order-1")
    branch = await store.branch("order-1", at=thread.messages[0].id)
    await store.choose_branch("order-1", branch.id)
    await store.choose_branch("order-1", branch.id)
    await asyncio.to_thread(scene.turn, "order-1", branch=branch.id)
    await store.choose_branch("order-1", "main")
    await scene.database.close_async()
    await asyncio.to_thread(scene.send)

    events = [request.event for request in scene.receiver.received]
    of_first = [event["type"] for event in events if "turn_id" not in event["data"]]
    assert of_first == ["thread.switched"] * 2
    switches = [event["data"] for event in events if event["type"] == "thread.switched"]
    assert switches == [
        {"tenant": "default", "thread_id": "order-1", "agent": "a", "branch": branch.id, "shared_to_seq": 1},
        {"tenant": "default", "thread_id": "order-1", "agent": "a", "branch": "main", "shared_to_seq": 0},
    ]
    (answer,) = [event["data"] for event in events if event["type"] == "turn.completed" and "branch" in event["data"]]
    assert (answer["thread_id"], answer["branch"]) == ("order-1", branch.id)
