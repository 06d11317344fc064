"""The seconds that `import producers` takes in a web backend, against `import sqlalchemy`, which it needs.

Fresh interpreters, byte code cached, alternately. Besides, what a process's first send takes, against its
tenth: what is imported or connected only then is waited for by a user.
"""

import json
import os
import subprocess
import sys

from benchmarks.figures import Figure, Measures, at_most
from benchmarks.stage import ROOT, stack

IMPORT = (
    "import sys, time; t = time.perf_counter(); import {}; "
    "print([time.perf_counter() - t, sum(name.partition('.')[0] in ('celery', 'kombu') for name in sys.modules)])"
)
SENDS = """
import json, time
from producers import Producer
from store.settings import current
producer = Producer(current())
seconds = []
for number in range(20):
    started = time.perf_counter()
    producer.send("t", "hello", allow_unknown_agent=True)
    seconds.append(time.perf_counter() - started)
print(json.dumps(seconds))
producer.close()
"""


def measure(*, quick: bool) -> Measures:
    """Import alternately, so that a busy moment of the machine falls on both."""
    rounds = 2 if quick else 5
    names = ("sqlalchemy", "producers")
    for name in names:
        run_fresh(IMPORT.format(name), {})
    runs = [[run_fresh(IMPORT.format(name), {}) for name in names] for _ in range(rounds)]
    with stack() as servers:
        sends = [run_fresh(SENDS, servers.environment) for _ in range(rounds)]
    base = Figure(key="sqlalchemy", label="import sqlalchemy", rounds=[run[0][0] for run in runs], unit="s")
    label = "import producers"
    own = Figure(
        key="producers", label=label, rounds=[run[1][0] for run in runs], unit="s", baseline=base, demand=at_most(1)
    )
    label = "... modules of Celery and kombu among them"
    modules = Figure(key="celery_modules", label=label, rounds=[run[1][1] for run in runs], unit="", demand=at_most(0))
    later = Figure(key="later_send", label="a process's tenth send", rounds=[1000 * s[9] for s in sends], unit="ms")
    label = "a process's first send, connecting included"
    first = Figure(key="first_send", label=label, rounds=[1000 * s[0] for s in sends], unit="ms", baseline=later)
    label = "a process's second send"
    second = Figure(key="second_send", label=label, rounds=[1000 * s[1] for s in sends], unit="ms", baseline=later)
    return [base, own, modules, later, first, second]


def run_fresh(script: str, variables: dict[str, str]) -> list[float]:
    """What a script prints, in an interpreter of its own."""
    environment = {**os.environ, **variables}
    process = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=True
    )
    numbers: list[float] = json.loads(process.stdout)
    return numbers
