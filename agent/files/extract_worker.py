"""A program that reads one file from stdin, under limits, and writes what is in it as JSON to stdout.

What stays true: it runs alone, imports nothing of ours but the readers and the little that they use,
writes no file, and is dead after its limits of time, whether or not its parent is left to kill it. It
is started by its path: see `extract.py`.
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
    options = json.loads(sys.argv[1])
    restrain(options)
    try:
        result = read(sys.stdin.buffer.read(), options)
    except MemoryError:
        result = _problem(f"The {options['noun']} could not be read: it needs too much memory.")
    except ImportError:
        sys.exit(NOT_INSTALLED)
    sys.stdout.write(json.dumps(result))


def restrain(limits: dict[str, Any]) -> None:
    """Give up the means to do harm, before a byte of the file is seen."""
    cpu_seconds = limits["cpu_seconds"]
    # With both limits the same, Linux kills at once, and the reason is lost.
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds + 1))
    for limit, value in (
        (resource.RLIMIT_AS, limits["memory_bytes"]),
        # As in a worker: 0 would not keep one from a program that the system hands it to.
        (resource.RLIMIT_CORE, 1),
        (resource.RLIMIT_FSIZE, 0),
    ):
        resource.setrlimit(limit, (value, value))
    signal.setitimer(signal.ITIMER_REAL, limits["wall_seconds"])
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != limits["parent"]:  # the parent died before it could be watched
            sys.exit(1)


def read(content: bytes, options: dict[str, Any]) -> dict[str, Any]:
    """Read a file with the reader that `options` name; `extract.py` writes them."""
    # Started by its path, the program does not know yet where its own packages are.
    sys.path.append(str(Path(__file__).resolve().parents[2]))
    import threadmill_packages

    threadmill_packages.pin()
    from agent.files.readers.sections import TextSections, Unreadable

    module, _, function = options["reader"].partition(":")
    reader = getattr(import_module(f"agent.files.readers.{module}"), function)
    sections = TextSections(
        options["until"], options["max_chars"], ocr_languages=options["ocr_languages"], readers=options["readers"]
    )
    try:
        result: dict[str, Any] = reader(content, sections)
        return result
    except (MemoryError, ImportError):
        raise
    except Unreadable as reason:
        return _problem(str(reason))
    except Exception:  # noqa: BLE001 - a damaged file raises anything, from deep inside the parser
        return _problem(f"The {options['noun']} could not be read: it is damaged or incomplete.")


def _problem(sentence: str) -> dict[str, Any]:
    return {"text": "", "problem": sentence}


if __name__ == "__main__":
    main()
