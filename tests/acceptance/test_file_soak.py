"""Two thousand files from eight threads, while the S3 server dies three times in the middle of it.

Afterwards most threads go, and the collector takes what only they had.
"""

import hashlib
import random
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import select

from conversation.attachment import Attachment
from conversation.errors import FileStoreUnavailable
from producers.producer import Producer
from store import tables
from store.blobs import BlobStore
from store.database.engine import Database
from store.retention.delete_thread import delete_thread
from store.settings import Settings, load
from tasks.jobs.collect_files import collect_all
from tests.conftest import S3
from tests.integration.producers.backend import register_agent
from tests.swift.running import KEY, Swift, running_swift

FILES = 2000
THREADS = 8
#: Of a hundred files: those that were sent before, and the small ones that are new.
REPEATED, TEXTS, PICTURES = 30, 40, 20
CONVERSATIONS = [f"thread-{number}" for number in range(40)]
#: Those that are deleted in the end.
DELETED = CONVERSATIONS[10:]
#: Acknowledged files at which the server dies.
DEATHS = (500, 1000, 1500)
PICTURE = (Path(__file__).parents[2] / "examples" / "support" / "order-label.png").read_bytes()


@pytest.fixture
def swift(tmp_path: Path) -> Iterator[Swift]:
    with running_swift(tmp_path) as server:
        S3(server.endpoint, KEY, server.secret).client().create_bucket(Bucket="soak")
        yield server


@pytest.fixture
def settings(database_url: str, valkey_url: str, swift: Swift) -> Settings:
    return load(
        database_url=database_url,
        broker_url=valkey_url,
        file_store_url="s3://soak/kept",
        s3_endpoint_url=swift.endpoint,
        s3_access_key_id=KEY,
        s3_secret_access_key=swift.secret,
        s3_connect_timeout_seconds=2,
        s3_read_timeout_seconds=10,
        s3_max_attempts=2,
    )


@dataclass
class Sent:
    """What was acknowledged, and how often it was not."""

    #: Hashes by turn.
    files: dict[str, str] = field(default_factory=dict)
    #: Conversations by turn.
    conversations: dict[str, str] = field(default_factory=dict)
    refused: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


def file_of(number: int) -> Attachment:
    """Always the same for a number. Some are what another number is too."""
    dice = random.Random(number)
    kind = dice.randrange(100)
    if kind < REPEATED:
        return file_of(dice.randrange(number)) if number else file_of(FILES)
    noise = dice.randbytes(16).hex()
    if kind < REPEATED + TEXTS:
        return Attachment(filename=f"{number}.txt", content=(f"note {noise}\n" * dice.randint(1, 99)).encode())
    if kind < REPEATED + TEXTS + PICTURES:
        return Attachment(filename=f"{number}.png", content=PICTURE + noise.encode())
    if number % 50 == 7:
        return Attachment(filename=f"{number}.txt", content=(f"{noise}\n" * 90_000).encode())
    content = b"%PDF-1.4\n%" + noise.encode() * dice.randint(1, 200) + b"\n%%EOF\n"
    return Attachment(filename=f"{number}.pdf", content=content)


def send(producer: Producer, number: int, sent: Sent) -> None:
    """As a backend does: once more with the same key until it is acknowledged."""
    file, conversation = file_of(number), CONVERSATIONS[number % len(CONVERSATIONS)]
    give_up_at = time.monotonic() + 60
    while True:
        try:
            turn = producer.send(conversation, f"file {number}", attachments=[file], idempotency_key=str(number))
        except FileStoreUnavailable:
            assert time.monotonic() < give_up_at
            with sent.lock:
                sent.refused += 1
            time.sleep(0.2)
            continue
        with sent.lock:
            sent.conversations[turn.id] = conversation
            sent.files[turn.id] = hashlib.sha256(file.content or b"").hexdigest()
        return


def die_and_come_back(swift: Swift, sent: Sent, stopped: threading.Event) -> int:
    """Kill the server at each of the marks, and start it again a moment later; returns how often."""
    deaths = 0
    for mark in DEATHS:
        while len(sent.files) < mark:
            if stopped.wait(0.01):
                return deaths
        swift.kill()
        time.sleep(0.5)
        swift.start()
        deaths += 1
    return deaths


def rows(database: Database) -> tuple[dict[str, str], set[str], set[str]]:
    """Hashes by turn as the attachments say, and those that the blobs say, and the attachments."""
    inputs, attached, blobs = tables.inbox_messages, tables.attachments, tables.blobs
    with_turn = select(inputs.c.turn_id, attached.c.sha256).join_from(
        inputs, attached, inputs.c.id == attached.c.message_id
    )
    by_turn = database.run(lambda c: {row.turn_id: row.sha256 for row in c.execute(with_turn)})
    known = database.run(lambda c: set(c.execute(select(blobs.c.sha256)).scalars()))
    used = database.run(lambda c: set(c.execute(select(attached.c.sha256)).scalars()))
    return by_turn, known, used


def check_objects(blobs: BlobStore, known: set[str]) -> None:
    """Every row has its whole object, and every object its row."""

    def is_whole(sha256: str) -> bool:
        return hashlib.sha256(blobs.get("default", sha256)).hexdigest() == sha256

    with ThreadPoolExecutor(THREADS) as threads:
        assert all(threads.map(is_whole, known))
    listed = {blob.sha256 for blob in blobs.list("default")}
    assert listed - known == set()
    # The other way round, a listing may miss a few, which were read just now: Swift enters an object there
    # after it stored it, and died between.
    assert len(known - listed) <= len(DEATHS) * THREADS


def collect_everything(database: Database, settings: Settings) -> int:
    """Run the collector until it finds nothing any more; returns how many blobs it deleted."""
    deleted = 0
    while collected := collect_all(database, settings, grace_days=0).blobs:
        deleted += collected
    return deleted


@pytest.mark.endurance
@pytest.mark.timeout(400)  # thousands of requests, to a server that deletes and reads on two cores
def test_every_acknowledged_file_survives_a_server_that_dies(settings: Settings, swift: Swift) -> None:
    database, producer, sent, stopped = Database(settings), Producer(settings), Sent(), threading.Event()
    register_agent(database)

    with ThreadPoolExecutor(THREADS) as threads, ThreadPoolExecutor(1) as killer:
        died = killer.submit(die_and_come_back, swift, sent, stopped)
        try:
            list(threads.map(lambda number: send(producer, number, sent), range(FILES)))
        finally:
            stopped.set()
        assert died.result() == len(DEATHS)

    assert sent.refused > 0
    assert len(sent.files) == FILES
    by_turn, known, used = rows(database)
    assert by_turn == sent.files
    assert used == known == set(sent.files.values())
    assert 1000 < len(known) < FILES
    # Every file was sent until it was acknowledged, so no object is left that no row knows.
    check_objects(producer.blobs, known)

    for conversation in DELETED:
        database.run(delete_thread, tenant="default", thread_id=conversation)
    staying = {turn: file for turn, file in sent.files.items() if sent.conversations[turn] not in DELETED}
    deleted = collect_everything(database, settings)

    by_turn, kept, used = rows(database)
    assert by_turn == staying
    assert used == kept == set(staying.values())
    assert deleted == len(known) - len(kept) > 0
    check_objects(producer.blobs, kept)
    with ThreadPoolExecutor(THREADS) as threads:
        assert not any(threads.map(partial(producer.blobs.exists, "default"), known - kept))
    producer.blobs.close()
    producer.close()
    database.close()
