"""How a worker may be started: a suspect has to be alone in its process, and turns run on threads."""

from types import SimpleNamespace

import pytest
from celery.concurrency.prefork import TaskPool

from conversation.bell import SUSPECTS_QUEUE, TURNS_QUEUE
from tasks import lifecycle


@pytest.mark.parametrize(
    ("queues", "concurrency"), [({TURNS_QUEUE, SUSPECTS_QUEUE}, 1), ({SUSPECTS_QUEUE}, 100)]
)
def test_suspects_that_would_not_be_alone_are_refused(queues: set[str], concurrency: int) -> None:
    app = SimpleNamespace(amqp=SimpleNamespace(queues=SimpleNamespace(consume_from=queues)))

    with pytest.raises(SystemExit, match="-Q suspects -c 1"):
        lifecycle._on_setup(SimpleNamespace(app=app, concurrency=concurrency))


def test_turns_that_would_run_in_forked_children_are_refused() -> None:
    app = SimpleNamespace(amqp=SimpleNamespace(queues=SimpleNamespace(consume_from={TURNS_QUEUE})))

    with pytest.raises(SystemExit, match="start it with -P threads"):
        lifecycle._on_setup(SimpleNamespace(app=app, concurrency=4, pool_cls=TaskPool))
