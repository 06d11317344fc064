"""A gateway answers whatever it is sent: no request brings an error of the server, and none hangs."""

import os
import random
import re

import httpx
import pytest
from structlog.testing import capture_logs

from producers.http.app import create_gateway
from store.database.engine import Database
from store.settings import Settings
from tests.http_fuzz import Fuzz
from tests.integration.producers.backend import register_agent
from tests.unit.http.gateways import NameAuthenticator


@pytest.mark.parametrize(
    "count",
    [
        300,
        pytest.param(1_500, marks=pytest.mark.soak),
        pytest.param(100_000, marks=[pytest.mark.endurance, pytest.mark.timeout(3600)]),
    ],
)
async def test_no_request_breaks_it(settings: Settings, database: Database, count: int) -> None:
    register_agent(database, "assistant")
    seed = int(os.environ.get("FUZZ_SEED", "16"))
    app = create_gateway(settings, authenticator=NameAuthenticator())
    with capture_logs():
        async with app.router.lifespan_context(app):
            fuzz = Fuzz(app, app.openapi(), random.Random(seed), b"Bearer acme", {"agent": ["assistant"]})
            await fuzz.run(count)

    assert "\n".join(fuzz.complaints[:20]) == ""
    assert fuzz.statuses.total() == count
    # It got past the first check often enough to mean something.
    assert sum(fuzz.statuses[status] for status in (200, 201, 202, 204)) > count / 20


async def test_no_id_that_a_database_cannot_hold_reaches_one(settings: Settings) -> None:
    app = create_gateway(settings, authenticator=NameAuthenticator())
    operations = [(method, path) for path, item in app.openapi()["paths"].items() if "{" in path for method in item]
    client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway")
    client.headers["authorization"] = "Bearer acme"

    async def ask(method: str, path: str) -> int:
        url = re.sub(r"\{\w+\}", "a%00b", path)
        return (await client.request(method, url, json={"thread_id": "a\0b", "content": "x"})).status_code

    async with app.router.lifespan_context(app), client:
        statuses = {operation: await ask(*operation) for operation in operations}

    assert len(statuses) > 40
    assert {operation: status for operation, status in statuses.items() if not 400 <= status < 500} == {}
