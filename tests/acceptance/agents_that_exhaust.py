"""Agents for worker processes of the tests: one whose tools use up what a process has, and another tenant's neighbour.

What stays true: this process may have little of everything, from here on; what a tool took, it keeps.
"""

import os
import resource
import threading
import time
from pathlib import Path
from typing import Any

from agent.agent import Agent
from agent.registry import register
from agent.tools.run_context import RunContext
from agent.tools.tool import tool
from tests.acceptance.gates import GATE_SECONDS, is_open, note

DESCRIPTORS = 256
#: Of address space: what libraries map is a great part of it.
BYTES = 4 * 1024**3
STACK_BYTES = 512 * 1024**2

_kept: list[Any] = []


def limit_process() -> None:
    """Bound what this process may have, as an operator does."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))
    resource.setrlimit(resource.RLIMIT_AS, (BYTES, BYTES))


def use_up_descriptors() -> None:
    while True:
        _kept.append(Path(os.devnull).open())  # noqa: SIM115 - that is the mistake


def use_up_threads() -> None:
    threading.stack_size(STACK_BYTES)
    while True:
        threading.Thread(target=time.sleep, args=(10**6,)).start()


def use_up_memory() -> None:
    while True:
        _kept.append(bytearray(1024**2))


@tool(idempotent=True)
def hoard_descriptors(context: RunContext) -> None:
    """Fail, each time, for want of descriptors."""
    note("hoard_descriptors", context)
    use_up_descriptors()


@tool(idempotent=True)
async def hoard_threads(context: RunContext) -> str:
    """Fail for want of threads, the first time."""
    if context.attempt == 1:
        use_up_threads()
    return "had enough"


@tool(idempotent=True)
async def hoard_memory(context: RunContext) -> str:
    """Fail for want of memory, the first time."""
    if context.attempt == 1:
        use_up_memory()
    return "had enough"


@tool
def hoard_quietly() -> str:
    """Leave nothing to others, and say nothing of it."""
    try:
        use_up_descriptors()
    except OSError:
        return "took it all"


@tool
def ask_for_too_much() -> int:
    """Ask for more than there is: a mistake of its own."""
    return len(bytearray(10**15))


@tool(idempotent=True, timeout_seconds=GATE_SECONDS)
def look_up(gate: str, context: RunContext) -> int:
    """Read a file, once a gate is open."""
    note("look_up begins", context)
    while not is_open(gate):
        time.sleep(0.02)
    return len(Path(__file__).read_bytes())


limit_process()
register(Agent(name="hoarder", tools=(hoard_descriptors, hoard_threads, hoard_memory, hoard_quietly, ask_for_too_much)))
register(Agent(name="neighbour", tools=(look_up,)))
