"""Tools that do what no tool should, in real workers: their neighbours lose nothing, and count for nothing."""

import itertools
import sys
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from conversation.turn import TurnState
from producers import Turn
from tests.acceptance.agents_of_evil import DEADLY, QUICK, SLOW
from tests.acceptance.installation import Installation, assert_well_formed, eventually, quarantine, worker

pytestmark = pytest.mark.soak

AGENTS = {"THREADMILL_AGENT_MODULES": "tests.acceptance.agents_of_evil"}
NEIGHBOURS = 30
#: Seconds of the long run.
LONG_SECONDS = 120.0


def order(name: str) -> str:
    """What a neighbour is told: effects before, beside and behind a wait."""
    return (
        f'call effect with {{"text": "{name} a"}} and call effect_async with {{"text": "{name} b"}} '
        f'and call wait with {{"seconds": 0.5}}, then call effect with {{"text": "{name} c"}}'
    )


def effects(installation: Installation) -> Counter[str]:
    return Counter(entry["text"] for entry in installation.notes("effect"))


def rows(installation: Installation) -> list[dict[str, Any]]:
    return installation.query("SELECT id, state, attempt, crashes, error_kind FROM turns")


def test_tools_that_break_or_block_cost_their_neighbours_nothing(installation: Installation) -> None:
    installation.start(worker("one", threads=64), *installation.upkeep(), **AGENTS)

    blocked = installation.send("blocked", 'call block with {"gate": "thaw"}', agent="evil")
    installation.saw("block begins")
    neighbours = [installation.send(f"n{n}", order(f"n{n}"), agent="neighbour") for n in range(NEIGHBOURS)]
    evil = [installation.send(one.name, f"call {one.name}", agent="evil") for one in QUICK]
    exits = installation.send("exits", "hello", agent="exits")
    eventually(lambda: installation.processes["one"].has_logged("tool_moved_apart"), told=installation.logs)
    installation.open_gate("thaw")
    results = installation.all_ended([*neighbours, *evil, blocked, exits])

    assert [result.state for result in results[:NEIGHBOURS]] == [TurnState.COMPLETED] * NEIGHBOURS
    assert effects(installation) == {f"n{n} {x}": 1 for n in range(NEIGHBOURS) for x in "abc"}
    assert {(row["attempt"], row["crashes"]) for row in rows(installation)} == {(1, 0)}
    assert (len(installation.notes("raise_own")), len(installation.notes("exits"))) == (1, 1)
    assert installation.turn_row(exits)["error_kind"] == "agent_error"
    assert_well_formed(installation.history())
    contents = {m["name"]: m["content"] for m in installation.history() if m["role"] == "tool"}
    assert {one.name for one in QUICK if "error" not in contents[one.name]} == WORKED
    log = installation.logs()
    assert "tool_blocks_loop tool=block" in log
    assert "agents_of_evil.py" in log
    assert installation.processes["one"].is_running


#: What an evil tool does without harm to its own call.
WORKED = {"leave_interrupt_behind", "leave_pool_thread_behind", "give_hanging"}


def test_a_process_whose_loop_hangs_ends_itself_and_its_turns_go_on_elsewhere(installation: Installation) -> None:
    installation.start(worker("one"), *installation.upkeep(), **AGENTS)
    frozen = installation.send("frozen", "hello", agent="freezes")
    hung = installation.processes["one"]

    eventually(lambda: not hung.is_running, told=installation.logs)
    installation.start(worker("two"), **AGENTS)
    (result,) = installation.all_ended([frozen])

    assert result.state is TurnState.COMPLETED
    (row,) = rows(installation)
    assert (row["attempt"], row["crashes"]) == (2, 1)
    log = hung.log.read_text()
    assert "worker_ends_itself" in log
    assert "agents_of_evil.py" in log


def test_a_worker_that_is_stopped_ends_though_its_tools_left_threads(installation: Installation) -> None:
    installation.start(worker("one"), *installation.upkeep(), **AGENTS)
    names = ("leave_thread_behind", "leave_pool_thread_behind", "never_return")
    installation.all_ended([installation.send(name, f"call {name}", agent="evil") for name in names])

    seconds = installation.stop("one", seconds=45)

    assert seconds < 45
    assert installation.processes["one"].exit_code == 0


