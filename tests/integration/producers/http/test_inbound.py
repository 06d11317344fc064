"""Inbound webhooks over HTTP: one event is one turn, and what is forged, replayed, too large or hostile makes none."""

import asyncio
import hashlib
import hmac
import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.fernet import Fernet
from pydantic import SecretStr
from sqlalchemy import select

from conversation.inbound_source import InboundSourceRecord, make_source_id
from producers.http.app import create_gateway
from producers.http.principal import Principal
from store import tables
from store.database.engine import Database
from store.inbound import sources
from store.inbound.sources import InboundSourceRequest
from store.settings import Settings, load
from store.threads.repository import load as load_thread
from store.turns import workers
from store.walls.roles import GATEWAY
from store.webhooks.sealed_secrets import SealedSecrets
from tests.integration.store.walls.one_of_each import as_role

SECRET = "the secret of the sender of events"
MAPPING = {
    "thread_id": "shop-{/order/id}",
    "text": "Order {/order/id}: {/event}",
    "user": "{/customer}",
    "idempotency_key": "{/id}",
}
EVENT: dict[str, Any] = {"id": "evt-1", "event": "late", "customer": "ada", "order": {"id": 7}}


class Nobody:
    """No credential holds."""

    async def authenticate(self, *_: object) -> Principal | None:
        return None


