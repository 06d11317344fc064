"""A program that runs another one on a file from its input, and notes what that took in `$TMPDIR/children.jsonl`.

    python measured_child.py '{"parent": …}'     the reader of `agent/files/extract_worker.py`, with its options
    python measured_child.py COMMAND…            any other

What stays true: it is small, since what starts a process is counted as the memory of that; a line holds the hash
of the file, so that several may run at once.
"""

import hashlib
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

_WORKER = Path(__file__).parents[1] / "agent" / "files" / "extract_worker.py"


def main() -> int:
    """Run it; returns its status."""
    content = sys.stdin.buffer.read()
    process = subprocess.Popen(_command(sys.argv[1:]), stdin=subprocess.PIPE)
    assert process.stdin is not None
    writing = threading.Thread(target=_hand_over, args=(process, content))
    writing.start()
    _, status, usage = os.wait4(process.pid, 0)
    writing.join()
    line = {
        "sha256": hashlib.sha256(content).hexdigest(),
        "milliseconds": 1000 * (usage.ru_utime + usage.ru_stime),
        "mib": usage.ru_maxrss / 1024,
    }
    with Path(os.environ["TMPDIR"], "children.jsonl").open("a") as notes:
        notes.write(json.dumps(line) + "\n")
    return os.waitstatus_to_exitcode(status)


def _command(arguments: list[str]) -> list[str]:
    if not arguments[0].startswith("{"):
        return arguments
    # The reader watches whoever started it.
    options = {**json.loads(arguments[0]), "parent": os.getpid()}
    return [sys.executable, "-P", str(_WORKER), json.dumps(options)]


def _hand_over(process: subprocess.Popen[bytes], content: bytes) -> None:
    assert process.stdin is not None
    try:
        process.stdin.write(content)
        process.stdin.close()
    except BrokenPipeError:
        pass  # it ended before it had read everything


if __name__ == "__main__":
    sys.exit(main())
