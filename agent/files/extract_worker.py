"""A program that reads one file from stdin, under limits, and writes what is in it as JSON to stdout.

What stays true: it runs alone, imports nothing of ours but the readers, writes no file, and is dead
after its limits of time, whether or not anybody is left to kill it. It is started by its path: see
`extract.py`.
"""

import ctypes
import json
import os
import resource
import signal
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

#: From <sys/prctl.h>.
_PR_SET_PDEATHSIG = 1
#: Exit status where a reader or what it needs cannot be imported: EX_CONFIG of <sysexits.h>.
NOT_INSTALLED = 78


def main() -> None:
    """Read a file from standard input, and write what is in it or the reason why there is nothing."""
    told = json.loads(sys.argv[1])
    restrain(told)
    try:
        result = read(sys.stdin.buffer.read(), told)
    except MemoryError:
        result = _problem(f"The {told['noun']} could not be read: it needs too much memory.")
    except ImportError:
        sys.exit(NOT_INSTALLED)
    sys.stdout.write(json.dumps(result))


def restrain(limits: dict[str, Any]) -> None:
    """Give up the means to do harm, before a byte of the file is seen."""
    cpu_seconds = limits["cpu_seconds"]
    # With both limits the same, Linux kills at once, and nobody can tell what for.
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds + 1))
    for limit, value in (
        (resource.RLIMIT_AS, limits["memory_bytes"]),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
    ):
        resource.setrlimit(limit, (value, value))
    signal.setitimer(signal.ITIMER_REAL, limits["wall_seconds"])
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != limits["parent"]:  # it died before it could be watched
            sys.exit(1)


def read(content: bytes, told: dict[str, Any]) -> dict[str, Any]:
    """What the reader that was asked for finds; `told` is what `extract.py` says of the file."""
    # Started by its path, it does not know yet where its own packages are.
    sys.path.append(str(Path(__file__).resolve().parents[1]))
    from agent.files.readers.sections import Sections, Unreadable

    module, _, function = told["reader"].partition(":")
    reader = getattr(import_module(f"agent.readers.{module}"), function)
    arguments = [] if module == "picture" else [Sections(told["until"], told["max_chars"])]
    try:
        found: dict[str, Any] = reader(content, *arguments)
        return found
    except (MemoryError, ImportError):
        raise
    except Unreadable as reason:
        return _problem(str(reason))
    except Exception:  # noqa: BLE001 - a damaged file raises anything, from deep inside the parser
        return _problem(f"The {told['noun']} could not be read: it is damaged or incomplete.")


def _problem(sentence: str) -> dict[str, Any]:
    return {"text": "", "problem": sentence}


if __name__ == "__main__":
    main()
