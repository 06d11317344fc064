"""Steering: forks and branches of a long thread, turns that wait for a person, webhooks and schedules.

Each is told of in a module of its own: `steering_ticks`, `steering_waits`, `steering_sends` and `steering_branches`.
"""

from benchmarks import steering_branches, steering_sends, steering_ticks, steering_waits
from benchmarks.figures import Measures
from benchmarks.stage import settings_of, stack
from conversation.task_contract import MAINTENANCE_QUEUE, TURNS_QUEUE
from threadmill.embedded.programs import worker

AGENTS = "benchmarks.steering_agent"
PROGRAMS = (
    worker("turns", [TURNS_QUEUE]),
    worker("maintenance", [MAINTENANCE_QUEUE], options=["-P", "threads", "-c", "4"]),
)


def measure(*, quick: bool) -> Measures:
    """Measure one after the other, each beside what the one before left in the database."""
    with stack(*PROGRAMS, agent_modules=AGENTS, webhook_allow_networks=steering_sends.NETWORK) as servers:
        return [
            *steering_ticks.measure(servers, quick=quick),
            *steering_waits.measure(servers, quick=quick),
            *steering_sends.measure(servers, quick=quick),
            *steering_branches.measure(settings_of(servers, db_pool_size=1), quick=quick),
        ]
