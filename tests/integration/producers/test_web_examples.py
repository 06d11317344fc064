"""The web examples, run as their frameworks run them, on real servers."""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from conversation.errors import Fault
from conversation.turn import Failed, TurnError
from producers import api
from producers.producer import Producer
from store.database.engine import Database
from store.settings import Settings, load
from store.turns import settle as turns
from tests.integration.producers.backend import answer, claim, counts, free_port, queued_wake_ups, register_agent
from tests.integration.producers.django_backend import configure

EXAMPLES = Path(__file__).parents[3] / "examples" / "web"


@dataclass(frozen=True)
class Answer:
    """What a backend answered."""

    status: int
    content: bytes
    headers: dict[str, str]

    @property
    def body(self) -> Any:
        return json.loads(self.content)


class FastAPIClient:
    """The application on an event loop of its own, with its lifespan around it."""

    def __init__(self) -> None:
        from examples.web.fastapi_app import app

        self.runner = asyncio.Runner()
        self.lifespan = app.router.lifespan_context(app)
        self.runner.run(self.lifespan.__aenter__())
        self.client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://backend")

    def ask(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> Answer:
        answered = self.runner.run(self.client.request(method, path, content=body, headers=headers))
        return Answer(answered.status_code, answered.content, dict(answered.headers))

    def close(self) -> None:
        self.runner.run(self.client.aclose())
        self.runner.run(self.lifespan.__aexit__(None, None, None))
        self.runner.close()


class FlaskClient:
    def __init__(self) -> None:
        from examples.web.flask_app import app

        self.client: Any = app.test_client()

    def ask(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> Answer:
        answered = self.client.open(path, method=method, data=body, headers=headers)
        return Answer(answered.status_code, answered.data, {k.lower(): v for k, v in answered.headers.items()})

    def close(self) -> None:
        api.default_producer().close()


class DjangoClient:
    def __init__(self) -> None:
        from django.test import Client
        from django.test.utils import override_settings

        self.urls = override_settings(ROOT_URLCONF="examples.web.django_app", DEBUG=False)
        self.urls.enable()
        self.client: Any = Client()

    def ask(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> Answer:
        kind = headers.get("Content-Type", "application/json")
        answered = self.client.generic(method, path, body or b"", content_type=kind, headers=headers)
        content = b"".join(answered.streaming_content) if answered.streaming else answered.content
        return Answer(answered.status_code, content, {k.lower(): v for k, v in answered.items()})

    def close(self) -> None:
        from django.db import connections

        self.urls.disable()
        connections.close_all()
        api.default_producer().close()


class Backend:
    """A backend as a browser sees it. The order is what Django's stores beside the message."""

    def __init__(self, client: Any) -> None:
        self.client = client

    def get(self, path: str) -> Answer:
        answered: Answer = self.client.ask("GET", path, None, {})
        return answered

    def post(self, path: str, said: Any = None, **headers: str) -> Answer:
        body = {"order": "soap"} | said if isinstance(said, dict) else said
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        answered: Answer = self.client.ask("POST", path, raw, {"Content-Type": "application/json"} | headers)
        return answered

    def post_form(self, path: str, fields: dict[str, str], files: list[tuple[str, bytes]]) -> Answer:
        parts = [("files", (name, content, "application/octet-stream")) for name, content in files]
        form = httpx.Request("POST", "http://backend", data={"order": "soap"} | fields, files=parts)
        answered: Answer = self.client.ask("POST", path, form.read(), {"Content-Type": form.headers["Content-Type"]})
        return answered

    def send(self, thread: str, content: str) -> str:
        """Send a message; returns its turn."""
        answered = self.post(f"/threads/{thread}/messages", {"content": content})
        assert answered.status == 202, answered
        return str(answered.body["turn"])


CLIENTS = {"fastapi": FastAPIClient, "flask": FlaskClient, "django": DjangoClient}


@pytest.fixture(params=CLIENTS)
def backend(
    request: pytest.FixtureRequest,
    settings: Settings,
    database: Database,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Backend]:
    """A backend that runs by its environment's settings."""
    monkeypatch.setenv("THREADMILL_DATABASE_URL", settings.database_url.get_secret_value())
    monkeypatch.setenv("THREADMILL_BROKER_URL", settings.broker_url.get_secret_value())
    monkeypatch.setenv("THREADMILL_FILE_STORE_URL", str(tmp_path / "files"))
    monkeypatch.setenv("THREADMILL_NOTIFY_TIMEOUT_SECONDS", "10")
    monkeypatch.setenv("THREADMILL_TENANT_MAX_UNFINISHED_TURNS", "3")
    monkeypatch.setattr(api, "_default", None)
    configure(settings.database_url.get_secret_value())
    database.run(lambda c: c.execute(text("CREATE TABLE orders (id bigserial PRIMARY KEY, note text)")))
    client = CLIENTS[request.param]()
    yield Backend(client)
    client.close()


def test_a_message_is_accepted_and_its_answer_is_read(backend: Backend, database: Database, settings: Settings) -> None:
    worker = register_agent(database)

    turn = backend.send("user-1-main", "hello")

    assert queued_wake_ups(settings) == [turn]
    shown = backend.get(f"/turns/{turn}").body
    assert (shown["state"], shown["content"], shown["error"]) == ("queued", None, None)
    answer(database, worker, "user-1-main", "hi")
    shown = backend.get(f"/turns/{turn}").body
    assert (shown["turn"], shown["thread"], shown["state"], shown["content"]) == (
        turn,
        "user-1-main",
        "completed",
        "hi",
    )


def test_a_request_that_is_sent_again_gives_the_same_turn(
    backend: Backend, database: Database, settings: Settings
) -> None:
    register_agent(database)
    key = {"Idempotency-Key": "k-1"}

    first = backend.post("/threads/t/messages", {"content": "hello"}, **key)
    again = backend.post("/threads/t/messages", {"content": "hello"}, **key)
    other = backend.post("/threads/t/messages", {"content": "another text"}, **key)

    assert (first.status, first.body) == (again.status, again.body)
    assert (counts(database)["turns"], len(queued_wake_ups(settings))) == (1, 1)
    assert (other.status, other.body["title"]) == (409, "IdempotencyConflict")


def test_a_turn_is_cancelled_and_asked_again_and_its_failure_is_shown(backend: Backend, database: Database) -> None:
    worker = register_agent(database)
    turn = backend.send("t", "hello")

    assert backend.post(f"/turns/{turn}/retry").status == 409
    cancelled = backend.post(f"/turns/{turn}/cancel")
    assert (cancelled.status, cancelled.body["state"]) == (202, "cancelled")
    again = backend.post(f"/turns/{turn}/retry")

    assert (again.status, again.body) == (202, {"turn": turn})
    claimed = claim(database, worker, "t")
    error = TurnError("model_error", "the key sk-1 is no good", retryable=True, fault=Fault.OPERATOR)
    ending = Failed(error=error)
    database.run(turns.settle, lease=claimed.lease, turn_id=claimed.id, ending=ending, release=True)
    shown = backend.get(f"/turns/{turn}")
    assert (shown.body["state"], shown.body["content"]) == ("failed", "")
    assert shown.body["error"] == {"kind": "model_error", "fault": "operator", "retryable": True}
    assert b"sk-1" not in shown.content
    assert backend.post(f"/turns/{turn}/retry").body == {"turn": turn}


def test_a_reload_shows_what_was_said_what_waits_and_the_turns_page_by_page(
    backend: Backend, database: Database
) -> None:
    worker = register_agent(database)
    turns_sent = [backend.send("t", "one")]
    answer(database, worker, "t", "first")
    turns_sent += [backend.send("t", content) for content in ("two", "three")]

    thread = backend.get("/threads/t").body
    page = backend.get("/threads/t/turns?limit=2").body
    rest = backend.get(f"/threads/t/turns?limit=2&cursor={page['next_cursor']}").body

    assert [(m["role"], m["content"]) for m in thread["messages"]] == [("user", "one"), ("assistant", "first")]
    assert [(m["content"], m["turn"], m["state"]) for m in thread["pending"]] == [
        ("two", turns_sent[1], "queued"),
        ("three", turns_sent[2], "queued"),
    ]
    assert [turn["turn"] for turn in page["turns"]] == turns_sent[:0:-1]
    assert ([turn["turn"] for turn in rest["turns"]], rest["next_cursor"]) == (turns_sent[:1], None)


def test_files_come_with_a_form_and_are_handed_out_to_their_own_thread(backend: Backend, database: Database) -> None:
    worker = register_agent(database)
    file = ("Müller's list.txt", b"eins, zwei")

    sent = backend.post_form("/threads/t/messages", {"content": "read this"}, [file])
    waiting = backend.get("/threads/t").body["pending"][0]["files"][0]
    answer(database, worker, "t", "read")
    shown = backend.get("/threads/t").body["messages"][0]["files"][0]
    handed_out = backend.get(f"/threads/t/files/{shown['sha256']}")
    backend.send("other", "hello")

    assert (sent.status, waiting) == (202, shown)
    assert (shown["filename"], shown["size"]) == (file[0], len(file[1]))
    assert (handed_out.status, handed_out.content) == (200, file[1])
    assert handed_out.headers["content-disposition"].startswith("attachment; filename")
    assert backend.get(f"/threads/other/files/{shown['sha256']}").status == 404
    refused = backend.post_form("/threads/t/messages", {"content": "run this"}, [("a.exe", b"MZ" + bytes(200))])
    assert (refused.status, refused.body["title"]) == (422, "FileRejected")


UNKNOWN = "0190a5a0-0000-7000-8000-000000000000"
#: Method, path and body of a request; the status and the field that its answer names.
WRONG_REQUESTS = [
    ("POST", "/threads/t/messages", {"content": ""}, 400, "content"),
    ("POST", "/threads/t/messages", {"content": 7}, 400, "content"),
    ("POST", "/threads/t/messages", {}, 400, "content"),
    ("POST", "/threads/t/messages", b"{", 400, "body"),
    ("POST", "/threads/t/messages", b"[1]", 400, "body"),
    ("POST", "/threads/a b/messages", {"content": "hello"}, 400, "thread_id"),
    ("GET", "/threads/a b", None, 400, "thread_id"),
    ("GET", "/threads/t?last=no", None, 400, "last"),
    ("GET", "/threads/t?last=0", None, 400, "last"),
    ("GET", "/threads/t/turns?limit=-1", None, 400, "limit"),
    ("GET", "/threads/t/turns?limit=1001", None, 400, "limit"),
    ("GET", "/threads/t/turns?cursor=ab", None, 400, "cursor"),
    ("GET", "/threads/t/files/0", None, 400, "sha256"),
    ("GET", f"/threads/t/files/{'0' * 64}", None, 404, None),
    ("GET", "/threads/unheard-of", None, 404, None),
    ("GET", "/threads/unheard-of/turns", None, 404, None),
    ("GET", f"/turns/{UNKNOWN}", None, 404, None),
    ("GET", "/turns/7", None, 404, None),
    ("POST", f"/turns/{UNKNOWN}/cancel", None, 404, None),
    ("POST", f"/turns/{UNKNOWN}/retry", None, 404, None),
]


def test_a_wrong_request_is_told_what_to_mend_and_leaves_nothing(backend: Backend, database: Database) -> None:
    worker = register_agent(database)
    backend.send("t", "hello")
    answer(database, worker, "t", "hi")
    before, orders = counts(database), text("SELECT count(*) FROM orders")
    count_orders = lambda: database.run(lambda c: c.execute(orders).scalar_one())  # noqa: E731
    orders_before = count_orders()

    wrong = []
    for method, path, body, status, field in WRONG_REQUESTS:
        answered = backend.get(path) if method == "GET" else backend.post(path, body)
        told = answered.body
        seen = (answered.status, told.get("status"), told.get("field"), answered.headers["content-type"])
        if seen != (status, status, field, "application/problem+json") or (field and not told["fix"]):
            wrong.append((path, body, answered))

    assert wrong == []
    assert (counts(database), count_orders()) == (before, orders_before)


def test_what_may_succeed_later_says_when_to_come_back(
    backend: Backend, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_agent = backend.post("/threads/t/messages", {"content": "hello"})
    register_agent(database)
    for content in ("one", "two", "three"):
        backend.send("t", content)
    over_limit = backend.post("/threads/t/messages", {"content": "four"})
    port = free_port()
    gone = load(database_url=f"postgresql://someone:s3cr3t@127.0.0.1:{port}/nowhere", db_connect_timeout_seconds=2)
    # For a while: the backend closes the producer that it opened.
    with monkeypatch.context() as patch:
        patch.setattr(api, "_default", Producer(gone))
        configure(gone.database_url.get_secret_value())
        without_database = backend.get("/threads/t")
        without_any = backend.post("/threads/t/messages", {"content": "five"})
        api.default_producer().close()

    answers = [without_agent, over_limit, without_database, without_any]
    assert [(a.status, a.body["title"], a.headers["retry-after"], a.body["retryable"]) for a in answers] == [
        (503, "UnknownAgent", "5", True),
        (429, "LimitReached", "5", True),
        (503, "DatabaseUnavailable", "5", True),
        (503, "DatabaseUnavailable", "5", True),
    ]
    assert str(port).encode() not in without_database.content + without_any.content


def test_a_thread_is_that_of_whom_the_login_found_and_a_cancel_has_their_name(
    backend: Backend, database: Database
) -> None:
    register_agent(database)

    sent = backend.post("/threads/t/messages", {"content": "hello"}, **{"X-User": "ann"})
    cancelled = backend.post(f"/turns/{sent.body['turn']}/cancel", **{"X-User": "bob"})

    assert (sent.status, cancelled.status) == (202, 202)
    names = text("SELECT owner, cancel_requested_by FROM threads JOIN turns ON thread_key = key")
    assert [tuple(row) for row in database.run(lambda c: c.execute(names).all())] == [("ann", "bob")]


@pytest.mark.parametrize("backend", ["django"], indirect=True)
def test_the_orders_of_django_commit_with_their_messages(backend: Backend, database: Database) -> None:
    register_agent(database)

    backend.post("/threads/t/messages", {"content": "hello", "order": "towels"})
    backend.post("/threads/a b/messages", {"content": "hello", "order": "never"})

    notes = database.run(lambda c: c.execute(text("SELECT note FROM orders")).scalars().all())
    assert (notes, counts(database)["turns"]) == (["towels"], 1)


@pytest.mark.parametrize("example", sorted(path.name for path in EXAMPLES.glob("*.py")))
def test_an_example_fits_on_a_page(example: str) -> None:
    lines = (EXAMPLES / example).read_text().splitlines()

    assert len([line for line in lines if line.strip()]) <= 100
