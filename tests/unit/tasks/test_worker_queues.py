"""How a worker may be started: a suspect alone in its process, turns in the process, files in processes."""

import subprocess
import sys
from types import SimpleNamespace

import pytest
from celery.concurrency import prefork, solo, thread

from conversation.task_contract import FILES_QUEUE, MAINTENANCE_QUEUE, QUARANTINE_QUEUE, TURNS_QUEUE
from tasks import celery_hooks


@pytest.mark.parametrize(("queues", "concurrency"), [({TURNS_QUEUE, QUARANTINE_QUEUE}, 1), ({QUARANTINE_QUEUE}, 100)])
def test_suspects_that_would_not_be_alone_are_refused(queues: set[str], concurrency: int) -> None:
    app = SimpleNamespace(amqp=SimpleNamespace(queues=SimpleNamespace(consume_from=queues)))

    with pytest.raises(SystemExit, match="-Q quarantine -c 1"):
        celery_hooks._on_setup(SimpleNamespace(app=app, concurrency=concurrency))


def test_turns_that_would_run_in_forked_children_are_refused() -> None:
    app = SimpleNamespace(amqp=SimpleNamespace(queues=SimpleNamespace(consume_from={TURNS_QUEUE})))

    with pytest.raises(SystemExit, match="start it with -P threads or -P custom"):
        celery_hooks._on_setup(SimpleNamespace(app=app, concurrency=4, pool_cls=prefork.TaskPool))


@pytest.mark.parametrize("pool", [thread.TaskPool, solo.TaskPool])
@pytest.mark.parametrize("queues", [{FILES_QUEUE}, {FILES_QUEUE, TURNS_QUEUE}])
def test_files_that_would_be_read_without_processes_are_refused(queues: set[str], pool: type) -> None:
    app = SimpleNamespace(amqp=SimpleNamespace(queues=SimpleNamespace(consume_from=queues)))

    with pytest.raises(SystemExit, match="files are read in processes; start it with -P prefork"):
        celery_hooks._on_setup(SimpleNamespace(app=app, concurrency=4, pool_cls=pool))


def test_files_are_read_in_processes() -> None:
    app = SimpleNamespace(amqp=SimpleNamespace(queues=SimpleNamespace(consume_from={FILES_QUEUE})))

    celery_hooks._on_setup(SimpleNamespace(app=app, concurrency=2, pool_cls=prefork.TaskPool))


@pytest.mark.parametrize("queue", [TURNS_QUEUE, MAINTENANCE_QUEUE])
def test_a_model_key_whose_file_is_missing_is_told_at_the_start(queue: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY_FILE", "/nowhere/key")
    app = SimpleNamespace(amqp=SimpleNamespace(queues=SimpleNamespace(consume_from={queue})))

    with pytest.raises(SystemExit, match="cannot start: OPENAI_API_KEY_FILE='/nowhere/key': cannot be read"):
        celery_hooks._on_setup(SimpleNamespace(app=app, concurrency=4, pool_cls=thread.TaskPool))


def test_options_that_would_have_no_effect_are_refused() -> None:
    options = [f"{option}={'4,1' if option == '--autoscale' else '19'}" for option in celery_hooks.PREFORK_OPTIONS]
    command = [
        sys.executable,
        "-m",
        "celery",
        "-A",
        "threadmill.app",
        "worker",
        "-P",
        "threads",
        "-Q",
        "turns",
        *options,
    ]

    worker = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)

    assert worker.returncode != 0
    assert f"cannot start: {', '.join(celery_hooks.PREFORK_OPTIONS)} would have no effect" in worker.stderr
