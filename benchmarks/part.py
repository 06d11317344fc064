"""One part of the benchmarks, in a process of its own: its figures go into a file.

python -m benchmarks.part send results/send.json --quick
"""

import argparse
import importlib
import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from benchmarks import machine
from benchmarks.figures import Figure, Measures, Note


@dataclass(frozen=True, slots=True)
class Part:
    """A part: a module of this package whose `measure(quick=…)` returns its figures."""

    name: str
    title: str
    #: Seconds after which it is ended: no part takes the rest along.
    timeout_seconds: float = 180

    def measure(self, *, quick: bool) -> dict[str, Any]:
        """Measure; returns what is kept as JSON."""
        about = machine.describe()
        measure: Callable[..., Measures] = importlib.import_module(f"benchmarks.{self.name}").measure
        started = time.perf_counter()
        measures = measure(quick=quick)
        return {
            "part": self.name,
            "title": self.title,
            "quick": quick,
            "seconds": round(time.perf_counter() - started, 1),
            "machine": about,
            "figures": [line.as_json() for line in measures if isinstance(line, Figure)],
            "notes": [line.text for line in measures if isinstance(line, Note)],
        }


#: In the order of the table. What takes long and changes little stands last.
PARTS = (
    Part("turns", "Turns of one worker process", timeout_seconds=240),
    Part("latency", "Added latency at 12 turns a second"),
    Part("streams", "From a send to its first words on a stream"),
    Part("waiting", "Turns that wait in one worker process", timeout_seconds=300),
    Part("send", "Sending"),
    Part("history", "A turn beside its thread's history"),
    Part("steering", "Forks, branches, waits for a person, webhooks and schedules", timeout_seconds=240),
    Part("stores", "A turn against the stores one would take instead", timeout_seconds=240),
    Part("models", "One call of a model"),
    Part("start", "The start of a worker, to its first task or turn"),
    Part("imports", "What a web backend imports"),
    Part("million", "Beside a million threads", timeout_seconds=400),
    Part("summaries", "A scan for 10 threads to summarize"),
    Part("retention", "A scan for 20 threads that are past their retention"),
    Part("save", "Saving one new message of a thread"),
    Part("files", "A large file into the file store and out of it", timeout_seconds=240),
)
#: Only when they are named: they take many minutes, and decide something once.
RARE_PARTS = (
    Part("documents", "Documents of other programs' writers", timeout_seconds=600),
    Part("partitions", "Hash partitions of messages and steps", timeout_seconds=3600),
    Part("memory", "A worker's memory over 10,000 turns of 60 kB", timeout_seconds=3600),
)
BY_NAME = {part.name: part for part in (*PARTS, *RARE_PARTS)}


def main() -> None:
    """Measure the part that the command line names."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("part", choices=BY_NAME)
    parser.add_argument("target", type=Path)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    # A line of log for each turn would be measured, too.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    result = BY_NAME[options.part].measure(quick=options.quick)
    options.target.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
