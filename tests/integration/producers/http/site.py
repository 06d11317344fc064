"""A gateway of the resources alone, on real rows: who asks is told by name, and turns are answered by hand."""

import asyncio
import hashlib
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import httpx
from pydantic import SecretStr

from conversation.errors import FileNotStored
from conversation.ids import new_id
from conversation.message import Message, Usage
from conversation.thread import Thread
from conversation.turn import ClaimedTurn, Completed, Ending
from producers.http.app import create_gateway
from producers.http.principal import SCOPES, Principal
from producers.producer import Producer
from store.blobs.local import LocalBlobs
from store.blobs.presigned import PresignedUpload
from store.database.engine import Database
from store.settings import Settings
from store.threads import repository
from store.turns import claims, settle, workers
from store.turns.claims import ClaimRequest
from store.turns.thread_turns import list_of_thread
from store.walls.roles import GATEWAY
from tests.integration.store.walls.one_of_each import as_role

PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000000d49444154789c6360606060000000050001a5f64540"
    "0000000049454e44ae426082"
)
SHA256 = hashlib.sha256(PNG).hexdigest()
UPLOAD = {"filename": "dot.png", "media_type": "image/png", "size": len(PNG), "sha256": SHA256}
ALL = frozenset(SCOPES)
#: Who may ask: by the name that they send.
PRINCIPALS = {
    "acme": Principal(tenant="acme", scopes=ALL, credential="key-acme"),
    "rival": Principal(tenant="rival", scopes=ALL, credential="key-rival"),
    "ada": Principal(tenant="acme", user="ada", scopes=ALL, credential="key-ada"),
    "bob": Principal(tenant="acme", user="bob", scopes=ALL, credential="key-bob"),
    **{
        f"only-{scope}": Principal(tenant="acme", scopes=frozenset({scope}), credential=f"key-{scope}")
        for scope in SCOPES
    },
    "cleo": Principal(tenant="acme", user="cleo", scopes=ALL, credential="key-cleo"),
    "ada-reads": Principal(tenant="acme", user="ada", scopes=frozenset({"read"}), credential="key-ada-reads"),
}


class BlobsWithUploads(LocalBlobs):
    """A folder that takes uploads, as if a server stood before it."""

    def __init__(self, base: str) -> None:
        super().__init__(base)
        self.staged: dict[str, bytes] = {}

    def upload_url(self, tenant: str, upload_id: str, **_: Any) -> PresignedUpload:
        expires_at = datetime.now(UTC) + timedelta(minutes=1)
        return PresignedUpload(f"http://files/{tenant}/{upload_id}", "PUT", {"x": "y"}, expires_at)

    @contextmanager
    def read_upload(self, _tenant: str, upload_id: str) -> Iterator[Iterator[bytes]]:
        if upload_id not in self.staged:
            raise FileNotStored("nothing was put")
        yield iter([self.staged[upload_id]])

    def adopt_upload(self, tenant: str, upload_id: str, sha256: str, media_type: str) -> None:
        self.put(tenant, sha256, self.staged[upload_id], media_type)

    def discard_upload(self, _tenant: str, upload_id: str) -> None:
        self.staged.pop(upload_id, None)


class Names:
    """An authenticator that believes names."""

    async def authenticate(self, headers: Mapping[str, str], _query: Mapping[str, str]) -> Principal | None:
        return PRINCIPALS.get(headers.get("authorization", "").removeprefix("Bearer "))


class Site:
    """The app, its client, and the hands of a worker."""

    def __init__(self, settings: Settings) -> None:
        self.runner = asyncio.Runner()
        self.database = Database(settings)
        # The gateway has its own role, which row-level security binds.
        url = as_role(settings.database_url.get_secret_value(), GATEWAY)
        settings = settings.model_copy(update={"database_url": SecretStr(url)})
        self.producer = Producer(settings)
        self.blobs = BlobsWithUploads(settings.file_store_url)
        if "://" not in settings.file_store_url:
            self.producer.__dict__["blobs"] = self.blobs
        self.app = create_gateway(settings, producer=self.producer, authenticator=Names())
        transport = httpx.ASGITransport(self.app)
        self.client = httpx.AsyncClient(transport=transport, base_url="http://gateway")
        worker, serves = new_id(), {"assistant": "1", "other": "1"}
        register = partial(workers.register, worker=worker, host="", pid=1, serves=serves, lease_duration_seconds=600)
        self.database.run(register)
        self.claimant = ClaimRequest(worker=worker, agents=serves)

    def close(self) -> None:
        self.runner.run(self.client.aclose())
        self.runner.run(self.app.state.gateway.hub.close_async())
        self.runner.run(self.producer.close_async())
        self.runner.close()
        self.database.close()

    def ask(self, who: str, method: str, path: str, **options: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {who}"} | options.pop("headers", {})
        return self.runner.run(self.client.request(method, f"/v1{path}", headers=headers, **options))

    def make_thread(self, who: str, thread_id: str | None = None, **fields: Any) -> Any:
        answer = self.ask(who, "POST", "/threads", json={"id": thread_id or new_id()} | fields)
        assert answer.status_code == 201, answer.text
        return answer.json()

    def send(self, who: str, thread_id: str, content: str = "hello", **fields: Any) -> Any:
        answer = self.ask(who, "POST", f"/threads/{thread_id}/messages", json={"content": content} | fields)
        assert answer.status_code == 202, answer.text
        return answer.json()["turn"]

    def ask_turns(self, thread_id: str) -> list[str]:
        """The ids of a thread's turns, the newest first."""
        page = self.database.run(list_of_thread, "acme", thread_id, limit=10)
        return [record.id for record in page]

    def wait_for_turn(self, thread_id: str) -> None:
        """Return when something was sent to a thread."""
        while not self.ask_turns(thread_id):
            time.sleep(0.02)

    def append(self, thread_id: str, messages: Sequence[Message], tenant: str = "acme") -> None:
        """Append messages of no turn."""
        thread = Thread(thread_id, tenant=tenant)
        thread.messages = list(messages)
        self.database.run(repository.save, thread, new=thread.new_messages)

    def ask_for_upload(self, who: str) -> str:
        """Ask for an address, and put a file there; returns the id of the upload."""
        answer = self.ask(who, "POST", "/uploads", json=UPLOAD)
        assert answer.status_code == 201, answer.text
        upload_id: str = answer.json()["id"]
        self.blobs.staged[upload_id] = PNG
        return upload_id

    def claim(self, thread_id: str, tenant: str = "acme") -> ClaimedTurn:
        claimed = self.database.run(claims.claim, tenant=tenant, thread_id=thread_id, claimant=self.claimant)
        assert isinstance(claimed, ClaimedTurn)
        return claimed

    def settle(self, claimed: ClaimedTurn, ending: Ending | None = None) -> None:
        reply = Message(role="assistant", content=f"an answer to {claimed.id}")
        ending = ending or Completed(messages=(reply,), usage=Usage(7, 3), cost=0.25)
        self.database.run(settle.settle, lease=claimed.lease, turn_id=claimed.id, ending=ending, release=True)

    def answer(self, thread_id: str, tenant: str = "acme") -> None:
        self.settle(self.claim(thread_id, tenant))
