"""A tenant whose tools use up a process's threads, memory and descriptors: another tenant's turns are answered."""

import pytest

from conversation.turn import TurnResult, TurnState
from producers import Turn
from tasks.exhaustion import EXIT_STATUS
from tests.acceptance.installation import Installation, assert_well_formed, eventually, quarantine, worker
from tests.tries import check_tries

pytestmark = pytest.mark.soak

AGENTS = {"THREADMILL_AGENT_MODULES": "tests.acceptance.agents_that_exhaust"}
#: What one tenant does, one after the other, and how many processes that costs.
HOARDERS = {"hoard_quietly": 1, "hoard_memory": 1, "hoard_threads": 1, "hoard_descriptors": 2}
ALL = tuple(HOARDERS)
NEIGHBOURS = 4


@pytest.mark.parametrize(
    "tools",
    [
        pytest.param(("hoard_threads", "hoard_descriptors"), id="two"),
        pytest.param(ALL, id="all", marks=pytest.mark.endurance),
    ],
)
def test_what_one_tenant_uses_up_costs_another_no_turn(tools: tuple[str, ...], installation: Installation) -> None:
    installation.start(worker("one"), quarantine(), *installation.upkeep(), **AGENTS)
    too_much = installation.send("big", "call ask_for_too_much", agent="hoarder", tenant="greedy")
    neighbours: list[Turn] = []
    hoarders: list[Turn] = []
    for tool in tools:
        order = f'call look_up with {{"gate": "{tool}"}}, then call look_up with {{"gate": "{tool}"}}'
        names = [f"{tool}-{n}" for n in range(NEIGHBOURS)]
        neighbours += [installation.send(name, order, agent="neighbour", tenant="modest") for name in names]
        installation.saw("look_up begins", count=len(neighbours))
        hoarders.append(installation.send(tool, f"call {tool}", agent="hoarder", tenant="greedy"))
        if tool == "hoard_quietly":
            installation.all_ended(hoarders)
        else:
            # Its neighbours, which wait for their gate, keep the process for a while, unless they miss something, too.
            one = installation.processes["one"]
            eventually(lambda: is_draining(installation) or not one.is_running, told=installation.logs)  # noqa: B023 - now
        installation.open_gate(tool)
        for _ in range(HOARDERS[tool]):
            replace(installation, "one")
    replace(installation, "quarantine")
    results = installation.all_ended([*neighbours, *hoarders, too_much])

    check(installation, results[len(neighbours) :])
    assert [installation.turn_row(turn)["interruptions"] for turn in neighbours] == [0] * len(neighbours)
    unanswered = sum(result.state is not TurnState.COMPLETED for result in results[: len(neighbours)])
    assert unanswered == 0
    if tools == ALL:
        check_tries(
            "using up the threads, memory and descriptors of a process that runs another tenant's turns",
            tries=len(neighbours),
            successes=unanswered,
        )


def is_draining(installation: Installation) -> bool:
    return bool(installation.query("SELECT id FROM workers WHERE drain_requested_at IS NOT NULL"))


def replace(installation: Installation, name: str) -> None:
    """Start a process again that ended, as its supervisor does."""
    process = installation.processes[name]
    eventually(lambda: not process.is_running, told=installation.logs)
    assert process.exit_code == EXIT_STATUS, process.log_tail(60)
    assert process.log.read_text().count("process_exhausted") >= 1
    installation.start(quarantine() if name == "quarantine" else worker(name), **AGENTS)


def check(installation: Installation, results: list[TurnResult]) -> None:
    """Check what became of those who took it all: none has a bug, and who does it each time has an end."""
    *others, always, too_much = results
    assert [result.state for result in others] == [TurnState.COMPLETED] * len(others)
    assert (always.state, always.error and always.error.kind) == (TurnState.FAILED, "exhausted")
    assert len(installation.notes("hoard_descriptors")) == 3
    assert too_much.state is TurnState.COMPLETED
    assert "agent_error" not in installation.logs()
    assert_well_formed(installation.history())
