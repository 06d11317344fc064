"""A tenant whose tools use up a process's threads, memory and descriptors: another tenant's turns are answered."""

import pytest

from conversation.turn import TurnState
from producers import Turn
from tasks.exhaustion import EXIT_STATUS
from tests.acceptance.installation import Installation, assert_well_formed, eventually, quarantine, worker

pytestmark = pytest.mark.soak

AGENTS = {"THREADMILL_AGENT_MODULES": "tests.acceptance.agents_that_exhaust"}
#: What one tenant does, one after the other, and how many processes that costs.
HOARDERS = {"hoard_quietly": 1, "hoard_memory": 1, "hoard_threads": 1, "hoard_descriptors": 2}


def replace(installation: Installation, name: str) -> None:
    """Start a process again that ended, as its supervisor does."""
    process = installation.processes[name]
    eventually(lambda: not process.is_running, told=installation.logs)
    assert process.exit_code == EXIT_STATUS, process.log_tail(60)
    installation.start(quarantine() if name == "quarantine" else worker(name), **AGENTS)


def test_what_one_tenant_uses_up_costs_another_no_turn(installation: Installation) -> None:
    installation.start(worker("one"), quarantine(), *installation.upkeep(), **AGENTS)
    too_much = installation.send("big", "call ask_for_too_much", agent="hoarder", tenant="greedy")
    neighbours: list[Turn] = []
    hoarders: dict[str, Turn] = {}
    for tool, processes in HOARDERS.items():
        order = f'call look_up with {{"gate": "{tool}"}}, then call look_up with {{"gate": "{tool}"}}'
        neighbours += [installation.send(f"{tool}-{n}", order, agent="neighbour", tenant="modest") for n in range(4)]
        installation.saw("look_up begins", count=len(neighbours))
        hoarders[tool] = installation.send(tool, f"call {tool}", agent="hoarder", tenant="greedy")
        for _ in range(processes):
            if tool == "hoard_quietly":
                installation.all_ended([hoarders[tool]])
            installation.open_gate(tool)
            replace(installation, "one")
    replace(installation, "quarantine")
    results = installation.all_ended([*neighbours, *hoarders.values(), too_much])

    assert [r.state for r in results[: len(neighbours)]] == [TurnState.COMPLETED] * len(neighbours)
    assert_well_formed(installation.history())
