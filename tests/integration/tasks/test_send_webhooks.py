"""Deliveries over real sockets: what goes over the wire, where it may go, and who sends when there are two."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import structlog

from agent.web import WebClient
from store.database.engine import Database
from store.settings import load
from store.webhooks import outbox
from tasks.jobs import send_webhooks as sending
from tests.integration.store.webhooks.conftest import KEY
from tests.integration.webhook_scene import WebhookScene, failed

LOOPBACK = ("127.0.0.0/8",)


class Server:
    """A server on this machine that notes what it gets."""

    def __init__(
        self,
        *,
        status: int = 204,
        headers: dict[str, str] | None = None,
        before_answer: Callable[["Server"], object] = lambda _: None,
    ) -> None:
        self.requests: list[tuple[dict[str, str], bytes]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.requests.append(({name.lower(): value for name, value in self.headers.items()}, body))
                before_answer(outer)
                self.send_response(status)
                for name, value in (headers or {}).items():
                    self.send_header(name, value)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/hooks/of-a-secret-path?token=secret"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def open_scene(url: str, **settings: Any) -> Iterator[WebhookScene]:
    database = Database(load(database_url=url, webhook_encryption_keys=KEY, **settings))
    with WebhookScene.open(database, database.settings) as scene:
        yield scene
    database.close()


def send(scene: WebhookScene) -> dict[str, int]:
    return sending.send_webhooks(scene.database, scene.settings)


def test_a_delivery_is_a_post_of_json_with_the_headers_of_the_standard(sqlite_url: str) -> None:
    with open_scene(sqlite_url, webhook_allow_networks=",".join(LOOPBACK)) as scene, closing(Server()) as server:
        webhook = scene.webhook(url=server.url)
        scene.turn()

        assert send(scene) == {"delivered": 1}

        ((headers, body),) = server.requests
        (delivery,) = scene.deliveries(webhook)
    assert headers["webhook-id"] == delivery.id
    assert headers["content-type"] == "application/json"
    assert headers["webhook-signature"].startswith("v1,")
    assert abs(int(headers["webhook-timestamp"]) - time.time()) < 60
    assert body.startswith(b'{"type":"turn.completed"')


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/hooks",
        "http://[::1]/hooks",
        "http://169.254.169.254/latest/meta-data",
        "http://10.0.0.1/",
        "http://2130706433/",
        "http://metadata.internal/",
        "http://public.example:6379/",
    ],
)
def test_no_address_inside_is_sent_to(sqlite_url: str, url: str) -> None:
    async def resolve(host: str, _port: int) -> list[str]:
        return {"metadata.internal": ["169.254.169.254"], "2130706433": ["127.0.0.1"]}.get(host, [host])

    with open_scene(sqlite_url) as scene:
        webhook = scene.webhook(url=url)
        scene.turn()
        counts = sending.send_webhooks(scene.database, scene.settings, client=WebClient(resolve=resolve))
        (delivery,) = scene.deliveries(webhook)

    assert counts == {"pending": 1}
    assert delivery.last_status is None
    assert delivery.last_error is not None
    assert delivery.last_error.startswith("the webhook ")
    assert "only public addresses" in delivery.last_error or "a port that is not sent to" in delivery.last_error


def test_a_redirect_is_not_followed(sqlite_url: str) -> None:
    with (
        open_scene(sqlite_url, webhook_allow_networks=",".join(LOOPBACK)) as scene,
        closing(Server()) as inner,
        closing(Server(status=302, headers={"Location": inner.url})) as server,
    ):
        webhook = scene.webhook(url=server.url)
        scene.turn()
        assert send(scene) == {"pending": 1}
        (delivery,) = scene.deliveries(webhook)

    assert inner.requests == []
    assert (delivery.last_status, delivery.last_error) == (302, "the webhook answered 302")


def test_a_server_that_does_not_answer_ends_its_attempt(sqlite_url: str) -> None:
    limits = {"webhook_allow_networks": ",".join(LOOPBACK), "webhook_timeout_seconds": 0.2}
    with open_scene(sqlite_url, **limits) as scene, closing(Server(before_answer=lambda _: time.sleep(1))) as server:
        webhook = scene.webhook(url=server.url)
        scene.turn()
        assert send(scene) == {"pending": 1}
        (delivery,) = scene.deliveries(webhook)

    assert "0.2 s" in str(delivery.last_error)


def test_two_senders_at_once_make_each_delivery_once_and_in_order(database_url: str) -> None:
    with open_scene(database_url, webhook_allow_networks=",".join(LOOPBACK)) as scene, closing(Server()) as server:
        webhook = scene.webhook(url=server.url)
        turns = [scene.turn(f"thread-{number % 5}") for number in range(30)]

        with ThreadPoolExecutor(2) as pool:
            counts = list(pool.map(lambda _: send(scene), range(2)))
        while scene.deliveries(webhook, state="pending", limit=1):
            send(scene)

        told = [body.decode() for _, body in server.requests]
    assert sum(each.get("delivered", 0) for each in counts) <= len(turns)
    order = [next(turn for turn in turns if turn in body) for body in told]
    assert sorted(order) == sorted(turns)
    for thread in range(5):
        of_thread = [turns.index(turn) for turn in order if turns.index(turn) % 5 == thread]
        assert of_thread == sorted(of_thread)


@pytest.mark.soak
def test_a_sender_that_is_killed_in_the_middle_of_a_request_loses_nothing(sqlite_url: str) -> None:
    networks = ",".join(LOOPBACK)
    with (
        open_scene(sqlite_url, webhook_allow_networks=networks) as scene,
        closing(Server(before_answer=lambda _: time.sleep(0.5))) as server,
    ):
        webhook = scene.webhook(url=server.url)
        turns = [scene.turn() for _ in range(3)]
        variables = {
            "THREADMILL_DATABASE_URL": sqlite_url,
            "THREADMILL_WEBHOOK_ENCRYPTION_KEYS": KEY,
            "THREADMILL_WEBHOOK_ALLOW_NETWORKS": networks,
        }
        for killed in range(2):
            command = [sys.executable, "-m", "threadmill", "webhooks", "send"]
            sender = subprocess.Popen(command, env={**os.environ, **variables}, stdout=subprocess.DEVNULL)
            wait_until(lambda count=killed + 1: len(server.requests) == count)
            sender.send_signal(signal.SIGKILL)
            sender.wait(timeout=30)
            assert send(scene) == {}
            scene.wait(15 + outbox.CLAIM_MARGIN_SECONDS + 1)

        assert send(scene) == {"delivered": 3}
        assert {one.state for one in scene.deliveries(webhook)} == {"delivered"}
    told = [next(turn for turn in turns if turn in body.decode()) for _, body in server.requests]
    # The first one was being sent at each death.
    assert told == [turns[0], turns[0], *turns]
    assert len({headers["webhook-id"] for headers, _ in server.requests}) == len(turns)


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_slow_server_holds_up_no_other(sqlite_url: str) -> None:
    others_are_done, waits = threading.Event(), []

    def note(server: Server) -> None:
        if len(server.requests) == 4:
            others_are_done.set()

    with (
        open_scene(sqlite_url, webhook_allow_networks=",".join(LOOPBACK)) as scene,
        closing(Server(before_answer=lambda _: waits.append(others_are_done.wait(10)))) as slow,
        closing(Server(before_answer=note)) as fast,
    ):
        scene.webhook(url=slow.url)
        scene.webhook(url=fast.url)
        for _ in range(4):
            scene.turn()
        assert send(scene) == {"delivered": 8}

    # The first answer of the slow one came when the other one had everything.
    assert waits == [True] * 4


def test_no_log_holds_an_address_a_key_or_what_was_said(sqlite_url: str) -> None:
    with (
        open_scene(sqlite_url, webhook_allow_networks=",".join(LOOPBACK)) as scene,
        closing(Server(status=500)) as server,
        structlog.testing.capture_logs() as logs,
    ):
        scene.webhook(url=server.url)
        scene.turn(ending=failed())
        send(scene)

    assert [log["event"] for log in logs if log["event"].startswith("webhook")] == ["webhook_not_delivered"]
    assert "secret" not in str(logs)
    assert "whsec" not in str(logs)


def test_deliveries_are_sent_by_the_task_of_maintenance(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from tasks import maintenance

    with open_scene(sqlite_url) as scene:
        webhook = scene.webhook()
        scene.turn()
        monkeypatch.setattr(maintenance, "_database", lambda: scene.database)
        monkeypatch.setattr(maintenance, "current", lambda: scene.settings)
        monkeypatch.setattr(sending, "make_client", lambda _: scene.receiver)

        assert maintenance.send_to_webhooks.run() == {"delivered": 1}
        assert maintenance.send_to_webhooks.run() == {}
        with maintenance._webhooks_lock:
            scene.turn()
            assert maintenance.send_to_webhooks.run() == {}
        assert [one.state for one in scene.deliveries(webhook)] == ["pending", "delivered"]
        assert scene.database.run(outbox.list_due) != []


def test_who_is_asked_to_send_while_the_sender_has_just_looked_has_it_look_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from tasks import maintenance

    looks: list[str] = []

    def look(*_: Any, **__: Any) -> dict[str, int]:
        looks.append("look")
        if len(looks) == 1:
            # Another task, as a thread of this process runs it.
            assert maintenance.send_to_webhooks.run() == {}
        return {"delivered": 1}

    monkeypatch.setattr(maintenance, "send_webhooks", look)
    monkeypatch.setattr(maintenance, "_database", lambda: None)
    monkeypatch.setattr(maintenance, "current", lambda: None)

    assert maintenance.send_to_webhooks.run() == {"delivered": 2}
    assert maintenance.send_to_webhooks.run() == {"delivered": 1}


def test_a_webhook_with_news_does_not_wait_for_a_slow_one(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "LOOK_SECONDS", 1_000)
    news = threading.Event()

    def take_news() -> bool:
        had = news.is_set()
        news.clear()
        return had

    with (
        open_scene(sqlite_url, webhook_allow_networks=",".join(LOOPBACK)) as scene,
        closing(Server()) as fast,
        closing(Server(before_answer=lambda _: wait_until(lambda: len(fast.requests) == 1))) as slow,
        ThreadPoolExecutor(1) as pool,
    ):
        scene.webhook(url=slow.url, agents=["a"])
        scene.webhook(url=fast.url, agents=["b"])
        scene.turn(agent="a")
        sender = pool.submit(sending.send_webhooks, scene.database, scene.settings, has_news=take_news)
        wait_until(lambda: len(slow.requests) == 1)
        scene.turn("u", agent="b")
        news.set()
        # The slow one answers once the other one was told.
        assert sender.result(30) == {"delivered": 2}
