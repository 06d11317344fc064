"""A gateway over real servers: health, rate limits, and requests that are done once."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from sqlalchemy import Connection, func, select, text, update

from conversation.errors import DatabaseUnavailable
from conversation.ids import new_id
from producers.http.app import create_gateway
from store import idempotent_answers, tables
from store.database.engine import Database
from store.settings import Settings, load
from tasks.jobs.expire_uploads import run_scheduled_expiry
from tests.integration.producers.backend import register_agent
from tests.unit.http.gateways import NOWHERE, NameAuthenticator, client_of, make_gateway

KEY = "Idempotency-Key"
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


async def test_it_is_ready_while_the_database_is_there_whatever_the_broker_does(
    settings: Settings, database: Database
) -> None:
    settings = settings.model_copy(update={"notify_timeout_seconds": 10})
    without_broker = settings.model_copy(update={"broker_url": type(settings.broker_url)(f"redis://{NOWHERE}")})
    without_database = load(database_url=f"postgresql://nobody@{NOWHERE}/none", db_connect_timeout_seconds=1)

    async def ask(settings: Settings) -> tuple[int, Any]:
        gateway = make_gateway(settings)
        async with gateway.router.lifespan_context(gateway), client_of(gateway, name=None) as client:
            answer = await client.get("/health/ready")
            return answer.status_code, answer.json().get("broker", answer.text)

    assert await ask(settings) == (200, "ok")
    assert await ask(without_broker) == (200, "away")
    status, problem = await ask(without_database)
    assert status == 503
    assert NOWHERE not in problem
    with database.engine.begin() as connection:
        connection.execute(text("update alembic_version set version_num = 'r0000'"))
    assert (await ask(settings))[0] == 200  # a later release's schema is fine
    with database.engine.begin() as connection:
        connection.execute(text("delete from alembic_version"))
    assert (await ask(settings))[0] == 503


async def test_one_too_many_requests_are_told_when_to_come_again(settings: Settings) -> None:
    limits = {"gateway_credential_requests_per_minute": 3, "gateway_tenant_requests_per_minute": 5}
    limits["notify_timeout_seconds"] = 10
    tenant = f"tenant-{new_id()}"
    gateways = [make_gateway(settings.model_copy(update=limits)) for _ in range(2)]
    answers = []
    for number, user in enumerate(["anna"] * 4 + ["bert"] * 3):
        async with client_of(gateways[number % 2], name=f"{tenant}/{user}") as client:
            answers.append(await client.get("/v1/try"))
    async with client_of(gateways[0], name="another") as client:
        other = await client.get("/v1/try")
    async with client_of(gateways[0], name=None) as client:
        probe = await client.get("/health/live")

    assert [answer.status_code for answer in answers] == [200, 200, 200, 429, 200, 200, 429]
    assert answers[0].headers["RateLimit-Policy"] == '"credential";q=3;w=60, "tenant";q=5;w=60'
    assert answers[0].headers["RateLimit"].startswith('"credential";r=2;t=')
    assert answers[3].headers["RateLimit"].startswith('"credential";r=0;t=')
    assert 1 <= int(answers[3].headers["Retry-After"]) <= 60
    assert "tenant" in answers[6].json()["detail"]
    assert (other.status_code, "RateLimit" in probe.headers) == (200, False)
    for gateway in gateways:
        await gateway.state.gateway.rate_limiter.close()


async def test_a_request_under_a_key_is_done_once(any_database: Database) -> None:
    """On each database, over two gateways: replayed, refused with another body, and another client's own."""
    calls: list[None] = []
    gateways = [make_gateway(any_database.settings, on_call=lambda: calls.append(None)) for _ in range(2)]
    one, other = (client_of(gateway, name="acme/anna") for gateway in gateways)
    bert, globex = client_of(gateways[0], name="acme/bert"), client_of(gateways[0], name="globex/anna")
    request = {"text": "hello"}

    first = await one.post("/v1/try", json=request, headers={KEY: '"a-1"'})
    again = await other.post("/v1/try", json=request, headers={KEY: "a-1"})
    changed = await one.post("/v1/try", json={"text": "bye"}, headers={KEY: "a-1"})
    strangers = [await client.post("/v1/try", json=request, headers={KEY: "a-1"}) for client in (bert, globex)]
    without = await one.post("/v1/try", json=request)

    assert (again.status_code, again.json()) == (first.status_code, first.json()) == (201, first.json())
    assert (again.headers["Idempotent-Replayed"], "Idempotent-Replayed" in first.headers) == ("true", False)
    assert again.headers["X-Request-Id"] != first.headers["X-Request-Id"]
    assert (changed.status_code, changed.json()["field"]) == (422, "Idempotency-Key")
    assert len({answer.json()["id"] for answer in (first, *strangers, without)}) == 4
    assert len(calls) == 4
    await close(*gateways)


