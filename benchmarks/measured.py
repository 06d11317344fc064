"""What was measured: the results of `make bench`, read back. Figures of a quick run count as none."""

import json
from typing import Any

from benchmarks.part import BY_NAME
from benchmarks.stage import ROOT

RESULTS = ROOT / "benchmarks" / "results"
Result = dict[str, Any]


class NotMeasured(LookupError):
    """There is no result of a part, or one of a quick run."""


def load(part: str) -> Result:
    """The result of a part. Raises `NotMeasured`, and `LookupError` where there is no such part."""
    if part not in BY_NAME:
        raise LookupError(f"there is no part {part}")
    path = RESULTS / f"{part}.json"
    result: Result | None = json.loads(path.read_text()) if path.exists() else None
    if result is None or result["quick"]:
        raise NotMeasured(part)
    return result


def find_figures(name: str) -> list[dict[str, Any]]:
    """The figures of a part, or the one of `part.key`. Raises `LookupError`."""
    part, _, key = name.partition(".")
    found = [figure for figure in load(part)["figures"] if key in ("", figure["key"])]
    if not found:
        raise LookupError(f"there is no figure {name}")
    return found
