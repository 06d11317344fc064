"""The steps of agents that others called as tools, as the followers of a thread are told of them.

What stays true: nothing of what was said is in them. They have no numbers: runs go side by side, and a step that ends
late would come behind numbers that were shown.
"""

from collections.abc import Iterable, Iterator

from conversation.events import AgentStep, AgentSteps
from store.turns.events_of_turn import ClaimedTurnLog

#: Steps that a notice has: the newest.
AGENT_STEPS_MAX = 50


def list_agent_steps(logs: Iterable[ClaimedTurnLog]) -> Iterator[AgentSteps]:
    """A notice for each running turn whose agent has called others."""
    for log in logs:
        agent_steps = [
            AgentStep(
                index=step.index,
                parent=step.parent,
                agent=step.agent or "",
                kind=step.kind,
                name=step.name,
                state=step.state,
            )
            for step in (each.step for each in log.journal)
            if step.parent is not None
        ]
        if log.turn.state == "running" and agent_steps:
            newest = tuple(agent_steps[-AGENT_STEPS_MAX:])
            yield AgentSteps(thread_id=log.thread_id, turn_id=log.turn.id, steps=newest)