@pytest.mark.parametrize("key", ["", " ", '"', '"a', "a b", 'a"b', "a,b", "é", "x" * 256, '"\\x"', '""', "a;b=1"])
async def test_a_key_that_is_none_is_refused(settings: Settings, key: str) -> None:
    gateway = make_gateway(settings)
    async with client_of(gateway) as client:
        answer = await client.post("/v1/try", json={"text": "a"}, headers=[(KEY.encode(), key.encode())])
        twice = await client.post("/v1/try", json={"text": "a"}, headers=[(KEY, "a"), (KEY, "b")])

    assert (answer.status_code, answer.json()["field"]) == (400, "Idempotency-Key")
    assert twice.status_code == 400
    await close(gateway)


async def test_a_request_is_refused_while_another_gateway_works_at_it(settings: Settings) -> None:
    begun, ends = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        begun.set()
        await ends.wait()

    gateways = [make_gateway(settings, on_call=work), make_gateway(settings)]
    one, other = map(client_of, gateways)
    running = asyncio.create_task(one.post("/v1/try", json={"text": "a"}, headers={KEY: "k"}))
    await begun.wait()
    in_flight = await other.post("/v1/try", json={"text": "a"}, headers={KEY: "k"})
    ends.set()
    first = await running
    again = await other.post("/v1/try", json={"text": "a"}, headers={KEY: "k"})

    assert (in_flight.status_code, in_flight.json()["retryable"], in_flight.headers["Retry-After"]) == (409, True, "1")
    assert again.json() == first.json()
    await close(*gateways)


async def test_what_broke_off_is_run_again_and_makes_the_same(any_database: Database) -> None:
    """However it broke: an error of ours, one of the database's, its time was up, or its process died."""
    outcomes: list[Callable[[], Any]] = [lambda: _raise(KeyError("x")), lambda: _raise(DatabaseUnavailable("x"))]
    outcomes += [lambda: asyncio.sleep(60), lambda: None]
    hasty_settings = any_database.settings.model_copy(update={"gateway_request_timeout_seconds": 1})
    gateway, hasty = (
        make_gateway(settings, on_call=lambda: outcomes[0]())  # noqa: PLW0108 - the first one of then
        for settings in (any_database.settings, hasty_settings)
    )
    await hasty.state.gateway.producer.warm_up_async()
    async with client_of(gateway) as client, client_of(hasty) as hasty_client:
        statuses = []
        while outcomes:
            asked = hasty_client if len(outcomes) == 2 else client
            answer = await asked.post("/v1/try", json={"text": "a"}, headers={KEY: "k"})
            statuses.append(answer.status_code)
            outcomes.pop(0)
            with any_database.engine.begin() as connection:
                # On a slow machine the time is over before the claim is known.
                connection.execute(update(tables.idempotent_answers).values(claimed_until=LONG_AGO))
        with any_database.engine.begin() as connection:
            row = connection.execute(select(tables.idempotent_answers)).one()
            # As a process that died between what it did and its answer.
            connection.execute(
                update(tables.idempotent_answers).values(status=None, claimed_until=row.expires_at, claim=new_id())
            )
        in_flight = await client.post("/v1/try", json={"text": "a"}, headers={KEY: "k"})
        with any_database.engine.begin() as connection:
            connection.execute(update(tables.idempotent_answers).values(claimed_until=LONG_AGO))
        outcomes.append(lambda: None)
        after_death = await client.post("/v1/try", json={"text": "a"}, headers={KEY: "k"})

    assert statuses == [500, 503, 504, 201]
    assert (in_flight.status_code, after_death.status_code) == (409, 201)
    assert answer.json() == after_death.json() == {"id": row.made_id, "is_repeat": True, "text": "a"}
    await close(gateway, hasty)


async def test_a_request_that_is_given_up_leaves_nothing_half_done(settings: Settings, database: Database) -> None:
    gateway = make_gateway(settings.model_copy(update={"gateway_request_timeout_seconds": 2}))

    def write_slowly(connection: Connection) -> None:
        connection.execute(text("insert into schedule_runs values ('half', now(), now(), null, null, null)"))
        connection.execute(text("select pg_sleep(20)"))

    @gateway.get("/v1/write")
    async def write() -> None:
        await gateway.state.gateway.producer.database.run_async(write_slowly)

    async with gateway.router.lifespan_context(gateway), client_of(gateway) as client:
        answers = [await client.get("/v1/write") for _ in range(2)]

    assert [answer.status_code for answer in answers] == [504, 504]
    assert database.run(lambda connection: connection.execute(text("select 1 from schedule_runs")).all()) == []


