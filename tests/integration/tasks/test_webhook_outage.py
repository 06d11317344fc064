"""A receiver that is down for an hour, senders that are killed, keys that rotate: what many threads tell arrives.

Senders are real processes, killed in the middle of requests and after their answer; the hour is played.
"""

import json
import multiprocessing
import random
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.process import BaseProcess
from typing import Any

import pytest
from standardwebhooks import Webhook as Verifier
from standardwebhooks import WebhookVerificationError

from conversation.webhooks import make_secret
from store.database.engine import Database
from store.settings import load
from store.webhooks import endpoints, outbox
from store.webhooks.endpoints import Webhook
from tasks.jobs.send_webhooks import send_webhooks
from tests.integration.store.webhooks.conftest import KEY
from tests.integration.webhook_scene import WebhookScene

THREADS, TURNS = 12, 3
LOOPBACK = "127.0.0.0/8"
OUTAGE_SECONDS, STEP_SECONDS = 3600, 600
#: A sender that is not killed is over by then.
PATIENCE = 60


@dataclass
class Receiver:
    """A server on this machine that may be down, and that kills whoever sends."""

    is_up: bool = True
    #: Requests that are answered before the next death; None while nobody dies.
    until_death: int | None = None
    luck: random.Random = field(default_factory=lambda: random.Random(18))
    sender: BaseProcess | None = None
    #: What came while it was up: headers and body.
    requests: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def serve(self) -> ThreadingHTTPServer:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                size = int(self.headers["Content-Length"])
                body = self.rfile.read(size)
                # Whoever dies in the middle of a request has sent none.
                if len(body) == size and outer.take(
                    {name.lower(): value for name, value in self.headers.items()}, body
                ):
                    self.send_response(204)
                    self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return server

    def take(self, headers: dict[str, str], body: bytes) -> bool:
        """Take a request; returns whether it is answered."""
        with self.lock:
            if not self.is_up:
                return False
            self.requests.append((headers, body))
            if self.until_death is None or self.sender is None or not self.sender.is_alive():
                return True
            self.until_death -= 1
            if self.until_death >= 0:
                return True
            self.until_death = None
            self.sender.kill()
            # It has the request; the answer is lost, or comes to nobody.
            return self.luck.random() < 0.5


def send_in_process(url: str) -> None:
    """Send what is due: the body of a sender."""
    settings = load(database_url=url, webhook_encryption_keys=KEY, webhook_allow_networks=LOOPBACK)
    with closing(Database(settings)) as database:
        send_webhooks(database, settings)


@dataclass
class Site:
    """The store, its receiver, and its senders."""

    scene: WebhookScene
    receiver: Receiver
    webhook: Webhook
    secret: str
    processes: Any
    #: The turns that ended, by thread, in their order.
    ended: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    deaths: int = 0

    def end_turns(self) -> None:
        for number in range(THREADS):
            thread = f"thread-{number}"
            self.ended[thread] += [self.scene.turn(thread) for _ in range(TURNS)]

    def send(self, *, until_death: int | None = None) -> None:
        """Have a sender at work until it has nothing to do, or is dead; its claims lapse then."""
        url = self.scene.settings.database_url.get_secret_value()
        sender = self.processes.Process(target=send_in_process, args=(url,))
        self.receiver.sender, self.receiver.until_death = sender, until_death
        sender.start()
        sender.join(PATIENCE)
        assert sender.exitcode is not None, "a sender does not end"
        if sender.exitcode:
            self.deaths += 1
            self.scene.wait(self.scene.settings.webhook_timeout_seconds + outbox.CLAIM_MARGIN_SECONDS + 1)

    def rotate(self, grace: timedelta) -> str:
        """Have another key sign; returns it. The old one signs beside it during the grace."""
        secret = make_secret()
        options = {"secret": secret, "sealed_secrets": self.scene.sealed_secrets, "grace": grace}
        self.scene.database.run(endpoints.rotate_secret, "default", self.webhook.id, **options)
        return secret


@pytest.fixture
def site(database_url: str) -> Iterator[Site]:
    database = Database(load(database_url=database_url, webhook_encryption_keys=KEY, webhook_allow_networks=LOOPBACK))
    # Not forked: a thread of this process may hold a lock that a child would wait for.
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload([__name__])
    receiver, secret = Receiver(), make_secret()
    with closing(database), WebhookScene.open(database, database.settings) as scene:
        server = receiver.serve()
        webhook = scene.webhook(secret, url=f"http://127.0.0.1:{server.server_port}/hooks")
        yield Site(scene, receiver, webhook, secret, processes)
        server.shutdown()
        server.server_close()


@pytest.mark.soak
@pytest.mark.timeout(240)
def test_each_event_of_many_threads_arrives_in_order_whoever_dies_and_whatever_signs(site: Site) -> None:
    scene, receiver = site.scene, site.receiver
    site.end_turns()
    site.send(until_death=5)
    site.send(until_death=9)
    before_rotation = len(receiver.requests)

    receiver.is_up = False
    second = site.rotate(timedelta(hours=1))
    site.end_turns()
    for _ in range(OUTAGE_SECONDS // STEP_SECONDS):
        scene.wait(STEP_SECONDS)
        send_webhooks(scene.database, scene.settings)
    assert len(receiver.requests) == before_rotation
    assert scene.reread(site.webhook).failures >= outbox.AWAY_AFTER

    receiver.is_up = True
    scene.wait(STEP_SECONDS)
    site.send(until_death=7)
    before_last_key = len(receiver.requests)
    third = site.rotate(timedelta())
    site.send(until_death=11)
    while scene.deliveries(site.webhook, state="pending", limit=1):
        scene.wait(STEP_SECONDS)
        site.send()

    assert site.deaths == 4
    check_arrivals(site)
    keys = [(0, site.secret), (before_rotation, second), (before_last_key, third)]
    check_signatures(receiver, keys)


def check_arrivals(site: Site) -> None:
    """Each event came, in the order of its thread, and repeats of one are told by its id."""
    events = [(headers["webhook-id"], body, json.loads(body)["data"]) for headers, body in site.receiver.requests]
    for thread, turns in site.ended.items():
        told = [data["turn_id"] for _, _, data in events if data["thread_id"] == thread]
        assert list(dict.fromkeys(told)) == turns
        assert told == sorted(told, key=turns.index), "a repeat came behind a later event"
    bodies: dict[str, set[bytes]] = defaultdict(set)
    for delivery_id, body, _ in events:
        bodies[delivery_id].add(body)
    assert len(bodies) == sum(map(len, site.ended.values()))
    assert all(len(each) == 1 for each in bodies.values())
    # At each death the sender had something in hand that it could not record.
    assert len(events) >= len(bodies) + site.deaths
    assert {one.state for one in site.scene.deliveries(site.webhook, limit=100)} == {"delivered"}


def check_signatures(receiver: Receiver, keys: list[tuple[int, str]]) -> None:
    """Each request verifies by the newest key of its time, and by no later one."""
    for number, (headers, body) in enumerate(receiver.requests):
        known = [secret for since, secret in keys if since <= number]
        Verifier(known[-1]).verify(body, headers)
        for _, later in keys[len(known) :]:
            with pytest.raises(WebhookVerificationError):
                Verifier(later).verify(body, headers)
    headers, body = receiver.requests[-1]
    # The first one is in its grace still; the second one had none.
    Verifier(keys[0][1]).verify(body, headers)
    with pytest.raises(WebhookVerificationError):
        Verifier(keys[1][1]).verify(body, headers)
