"""The seconds that `import producers` takes in a web backend, against `import sqlalchemy`, which it needs.

Fresh interpreters, byte code cached, alternately; the least of each, since whatever else the machine
does only ever adds to it.
"""

import subprocess
import sys

from benchmarks.stage import ROOT, Figure, is_quick, show

MEASURE = "import time; t = time.perf_counter(); import {}; print(time.perf_counter() - t)"
#: Seconds.
IMPORT_SECONDS_MAX = 1.0


def main() -> None:
    """Import alternately, so that a busy moment of the machine falls on both."""
    rounds = 3 if is_quick(__doc__) else 15
    names = ("sqlalchemy", "producers")
    for name in names:
        time_import(name)
    times: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(rounds):
        for name in names:
            times[name].append(time_import(name))

    baseline = min(times["sqlalchemy"])
    show(
        "Import",
        [
            Figure("import sqlalchemy", baseline, "s"),
            Figure("import producers", min(times["producers"]), "s", baseline, IMPORT_SECONDS_MAX),
        ],
    )


def time_import(name: str) -> float:
    """Measure the seconds of an import, in an interpreter of its own."""
    process = subprocess.run(
        [sys.executable, "-c", MEASURE.format(name)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return float(process.stdout)


if __name__ == "__main__":
    main()