async def test_a_request_that_did_nothing_leaves_its_key_free(settings: Settings, database: Database) -> None:
    gateway = make_gateway(settings)
    async with client_of(gateway) as client:
        wrong = await client.post("/v1/try", json={"txet": "a"}, headers={KEY: "k"})
        mended = await client.post("/v1/try", json={"text": "a"}, headers={KEY: "k"})
        nowhere = await client.post("/v1/none", json={"text": "a"}, headers={KEY: "k"})

    assert (wrong.status_code, mended.status_code, nowhere.status_code) == (400, 201, 404)
    assert database.run(count_answers) == 1
    await close(gateway)


async def test_answers_that_expired_are_forgotten(settings: Settings, any_database: Database) -> None:
    gateway = make_gateway(any_database.settings)
    async with client_of(gateway) as client:
        first = await client.post("/v1/try", json={"text": "a"}, headers={KEY: "k"})
        with any_database.engine.begin() as connection:
            connection.execute(update(tables.idempotent_answers).values(expires_at=LONG_AGO))
        # Before any job came by: what has expired is no answer any more.
        second = await client.post("/v1/try", json={"text": "b"}, headers={KEY: "k"})
        with any_database.engine.begin() as connection:
            connection.execute(update(tables.idempotent_answers).values(expires_at=LONG_AGO))
    files = settings.model_copy(update={"database_url": any_database.settings.database_url})

    outcome = run_scheduled_expiry(any_database, files, {})

    assert (second.status_code, second.json()["id"] != first.json()["id"]) == (201, True)
    assert (outcome["answers"], any_database.run(count_answers)) == (1, 0)
    assert any_database.run(idempotent_answers.forget_expired) == 0
    await close(gateway)


def count_answers(connection: Any) -> int:
    count: int = connection.execute(select(func.count()).select_from(tables.idempotent_answers)).scalar_one()
    return count


def _raise(error: Exception) -> None:
    raise error


async def close(*gateways: Any) -> None:
    for gateway in gateways:
        async with gateway.router.lifespan_context(gateway):
            pass


async def test_a_crash_before_the_answer_doubles_nothing(settings: Settings, database: Database) -> None:
    """Threads with and without an id of the client's, copies and requeued turns are what they were at first."""
    register_agent(database, "assistant")
    gateway = create_gateway(settings, authenticator=NameAuthenticator())
    async with gateway.router.lifespan_context(gateway), client_of(gateway) as client:

        async def post_through_crash(path: str, body: dict[str, Any]) -> list[Any]:
            first = await client.post(path, json=body, headers={KEY: new_id()})
            with database.engine.begin() as connection:
                connection.execute(update(tables.idempotent_answers).values(status=None, claimed_until=LONG_AGO))
            again = await client.post(path, json=body, headers={KEY: first.request.headers[KEY]})
            assert (again.status_code, "Idempotent-Replayed" in again.headers) == (first.status_code, False)
            return [first.json(), again.json()]

        made, named = await post_through_crash("/v1/threads", {}), await post_through_crash("/v1/threads", {"id": "a"})
        copies = await post_through_crash("/v1/threads/a/fork", {})
        turn = (await client.post("/v1/threads/a/messages", json={"content": "hello"})).json()["turn"]
        await client.post(f"/v1/turns/{turn['id']}/cancel")
        requeued = await post_through_crash(f"/v1/turns/{turn['id']}/requeue", {})
        threads = (await client.get("/v1/threads")).json()["threads"]
        turns = (await client.get("/v1/threads/a/turns")).json()["turns"]

    for pair in (made, named, copies):
        assert pair[0]["id"] == pair[1]["id"]
    assert requeued[0]["turn"]["id"] == requeued[1]["turn"]["id"]
    assert (len(threads), len(turns)) == (3, 1)


async def test_the_key_of_a_send_is_one_threads_and_one_clients(settings: Settings, database: Database) -> None:
    register_agent(database, "assistant")
    gateway = create_gateway(settings, authenticator=NameAuthenticator())
    async with gateway.router.lifespan_context(gateway), client_of(gateway) as client:

        async def send(thread_id: str, content: str, *, name: str = "acme") -> httpx.Response:
            headers = {KEY: "k", "Authorization": f"Bearer {name}"}
            return await client.post(f"/v1/threads/{thread_id}/messages", json={"content": content}, headers=headers)

        for thread_id, name in (("a", "acme"), ("b", "acme"), ("a", "globex")):
            await client.post("/v1/threads", json={"id": thread_id}, headers={"Authorization": f"Bearer {name}"})
        first, again, changed = await send("a", "hello"), await send("a", "hello"), await send("a", "bye")
        others = [await send("b", "hello"), await send("a", "hello", name="globex")]

    assert (again.status_code, again.json()) == (202, first.json())
    assert (changed.status_code, changed.json()["field"]) == (422, "Idempotency-Key")
    ids = {answer.json()["turn"]["id"] for answer in (first, *others)}
    assert len(ids) == 3
