"""The web examples, run as their frameworks run them, on real servers."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from producers import api
from store.database.engine import Database
from store.settings import Settings
from tests.integration.producers.backend import answer, counts, queued_wake_ups, register_agent
from tests.integration.producers.django_backend import configure

EXAMPLES = Path(__file__).parents[3] / "examples" / "web"


class FastAPIClient:
    """The application on an event loop of its own, with its lifespan around it."""

    def __init__(self) -> None:
        from examples.web.fastapi_app import app

        self.runner = asyncio.Runner()
        self.lifespan = app.router.lifespan_context(app)
        self.runner.run(self.lifespan.__aenter__())
        self.client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://backend")

    def post(self, path: str, said: dict[str, str], **headers: str) -> tuple[int, Any]:
        answered = self.runner.run(self.client.post(path, json=said, headers=headers))
        return answered.status_code, answered.json()

    def get(self, path: str) -> tuple[int, Any]:
        answered = self.runner.run(self.client.get(path))
        return answered.status_code, answered.json()

    def close(self) -> None:
        self.runner.run(self.client.aclose())
        self.runner.run(self.lifespan.__aexit__(None, None, None))
        self.runner.close()


class FlaskClient:
    def __init__(self) -> None:
        from examples.web.flask_app import app

        self.client: Any = app.test_client()

    def post(self, path: str, said: dict[str, str], **headers: str) -> tuple[int, Any]:
        answered = self.client.post(path, json=said, headers=headers)
        return answered.status_code, answered.get_json()

    def get(self, path: str) -> tuple[int, Any]:
        answered = self.client.get(path)
        return answered.status_code, answered.get_json()

    def close(self) -> None:
        api.default_producer().close()


class DjangoClient:
    def __init__(self) -> None:
        from django.test import Client
        from django.test.utils import override_settings

        self.urls = override_settings(ROOT_URLCONF="examples.web.django_app", DEBUG=False)
        self.urls.enable()
        self.client: Any = Client()

    def post(self, path: str, said: dict[str, str], **headers: str) -> tuple[int, Any]:
        body = {"order": "soap"} | said
        answered = self.client.post(path, body, content_type="application/json", headers=headers)
        return answered.status_code, answered.json()

    def get(self, path: str) -> tuple[int, Any]:
        answered = self.client.get(path)
        return answered.status_code, answered.json()

    def close(self) -> None:
        from django.db import connections

        self.urls.disable()
        connections.close_all()
        api.default_producer().close()


CLIENTS = {"fastapi": FastAPIClient, "flask": FlaskClient, "django": DjangoClient}


@pytest.fixture(params=CLIENTS)
def client(
    request: pytest.FixtureRequest, settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Any]:
    """The client of a backend that runs by its environment's settings."""
    monkeypatch.setenv("THREADMILL_DATABASE_URL", settings.database_url.get_secret_value())
    monkeypatch.setenv("THREADMILL_BROKER_URL", settings.broker_url.get_secret_value())
    monkeypatch.setenv("THREADMILL_NOTIFY_TIMEOUT_SECONDS", "10")
    monkeypatch.setattr(api, "_default", None)
    configure(settings.database_url.get_secret_value())
    database.run(lambda c: c.execute(text("CREATE TABLE orders (id bigserial PRIMARY KEY, note text)")))
    opened = CLIENTS[request.param]()
    yield opened
    opened.close()


def test_a_message_is_accepted_and_its_answer_is_read(client: Any, database: Database, settings: Settings) -> None:
    worker = register_agent(database)

    status, accepted = client.post("/threads/user-1-main/messages", {"content": "hello"})

    assert status == 202
    assert queued_wake_ups(settings) == [accepted["turn"]]
    assert client.get(f"/turns/{accepted['turn']}") == (200, {"state": "queued", "content": None})
    answer(database, worker, "user-1-main", "hi")
    assert client.get(f"/turns/{accepted['turn']}") == (200, {"state": "completed", "content": "hi"})


def test_a_request_that_is_sent_again_gives_the_same_turn(client: Any, database: Database, settings: Settings) -> None:
    register_agent(database)
    header = {"Idempotency-Key": "k-1"}

    first = client.post("/threads/t/messages", {"content": "hello"}, **header)
    again = client.post("/threads/t/messages", {"content": "hello"}, **header)

    assert first == again
    assert (counts(database)["turns"], len(queued_wake_ups(settings))) == (1, 1)


@pytest.mark.parametrize(("thread", "content", "named"), [("t", "", "content"), ("a b", "hello", "thread_id")])
def test_a_bad_request_is_told_what_to_mend_and_leaves_nothing(
    client: Any, database: Database, thread: str, content: str, named: str
) -> None:
    register_agent(database)

    status, told = client.post(f"/threads/{thread}/messages", {"content": content})

    assert status == 400
    assert told["error"].startswith(f"{named}: ")
    assert counts(database)["turns"] == 0
    assert database.run(lambda c: c.execute(text("SELECT count(*) FROM orders")).scalar_one()) == 0


def test_a_turn_that_is_none_is_not_found(client: Any) -> None:
    status, told = client.get("/turns/0190a5a0-0000-7000-8000-000000000000")

    assert status == 404
    assert "error" in told


@pytest.mark.parametrize("client", ["django"], indirect=True)
def test_the_orders_of_django_commit_with_their_messages(client: Any, database: Database) -> None:
    register_agent(database)

    client.post("/threads/t/messages", {"content": "hello", "order": "towels"})

    notes = database.run(lambda c: c.execute(text("SELECT note FROM orders")).scalars().all())
    assert (notes, counts(database)["turns"]) == (["towels"], 1)


@pytest.mark.parametrize("example", sorted(path.name for path in EXAMPLES.glob("*_app.py")))
def test_an_example_fits_on_a_page(example: str) -> None:
    lines = (EXAMPLES / example).read_text().splitlines()

    assert len([line for line in lines if line.strip()]) <= 40
