"""What is wrong with webhooks: nobody sends, their server is gone, deliveries are dead, keys cannot be read."""

import base64
from collections.abc import Iterator

import pytest
from pydantic import SecretStr

from store.blobs import MemoryBlobs
from store.database.engine import Database
from store.doctor import Examination, Scope
from store.settings import load
from store.webhooks.health import examine_webhooks
from tests.integration.webhook_scene import WebhookScene

KEY = base64.urlsafe_b64encode(b"k" * 32).decode()
NAMES = ("webhook-not-sent", "webhook-gone", "webhook-given-up", "webhook-key-unreadable")


@pytest.fixture
def scene(any_database: Database) -> Iterator[WebhookScene]:
    any_database.settings = any_database.settings.model_copy(update={"webhook_encryption_keys": SecretStr(KEY)})
    with WebhookScene.open(any_database, any_database.settings) as scene:
        yield scene


def find(scene: WebhookScene, tenant: str | None = None) -> dict[str, list[str]]:
    """The webhooks that each check finds something of."""
    examination = Examination(database=scene.database, files=MemoryBlobs(), scope=Scope(tenant=tenant), only=NAMES)
    results = {
        result.check.name: [note.finding.ids["webhook"] for note in result.notes] for result in examination.run()
    }
    return {name: ids for name, ids in results.items() if ids}


def test_a_webhook_that_is_well_is_no_finding(scene: WebhookScene) -> None:
    scene.webhook()
    scene.turn()

    assert find(scene) == {}
    scene.send()
    assert find(scene) == {}


def test_what_nobody_sends_is_found(scene: WebhookScene) -> None:
    webhook = scene.webhook()
    scene.turn()
    scene.turn()
    scene.wait(700)

    assert find(scene) == {"webhook-not-sent": [webhook.id]}
    assert find(scene, "acme") == {}
    (health,) = scene.database.run(examine_webhooks)
    assert (health.pending, health.dead, health.is_away) == (2, 0, False)


def test_a_server_that_is_gone_and_what_was_given_up_are_found(scene: WebhookScene) -> None:
    gone = scene.webhook(url="https://gone.example/")
    dead = scene.webhook(url="https://dead.example/")
    scene.receiver.answer = lambda request: 410 if "gone" in request.url else 500
    scene.turn()
    scene.send()
    scene.wait(4 * 86_400)
    scene.send()

    assert find(scene) == {"webhook-gone": [gone.id], "webhook-given-up": [dead.id]}


def test_a_key_that_cannot_be_read_is_found(scene: WebhookScene) -> None:
    webhook = scene.webhook()
    other = SecretStr(base64.urlsafe_b64encode(b"o" * 32).decode())
    scene.database.settings = load(webhook_encryption_keys=other)

    assert find(scene) == {"webhook-key-unreadable": [webhook.id]}
