"""Another Celery app of the same process, a web backend's own, gets none of our tasks."""

from celery import Celery

from conversation.task_contract import PREPARE_FILE, RUN_TURNS, SWEEP_TURNS
from tasks import files, maintenance, turns


def test_our_tasks_are_in_our_app_alone() -> None:
    theirs = Celery("theirs", set_as_current=False)

    assert files.app is maintenance.app is turns.app
    assert {RUN_TURNS, PREPARE_FILE, SWEEP_TURNS} <= set(turns.app.tasks)
    assert {name for name in theirs.tasks if not name.startswith("celery.")} == set()
