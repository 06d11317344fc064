"""An agent whose tools say aloud what users wrote, in each way in which code can: by print, log, warning, traceback."""

import asyncio
import atexit
import ctypes
import faulthandler
import logging
import os
import resource
import subprocess
import sys
import threading
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import structlog

from agent.agent import Agent
from agent.registry import register
from agent.tools.run_context import RunContext
from agent.tools.tool import tool
from tests.acceptance.gates import note

#: Of one print, of many: a disk would be full of them soon.
FLOOD_BYTES, FLOOD_PRINTS, FLOOD_LINES = 1024**2, 16, 5_000

_log = logging.getLogger("users.own")


class Leaves:
    """A thing that raises where nobody can catch it."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __del__(self) -> None:
        raise ValueError(self.text)


def break_off(text: str) -> None:
    raise ValueError(text)


def print_exception(text: str) -> None:
    try:
        break_off(text)
    except ValueError:
        traceback.print_exc()
        faulthandler.dump_traceback(file=2)


def log_exception(text: str) -> None:
    try:
        break_off(text)
    except ValueError as error:
        _log.exception("it failed: %s", error)
        _log.error("it failed: %(error)s", {"error": error})
        _log.error("%d", text)
        structlog.get_logger("users.own").exception("it failed", reason=error)


def log_as_library(text: str) -> None:
    for level in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR):
        fields = {"name": "httpx.models", "levelno": level, "levelname": logging.getLevelName(level)}
        record = logging.makeLogRecord({**fields, "pathname": httpx.__file__, "lineno": 1, "msg": f"sent {text}"})
        logging.getLogger("httpx.models").handle(record)


def add_handler(text: str) -> None:
    logger = logging.getLogger("users.handler")
    logger.propagate = False
    logger.addHandler(logging.StreamHandler())
    logger.warning(text)


def raise_in_thread(text: str) -> None:
    thread = threading.Thread(target=break_off, args=(text,))
    thread.start()
    thread.join()


def break_loop(text: str) -> None:
    async def leave_behind() -> None:
        loop = asyncio.get_running_loop()
        loop.call_soon(break_off, text)
        lost = loop.create_task(raise_later(text))
        await asyncio.sleep(0.01)
        del lost

    asyncio.run(leave_behind())


async def raise_later(text: str) -> None:
    raise ValueError(text)


def call_c(text: str) -> None:
    libc = ctypes.CDLL(None)
    libc.puts(text.encode())
    libc.fflush(None)


def write_device(text: str) -> None:
    with Path("/dev/stderr").open("a") as file:
        file.write(text)


#: Each way, by its name.
WAYS: dict[str, Callable[[str], Any]] = {
    "print": print,
    "print to stderr": lambda text: print(text, file=sys.stderr),  # noqa: T201 - this and the others: the mistake
    "original streams": lambda text: (print(text, file=sys.__stdout__), print(text, file=sys.__stderr__, flush=True)),
    "bytes": lambda text: sys.stdout.buffer.write(text.encode()),
    "descriptors": lambda text: (os.write(1, text.encode()), os.write(2, text.encode())),
    "C": call_c,
    "device": write_device,
    "display": sys.displayhook,
    "child": lambda text: subprocess.run(["echo", text], check=True),
    "shell": lambda text: os.system(f"echo {text} >&2"),
    "traceback": print_exception,
    "warning": lambda text: warnings.warn(text, stacklevel=1),
    "warning anew": lambda text: warnings.warn_explicit(text, UserWarning, "users.py", 1, registry={}),
    "log of an exception": log_exception,
    "log of a library": log_as_library,
    "own handler": add_handler,
    "thread": raise_in_thread,
    "loop": break_loop,
    "deletion": lambda text: Leaves(text) and None,
    "exit": lambda text: atexit.register(break_off, text),
}


@tool
def babble(text: str, context: RunContext) -> int:
    """Say a text in each way."""
    for name, way in WAYS.items():
        way(f"\n{text}\n")
        note("babbles", context, way=name)
    note("core", context, limits=resource.getrlimit(resource.RLIMIT_CORE))
    return len(WAYS)


@tool
async def babble_on_loop(text: str) -> None:
    """Leave tasks and callbacks behind that quote a text."""
    loop = asyncio.get_running_loop()
    loop.call_soon(break_off, text)
    asyncio.create_task(raise_later(text))  # noqa: RUF006 - that is the mistake
    await asyncio.sleep(0.05)
    print(text)  # noqa: T201 - as above
    raise ExceptionGroup(text, [ValueError(text)])


@tool
def flood() -> None:
    """Say more than a disk holds, if it is done often."""
    for _ in range(FLOOD_PRINTS):
        print("x" * FLOOD_BYTES)  # noqa: T201 - as above
        os.write(2, b"x" * FLOOD_BYTES)
    for number in range(FLOOD_LINES):
        _log.warning("line %d %s", number, "x" * FLOOD_BYTES if number == 1 else "")


register(Agent(name="babbler", tools=(babble, babble_on_loop, flood)))
