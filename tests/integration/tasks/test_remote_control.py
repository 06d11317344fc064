"""Remote control answers what Flower's views read, and does nothing else, whatever is published.

A worker of Celery's runs in this process, with the consumer of our workers, over a real broker.
"""

import json
from base64 import b64decode, b64encode
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
import redis
from celery.worker import WorkController, state
from celery.worker.control import Panel
from flower.inspector import Inspector

from store.live.broker_users import CONTROL_CHANNEL as CHANNEL
from tasks.celery_app import app as our_app
from tasks.control import listener
from tasks.control.answers import ANSWER_MAX_CHARS, BROKER, SETTINGS, STATS, UNHEARD_VERBS, VERBS, answer
from tasks.control.consumer import WorkerConsumer
from tasks.control.requests import DESTINATIONS_MAX, REPLY_EXCHANGE, REQUEST_MAX_BYTES
from tasks.loop_pool import TaskPool
from tasks.refusals import refusals
from tests.control_commands import OID, ask_for, compose
from tests.integration.tasks.test_loop_pool import Loop, Stage
from tests.tries import check_tries

HERE = "stage@here"
DEEP = 100_000
#: Arguments that Celery's own verbs act on, or fail of.
HOSTILE_ARGUMENTS: tuple[Any, ...] = (
    {},
    {"task_id": [str(number) for number in range(300)], "terminate": True, "signal": "KILL"},
    {"n": 500},
    {"queue": "stolen"},
    {"task_name": "turns.run", "rate_limit": "1/h", "hard": 1, "soft": 1},
    {"task_name": "turns.run", "rate_limit": "1/h"},
    {"task_name": "turns.run", "hard": 1, "soft": 1},
    {"max": 500, "min": 1},
    {"from_node": "other@host", "revoked": {"1": 1}},
    {"taskinfoitems": ["app", "backend"], "builtins": True},
    {"with_defaults": True},
    {"safe": False},
    {"ids": ["1"]},
    {"headers": {"a": "b"}, "terminate": True},
    {"id": "1", "topic": "t", "action": {"task": "turns.run"}},
    {"state": 1, "samples": 10**9, "type": "object", "num": 10**9, "max_depth": 10**9},
    [1],
    "text",
)

#: What may be published on the channel of commands, and is none, or would have an answer go elsewhere.
MALFORMED: tuple[bytes | str, ...] = (
    *(b"", b"\xff\xfe\x80", b"null", b"5", b'"text"', b"[]", b"[1, 2]", b"{}", b"{", b"\x80\x04]."),
    *("[" * DEEP, '{"a":' * DEEP, "9" * 5_000, '{"body": NaN}', '{"body": null, "properties": {}}'),
    *(compose(body) for body in (None, 5, "text", [], [["stats"]], {}, {"method": None}, {"method": {"a": 1}})),
    compose(ask_for("stats"), body="no base64"),
    compose(ask_for("stats"), body=b64encode(b"\xff\xfe").decode()),
    compose(ask_for("stats"), body=b64encode(b"[" * 9_000).decode()),
    compose(ask_for("stats"), body=5),
    compose(ask_for("stats"), properties=None),
    compose(ask_for("stats"), properties={"body_encoding": "utf-8"}),
    *(compose(ask_for("stats"), **{"content-type": kind}) for kind in ("", None, "application/x-python-serialize")),
    compose(ask_for("stats", destination=HERE)),
    compose(ask_for("stats", destination=[5, None])),
    compose(ask_for("stats", destination={HERE: 1})),
    compose(ask_for("stats", destination=[HERE] * (DESTINATIONS_MAX + 1))),
    compose(ask_for("stats", pattern="(a+)+$", matcher="pcre")),
    compose(ask_for("stats", pattern="*", matcher="glob")),
    compose(ask_for("stats", arguments={"x": "x" * REQUEST_MAX_BYTES})),
    *(compose(ask_for("stats", oid)) for oid in ("turns", "", "*", None, 5, [OID], OID + "\n", OID.upper() + "A")),
    *(compose(ask_for("stats", reply_to=to)) for to in ("turns", 5, [], {}, {"exchange": "", "routing_key": OID})),
    *(compose(ask_for("stats", ticket=ticket)) for ticket in (None, 5, "x" * 300, ["a"])),
    *(compose(ask_for(verb)) for verb in (None, 5, [], {}, "", "no_such_verb", "__class__", "stats\n", "Stats")),
)


