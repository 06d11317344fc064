"""The task that a wake-up starts: run the turns of one thread."""

from conversation.task_contract import RUN_TURNS, WakeUp
from tasks.celery_app import app
from tasks.checked_task import QuietTask
from tasks.worker import current_worker


@app.task(base=QuietTask, name=RUN_TURNS, shared=False, waits_on_loop=True)  # type: ignore[untyped-decorator]  # celery ships no types
def run_turns(*, v: int, tenant: str, thread: str, turn: str) -> None:
    """Claim a thread and run what is due there; return at once if nothing is."""
    del v  # the payload has had one shape so far
    current_worker().run_thread(WakeUp(tenant=tenant, thread_id=thread, turn_id=turn))
