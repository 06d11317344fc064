"""The readers, run in the process that asks: what a child adds is its limits, and a start for each document."""

import json
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from agent.files import extract, extract_worker


async def _read_here(
    program: Path, content: bytes, *, timeout_seconds: float, options: Mapping[str, Any]
) -> tuple[bytes, int]:
    """What a child would answer, without one."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as in a child, where nobody hears them
        result = extract_worker.read(content, {**options, "until": time.monotonic() + timeout_seconds})
    return json.dumps(result).encode(), 0


@contextmanager
def readers_in_process() -> Iterator[None]:
    """Have no file start a child."""
    with patch.object(extract, "read_in_child", _read_here):
        yield