class Enemy:
    """Somebody who can publish, and looks for what became of it."""

    def __init__(self, url: str) -> None:
        self.client = redis.Redis.from_url(url, socket_timeout=60)

    def publish(self, data: bytes | str) -> None:
        assert self.client.publish(CHANNEL, data) == 1, "the worker does not listen"

    def read_answer(self, oid: str, seconds: float = 30) -> Any:
        popped: Any = self.client.brpop([f"{oid}.{REPLY_EXCHANGE}"], timeout=seconds)
        assert popped is not None, "no answer"
        return json.loads(b64decode(json.loads(popped[1])["body"]))

    def ask(self, verb: str, **fields: Any) -> Any:
        oid = str(uuid4())
        self.publish(compose(ask_for(verb, oid, **fields)))
        return self.read_answer(oid)[HERE]

    def is_heard(self) -> bool:
        return bool(self.client.pubsub_numsub(CHANNEL)[0][1])


def look_at(worker: WorkController) -> dict[str, Any]:
    """What a verb of Celery's changes, of a worker that has nothing to do."""
    consumer = worker.consumer
    return {
        "stops": (state.should_stop, state.should_terminate),
        "revoked": (len(state.revoked), len(state.revoked_stamps)),
        "queues": sorted(queue.name for queue in consumer.task_consumer.queues),
        "pool": (consumer.pool.limit, consumer.pool.num_processes, consumer.qos.value),
        "tasks": {
            name: (task.rate_limit, task.time_limit, task.soft_time_limit) for name, task in worker.app.tasks.items()
        },
        "events": sorted(consumer.event_dispatcher.groups),
        "clock": worker.app.clock.value < 10_000,
    }


@pytest.fixture
def stage(valkey_url: str) -> Iterator[Stage]:
    loop = Loop()
    staged = Stage(valkey_url, loop)
    staged.app.conf.worker_consumer = our_app.conf.worker_consumer
    yield staged
    staged.app.close()
    loop.close()


@pytest.fixture
def enemy(valkey_url: str) -> Iterator[Enemy]:
    enemy = Enemy(valkey_url)
    yield enemy
    enemy.client.close()


def test_no_verb_and_no_message_changes_a_worker(stage: Stage, enemy: Enemy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "HEARD_PER_SECOND", 1_000_000)
    monkeypatch.setattr(listener, "ANSWERED_PER_SECOND", 1_000_000)
    monkeypatch.setattr(listener, "ANSWER_MILLISECONDS", 600_000)
    commands = [
        compose(ask_for(verb, arguments=arguments, destination=destination, **fields))
        for verb in sorted({*Panel.data, *VERBS, "of_the_future"})
        for arguments in HOSTILE_ARGUMENTS
        for destination, fields in ((None, {}), ([HERE], {"reply_to": None, "ticket": None}))
    ]
    # What kombu keeps about exchanges, and what it would read of it.
    enemy.client.sadd("_kombu.binding.celery.pidbox", "odd", b"\xff", f"{OID}\x06\x16\x06\x16turns")
    enemy.client.sadd(f"_kombu.binding.{REPLY_EXCHANGE}", "odd", b"\xff", f"{OID}\x06\x16\x06\x16turns")
    successes = 0
    with stage.work(TaskPool) as worker:
        stage.wait(enemy.is_heard)
        before = look_at(worker)
        for batch in (commands[::2], commands[1::2], list(MALFORMED)):
            for command in batch:
                enemy.publish(command)
            # Behind all of them.
            assert enemy.ask("stats")["pid"]
            successes += look_at(worker) != before
        answers = enemy.client.llen(f"{OID}.{REPLY_EXCHANGE}")
        successes += abs(answers - len(VERBS) * len(HOSTILE_ARGUMENTS))
        successes += enemy.client.llen("turns") + len(enemy.client.keys("turns.reply*"))
        stage.send()
        stage.wait(lambda: stage.loop.begun == ["answers"])
    tries = len(commands) + len(MALFORMED)
    check_tries("commands of remote control, and what is none, at a worker", tries=tries, successes=successes)