class Shop:
    """A sender of events, two gateways under their own role, and the rows behind them."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.database = Database(settings)
        url = SecretStr(as_role(settings.database_url.get_secret_value(), GATEWAY))
        self.gateway_settings = settings.model_copy(update={"database_url": url})
        entry = {"host": "", "pid": 1, "serves": {"assistant": "1"}, "lease_duration_seconds": 600}
        self.database.run(workers.register, worker="01990f4e-7d3c-7a51-8f6e-2b1c9d0e4a77", **entry)

    def make_source(self, secret: str = SECRET, **options: Any) -> InboundSourceRecord:
        values = {"name": "shop", "mapping": MAPPING, "scheme": "hmac-sha256", "header": "X-Sign", "agent": "assistant"}
        request = InboundSourceRequest(**{**values, "tenant": "acme", **options})
        sealed_secrets = SealedSecrets(self.settings)
        return self.database.run(sources.create_source, make_source_id(), request, secret, sealed_secrets)

    def turns(self) -> list[Any]:
        statement = select(tables.turns.c.id, tables.turns.c.tenant, tables.threads.c.id.label("thread_id"))
        statement = statement.join_from(tables.turns, tables.threads).order_by(tables.turns.c.arrival_seq)
        return self.database.run(lambda connection: list(connection.execute(statement)))

    @contextmanager
    def clients(self, count: int = 1) -> Iterator[tuple[asyncio.Runner, list[httpx.AsyncClient]]]:
        """Clients of so many gateways, and the loop that they run on."""
        with asyncio.Runner() as runner:
            apps = [create_gateway(self.gateway_settings, authenticator=Nobody()) for _ in range(count)]
            opened = [httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway") for app in apps]
            yield runner, opened
            for app, client in zip(apps, opened, strict=True):
                runner.run(client.aclose())
                for close in app.state.closers:
                    runner.run(close())

    def send(self, source: InboundSourceRecord, *requests: dict[str, Any]) -> list[httpx.Response]:
        with self.clients() as (runner, (client,)):
            return [runner.run(client.post(source.path, **request)) for request in requests]


def signed(event: Any, secret: str = SECRET, **headers: str) -> dict[str, Any]:
    body = event if isinstance(event, bytes) else json.dumps(event).encode()
    signature = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return {"content": body, "headers": {"X-Sign": signature, "Content-Type": "application/json", **headers}}


@pytest.fixture
def shop(settings: Settings) -> Iterator[Shop]:
    keys = SecretStr(Fernet.generate_key().decode())
    opened = Shop(settings.model_copy(update={"webhook_encryption_keys": keys}))
    yield opened
    opened.database.close()


def test_an_event_is_a_message_of_its_user(shop: Shop) -> None:
    (answer,) = shop.send(shop.make_source(), signed(EVENT))

    assert answer.status_code == 202, answer.text
    (turn,) = shop.turns()
    assert answer.json() == {"turn_id": turn.id, "is_new": True}
    assert (turn.tenant, turn.thread_id) == ("acme", "shop-7")
    thread = shop.database.run(load_thread, "acme", "shop-7")
    assert (thread.user, [pending.message.content for pending in thread.pending]) == ("ada", ["Order 7: late"])


def test_a_storm_of_one_event_over_two_gateways_is_one_turn(shop: Shop) -> None:
    source = shop.make_source()

    async def storm(clients: list[httpx.AsyncClient]) -> list[httpx.Response]:
        # A sender that repeats a delivery may write it anew.
        events = [EVENT | {"attempt": attempt, "event": f"late, {attempt}"} for attempt in range(10)]
        posts = [clients[n % 2].post(source.path, **signed(event)) for n, event in enumerate(events)]
        return list(await asyncio.gather(*posts))

    with shop.clients(2) as (runner, clients):
        answers = runner.run(storm(clients))

    (turn,) = shop.turns()
    assert {answer.status_code for answer in answers} == {202}
    assert {answer.json()["turn_id"] for answer in answers} == {turn.id}
    assert [answer.json()["is_new"] for answer in answers].count(True) == 1


def test_the_same_event_of_two_sources_is_two(shop: Shop) -> None:
    for _ in range(2):
        shop.send(shop.make_source(), signed(EVENT))

    assert len(shop.turns()) == 2


def test_what_is_not_signed_so_is_refused_before_it_is_read(shop: Shop) -> None:
    source = shop.make_source()
    requests = [
        {"content": b"[" * 100_000},
        {"content": b"{}", "headers": {"X-Sign": ""}},
        signed(EVENT, "another secret, of somebody else"),
        signed(EVENT) | {"content": json.dumps(EVENT | {"customer": "eve"}).encode()},
        {"content": signed(EVENT)["content"], "headers": {"Authorization": f"Bearer {SECRET}"}},
        {"content": signed(EVENT)["content"], "headers": [("X-Sign", "00"), *signed(EVENT)["headers"].items()]},
    ]

    answers = shop.send(source, *requests)

    assert [answer.status_code for answer in answers] == [401] * len(requests)
    assert shop.turns() == []


def test_what_is_hostile_or_too_large_is_refused(shop: Shop) -> None:
    source = shop.make_source(max_bytes=2_000)
    refused = {
        400: [
            b"", b"[" * 1_900, b'{"id": NaN}', b'{"id": 1, "id": 2}', b"\xff\xfe", b'"\\ud800"', b"{}",
            *(
                json.dumps(EVENT | change).encode()
                for change in (
                    {"order": {"id": ["x"]}}, {"order": {"id": "x" * 300}}, {"event": "a\0b"}, {"customer": "a b"}
                )
            ),
        ],
        413: [b'"' + b"x" * 2_000 + b'"'],
    }  # fmt: skip

    for status, bodies in refused.items():
        for answer in shop.send(source, *(signed(body) for body in bodies)):
            assert answer.status_code == status, answer.text
            assert answer.headers["content-type"] == "application/problem+json"
    assert shop.turns() == []


def test_a_body_without_a_length_is_read_up_to_the_limit(shop: Shop) -> None:
    source, read = shop.make_source(max_bytes=2_000), 0

    async def pour() -> Any:
        nonlocal read
        for _ in range(1_000):
            read += 1_000
            yield b"x" * 1_000

    (answer,) = shop.send(source, {"content": pour()})

    assert answer.status_code == 413
    assert shop.turns() == []


def test_another_media_type_or_an_unknown_parameter_is_refused(shop: Shop) -> None:
    source = shop.make_source()

    form, parameter = shop.send(
        source, signed(EVENT, **{"Content-Type": "text/plain"}), signed(EVENT) | {"params": {"debug": "1"}}
    )

    assert (form.status_code, parameter.status_code, shop.turns()) == (415, 400, [])


def test_what_a_source_leaves_out_makes_no_turn(shop: Shop) -> None:
    source = shop.make_source(only={"/event": ["paid"]})

    left_out, taken = shop.send(source, signed(EVENT), signed(EVENT | {"event": "paid"}))

    assert (left_out.status_code, left_out.json()) == (202, {"turn_id": None, "is_new": False})
    assert [turn.id for turn in shop.turns()] == [taken.json()["turn_id"]]


def test_a_disabled_a_deleted_and_an_unknown_source_are_not_there(shop: Shop) -> None:
    disabled, deleted, good = shop.make_source(), shop.make_source(), shop.make_source()
    shop.database.run(sources.enable_source, "acme", disabled.id, enabled=False)
    shop.database.run(sources.delete_source, "acme", deleted.id)
    with shop.clients() as (runner, (client,)):
        paths = [disabled.path, deleted.path, f"/v1/inbound/{make_source_id()}", "/v1/inbound/x", f"{good.path}%00"]
        answers = [runner.run(client.post(path, **signed(EVENT))) for path in paths]

    assert [answer.status_code for answer in answers] == [404] * len(paths)
    assert len({answer.json()["detail"] for answer in answers}) == 1


def test_a_secret_that_was_rotated_is_good_for_its_grace(shop: Shop) -> None:
    source, new = shop.make_source(), "another secret, which is new"
    rotate = partial(
        sources.rotate_source, tenant="acme", source_id=source.id, sealed_secrets=SealedSecrets(shop.settings)
    )
    shop.database.run(rotate, secret=new)
    both = shop.send(source, signed(EVENT), signed(EVENT | {"id": "2"}, new))
    shop.database.run(rotate, secret="a third secret, which is newer", grace=timedelta())
    neither = shop.send(source, signed(EVENT | {"id": "3"}), signed(EVENT | {"id": "4"}, new))

    assert [answer.status_code for answer in both] == [202, 202]
    assert [answer.status_code for answer in neither] == [401, 401]


def test_a_tenant_at_its_limit_is_asked_to_come_again(shop: Shop) -> None:
    shop.gateway_settings = shop.gateway_settings.model_copy(update={"tenant_max_unfinished_turns": 1})
    source = shop.make_source()

    first, second = shop.send(source, signed(EVENT), signed(EVENT | {"id": "2"}))

    assert (first.status_code, second.status_code) == (202, 429)
    assert "Retry-After" in second.headers


def test_a_sender_has_the_limits_of_a_credential(shop: Shop) -> None:
    limits = {"gateway_credential_requests_per_minute": 2}
    shop.gateway_settings = shop.gateway_settings.model_copy(update=limits)
    source = shop.make_source()

    answers = shop.send(source, *(signed(EVENT | {"id": str(number)}) for number in range(3)))

    assert [answer.status_code for answer in answers] == [202, 202, 429]


def test_no_secret_and_no_text_stands_in_the_log(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    shop.send(shop.make_source(), signed(EVENT), signed(EVENT, "another secret, of somebody else"), signed(b"{"))

    assert SECRET not in caplog.text
    assert "Order 7" not in caplog.text


def test_without_the_key_that_encrypted_its_secret_it_is_the_operators_fault(settings: Settings, shop: Shop) -> None:
    source = shop.make_source()
    keys = SecretStr(Fernet.generate_key().decode())
    shop.gateway_settings = shop.gateway_settings.model_copy(update={"webhook_encryption_keys": keys})

    (answer,) = shop.send(source, signed(EVENT))

    assert answer.status_code == 500
    assert "KEY" not in answer.text


def test_on_sqlite_as_well(migrated_file: Path, tmp_path: Path) -> None:
    (tmp_path / "store.db").write_bytes(migrated_file.read_bytes())
    keys = Fernet.generate_key().decode()
    settings = load(
        database_url=f"sqlite:///{tmp_path}/store.db", webhook_encryption_keys=keys, broker_url="redis://127.0.0.1:1/0"
    )
    shop = Shop(settings)
    shop.gateway_settings = settings
    source = shop.make_source()

    first, again = shop.send(source, signed(EVENT), signed(EVENT | {"more": 1}))

    assert (first.json()["is_new"], again.json()) == (True, {"turn_id": first.json()["turn_id"], "is_new": False})
    assert len(shop.turns()) == 1
    shop.database.close()