def test_a_deadline_ends_a_turn_whose_agent_nobody_serves_without_a_worker(installation: Installation) -> None:
    installation.start(*installation.upkeep(), **AGENTS)
    installation.query("INSERT INTO agents (name, version, registered_at) VALUES ('gone', '1', now()) RETURNING name")
    turn = installation.send("t", "hello", agent="gone", deadline=datetime.now(UTC) + timedelta(seconds=2))

    (result,) = installation.all_ended([turn])

    assert result.error is not None
    assert result.error.kind == "deadline"


@pytest.mark.endurance
@pytest.mark.timeout(900)
def test_a_worker_with_every_evil_tool_for_two_minutes(installation: Installation) -> None:
    """All neighbours complete, each effect is had once, and the process lives or is replaced."""
    programs = {one.name: one for one in (worker("one", threads=64), quarantine(), *installation.upkeep())}
    installation.start(*programs.values(), **AGENTS)
    names = itertools.cycle(
        [one.name for one in (sleep_first, *QUICK, DEADLY[0], *QUICK[::2], DEADLY[1], *QUICK[1::2])]
    )
    flight = Flight(installation)
    end = time.monotonic() + LONG_SECONDS

    while time.monotonic() < end:
        flight.keep_up(names)
        for name, program in programs.items():
            if not installation.processes[name].is_running:
                flight.replaced[name] += 1
                installation.launch(program, **AGENTS)
        time.sleep(0.2)
    while flight.unfinished():
        assert time.monotonic() < end + 300, installation.told(flight.unfinished())
        for name, program in programs.items():
            if not installation.processes[name].is_running:
                flight.replaced[name] += 1
                installation.launch(program, **AGENTS)
        time.sleep(0.2)

    flight.check()


sleep_first = SLOW[1]


class Flight:
    """Turns in the air: thirty neighbours, and evil ones among them."""

    def __init__(self, installation: Installation) -> None:
        self.installation = installation
        self.neighbours: dict[str, Turn] = {}
        self.evil: dict[str, Turn] = {}
        self.replaced: Counter[str] = Counter()
        self._numbers = itertools.count()

    def keep_up(self, names: Any) -> None:
        """Send a turn for each that ended: thirty neighbours and four evil ones are under way."""
        waiting = self.unfinished()
        for _ in range(NEIGHBOURS - len(waiting & {turn.id for turn in self.neighbours.values()})):
            name = f"n{next(self._numbers)}"
            self.neighbours[name] = self.installation.send(name, order(name), agent="neighbour")
        for _ in range(4 - len(waiting & {turn.id for turn in self.evil.values()})):
            name = f"e{next(self._numbers)}"
            self.evil[name] = self.installation.send(name, f"call {next(names)}", agent="evil")

    def unfinished(self) -> set[str]:
        found = self.installation.query("SELECT id::text FROM turns WHERE state IN ('queued', 'running')")
        return {row["id"] for row in found}

    def check(self) -> None:
        installation = self.installation
        states = {row["id"]: row for row in installation.query("SELECT id::text, state, crashes FROM turns")}
        neighbours = [states[turn.id] for turn in self.neighbours.values()]
        assert {row["state"] for row in neighbours} == {"completed"}
        had = effects(installation)
        assert set(had.values()) == {1}, had.most_common(3)
        history = installation.history()
        assert_well_formed(history)
        unknown = sum('"Unknown"' in m["content"] for m in history if m["role"] == "tool" and m["name"] != "wait")
        assert len(had) >= 3 * len(neighbours) - unknown
        sys.stdout.write(
            f"{len(neighbours)} neighbours, {len(self.evil)} evil turns; {len(had)} effects, {unknown} unknown; "
            f"{sum(row['crashes'] for row in neighbours)} crashes counted; replaced {dict(self.replaced)}\n"
        )