def test_a_flood_of_commands_holds_no_turn_up_and_is_forgotten(stage: Stage, enemy: Enemy) -> None:
    command = compose(ask_for("shutdown"))
    with stage.work(TaskPool):
        stage.wait(enemy.is_heard)
        refused_before = refusals().get("control_verb", 0)
        with enemy.client.pipeline(transaction=False) as pipeline:
            for _ in range(5_000):
                pipeline.publish(CHANNEL, command)
            pipeline.execute()
        stage.send()
        stage.wait(lambda: stage.loop.begun == ["answers"])
        stage.wait(enemy.is_heard)

        assert enemy.ask("stats")["pid"]
    assert refusals()["control_verb"] - refused_before <= 5 * listener.HEARD_PER_SECOND


def test_a_listener_whose_connection_breaks_and_a_list_of_another_type_cost_an_answer(
    stage: Stage, enemy: Enemy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "DEAF_SECONDS", 0.1)
    with stage.work(TaskPool):
        stage.wait(enemy.is_heard)
        enemy.client.set(f"{OID}.{REPLY_EXCHANGE}", "no list")
        enemy.publish(compose(ask_for("stats")))
        assert enemy.ask("stats")["pid"]

        enemy.client.client_kill_filter(_type="pubsub")
        stage.wait(enemy.is_heard)

        reply_list = enemy.ask("active_queues")
    assert [queue["name"] for queue in reply_list] == ["turns"]


def test_an_answer_waits_for_seconds_only_and_goes_to_who_asked(stage: Stage, enemy: Enemy) -> None:
    with stage.work(TaskPool):
        stage.wait(enemy.is_heard)
        enemy.publish(compose(ask_for("stats", destination=["other@here"])))
        enemy.publish(compose(ask_for("stats")))
        enemy.ask("stats")

    assert enemy.client.llen(f"{OID}.{REPLY_EXCHANGE}") == 1
    assert 0 < enemy.client.pttl(f"{OID}.{REPLY_EXCHANGE}") <= listener.ANSWER_MILLISECONDS


def test_the_verbs_are_those_of_flower_and_show_no_secret(stage: Stage, enemy: Enemy) -> None:
    with stage.work(TaskPool) as worker:
        stage.wait(enemy.is_heard)
        worker.app.conf.update(
            broker_transport_options={"password": "xylophone"}, result_backend="redis://:xylophone@x"
        )
        answers = {verb: enemy.ask(verb) for verb in sorted(VERBS)}

    assert set(Inspector.inspect_methods) == VERBS
    assert not VERBS & UNHEARD_VERBS
    assert answers["stats"].keys() == {*STATS, "broker"}
    assert answers["stats"]["broker"].keys() == set(BROKER)
    assert answers["conf"].keys() == set(SETTINGS)
    shown = json.dumps(answers)
    assert "xylophone" not in shown
    assert stage.broker_url.split("@")[0].rpartition(":")[2] not in shown


def test_a_long_answer_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    class Consumer:
        app, hostname = None, HERE

    monkeypatch.setitem(Panel.data, "revoked", lambda _: ["x" * 5_000] * 300)
    monkeypatch.setitem(Panel.data, "reserved", lambda _: {"x": "x" * 500_000})
    monkeypatch.setitem(Panel.data, "scheduled", lambda _: [] + 1)  # type: ignore[operator]

    assert 1_000 < len(answer("revoked", Consumer())) <= ANSWER_MAX_CHARS
    assert json.loads(answer("reserved", Consumer())) == {HERE: {"error": "too long"}}
    assert json.loads(answer("scheduled", Consumer())) == {HERE: {"error": "TypeError"}}


def test_no_option_of_a_command_line_brings_other_workers_back(stage: Stage) -> None:
    """Gossip and mingle believe what other workers say."""
    with stage.work(TaskPool, without_gossip=False, without_mingle=False, without_heartbeat=False) as worker:
        stage.wait(lambda: worker.consumer is not None and worker.consumer.blueprint.state)
        assert isinstance(worker.consumer, WorkerConsumer)
        included = [step.name.rpartition(".")[2] for step in worker.consumer.steps]

    assert not {"Gossip", "Mingle"} & set(included)


def test_no_step_of_a_worker_runs_twice(stage: Stage) -> None:
    """As one of ours beside Celery's own would, in an order that differs from process to process."""
    with stage.work(TaskPool, without_heartbeat=False) as worker:
        stage.wait(lambda: worker.consumer is not None and worker.consumer.blueprint.state)
        included = [step.name.rpartition(".")[2] for step in worker.consumer.steps]

    assert {"Connection", "Events", "Heart", "Tasks", "Control", "Evloop"} <= set(included)
    assert len(included) == len(set(included))
