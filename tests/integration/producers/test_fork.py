"""A server that loads its application and then forks: each process has connections of its own.

The fork happens in a program of its own: a test process has threads that a fork would leave behind.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import text

from store.database.engine import Database
from store.settings import Settings
from tests.integration.producers.backend import counts, queued_wake_ups

PROGRAM = """
import asyncio, gc, json, os, sys
from producers import Producer, find_turn, send_message, send_message_async
from producers.api import default_producer

own = Producer() if sys.argv[1] == "own" else None
send = own.send if own else send_message
find = own.find_turn if own else find_turn

def backends():
    producer = own or default_producer()
    from sqlalchemy import text
    return producer.database.run(lambda c: c.execute(text("SELECT pg_backend_pid()")).scalar_one())

def listen(turn):
    # Listens for a moment; the port of the connection that is kept for it.
    signals = turn.connections.signals
    with signals.subscribe("threadmill:turn:x", within_seconds=10) as wait:
        wait(0)
    kept = signals._listeners.take()
    signals._listeners.give_back(kept)
    return kept._socket.getsockname()[1]

before = send("t", "parent before")
parent_port = listen(before)
parent_backend = backends()
reader, writer = os.pipe()
child = os.fork()
if child == 0:
    status = 1
    try:
        turn = send("t", "child")
        told = {
            "child_backend": backends(),
            "child_notified": turn.notify(),
            "handle_of_parent": before.state,
            "found": find(before.id).id == before.id,
            "child_port": listen(before),
        }
        asyncio.run(send_message_async("t", "child, async"))
        gc.collect()
        os.write(writer, json.dumps(told).encode())
        status = 0
    finally:
        os._exit(status)
meanwhile = send("t", "parent meanwhile")
_, status = os.waitpid(child, 0)
told = json.loads(os.read(reader, 65536))
after = send("t", "parent after")
print(json.dumps({
    **told,
    "status": os.waitstatus_to_exitcode(status),
    "parent_ports": [parent_port, listen(before)],
    "parent_backends": [parent_backend, backends()],
    "parent_notified": [before.notify(), after.notify()],
}))
(own or default_producer()).close()
"""


@pytest.mark.soak
@pytest.mark.parametrize("whose", ["default", "own"])
def test_a_forked_child_sends_by_itself_and_its_parent_goes_on(
    settings: Settings, database: Database, worker: str, whose: str
) -> None:
    environment = {
        **os.environ,
        "THREADMILL_DATABASE_URL": settings.database_url.get_secret_value(),
        "THREADMILL_BROKER_URL": settings.broker_url.get_secret_value(),
        "THREADMILL_NOTIFY_TIMEOUT_SECONDS": "10",
        "PYTHONPATH": str(Path(__file__).parents[3]),
    }

    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, whose], env=environment, capture_output=True, text=True, timeout=90, check=False
    )

    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["status"] == 0
    first, last = told["parent_backends"]
    assert first == last
    assert told["child_backend"] != first
    first_port, last_port = told["parent_ports"]
    assert first_port == last_port
    assert told["child_port"] != first_port
    assert told["child_notified"]
    assert told["parent_notified"] == [True, True]
    assert told["handle_of_parent"] == "queued"
    assert told["found"]
    contents = database.run(lambda c: c.execute(text("SELECT content FROM inbox_messages")).scalars().all())
    assert sorted(contents) == ["child", "child, async", "parent after", "parent before", "parent meanwhile"]
    assert counts(database)["turns"] == 5
    # The first message, and each `notify()`: the other messages find its wake-up on the way.
    assert len(queued_wake_ups(settings)) == 4
