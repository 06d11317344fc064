"""Run the benchmarks: one table on the terminal, JSON and plots beside it.

    make bench                        everything, in ten minutes
    make bench ONLY="send turns"      these parts; the results of the others stay as they are
    make bench QUICK=1                see that it runs: its figures mean little

What stays true: a part that breaks costs the others nothing; a demand that is missed is printed, and ends
nothing. The status is 1 only where a part could not be measured.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks import machine
from benchmarks.figures import render_table
from benchmarks.measured import RESULTS
from benchmarks.part import BY_NAME, PARTS, Part
from benchmarks.stage import ROOT

#: Figures that mean little are not kept.
QUICK_RESULTS = ROOT / "build" / "bench"
#: Lines of a broken part's last words that are shown.
LOG_LINES = 15


def main() -> int:
    """Run the parts that the command line names; returns the exit status."""
    options = _parse()
    parts = [BY_NAME[name] for name in options.parts] or list(PARTS)
    folder = QUICK_RESULTS if options.quick else RESULTS
    folder.mkdir(parents=True, exist_ok=True)
    print(machine.render(machine.describe()), flush=True)
    started, missed, broken = time.monotonic(), [], []
    for part in parts:
        result = run_part(part, folder, quick=options.quick)
        if result is None:
            broken.append(part.name)
            continue
        missed += [f"{part.name}.{figure['key']}" for figure in result["figures"] if figure["met"] is False]
    draw_plots(folder)
    print(f"\n{len(parts)} parts in {time.monotonic() - started:.0f} s; JSON and plots: {folder.relative_to(ROOT)}")
    print(f"{len(missed)} demands are MISSED: {', '.join(missed)}" if missed else "every demand is met")
    if broken:
        print(f"NOT MEASURED: {', '.join(broken)}")
    return 1 if broken else 0


def run_part(part: Part, folder: Path, *, quick: bool) -> dict[str, Any] | None:
    """Run one part in a process of its own and print its table; None where it broke."""
    target = folder / f"{part.name}.json"
    fresh = target.with_suffix(".new")
    command = [sys.executable, "-m", "benchmarks.part", part.name, str(fresh), *(["--quick"] if quick else [])]
    print(f"\n{part.title} ({part.name})", flush=True)
    with tempfile.TemporaryFile("w+") as log:
        try:
            subprocess.run(
                command,
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                stdout=log,
                stderr=subprocess.STDOUT,
                check=True,
                timeout=part.timeout_seconds,
            )
            fresh.replace(target)
        except (subprocess.SubprocessError, FileNotFoundError) as error:
            fresh.unlink(missing_ok=True)
            log.seek(0)
            print("\n".join(["  NOT MEASURED", *log.read().splitlines()[-LOG_LINES:], str(error)]))
            return None
    result: dict[str, Any] = json.loads(target.read_text())
    print("\n".join(render_table(result["figures"])))
    print("".join(f"  {note}\n" for note in result["notes"]), end="")
    print(f"  ({result['seconds']} s, load {result['machine']['load']} before it)", flush=True)
    return result


def draw_plots(folder: Path) -> None:
    """Draw what there are results of, with the library that only the baselines' environment has."""
    if not machine.BASELINE_PYTHON.exists():
        print("no plots: `make .venv/.bench` installs what draws them")
        return
    subprocess.run([str(machine.BASELINE_PYTHON), str(ROOT / "benchmarks" / "plots.py"), str(folder)], check=False)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"only these: {', '.join(BY_NAME)}")
    parser.add_argument("--quick", action="store_true", help="a few rounds only")
    options = parser.parse_args()
    if unknown := [name for name in options.parts if name not in BY_NAME]:
        parser.error(f"no part is called {', '.join(unknown)}: there are {', '.join(BY_NAME)}")
    return options


if __name__ == "__main__":
    sys.exit(main())
