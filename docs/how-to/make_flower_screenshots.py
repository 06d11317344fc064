"""Makes the pictures of `watch-in-flower.md`: `python docs/how-to/make_flower_screenshots.py --write`.

What stays true: each is Flower as a browser shows it, over turns of a stack that is started for them and thrown away.
Chromium is needed: `apt-get install chromium`.
"""

import base64
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

from producers import Producer
from store.settings import load
from threadmill.embedded.stack import Addresses, Stack

FOLDER = Path(__file__).parent
ROOT = FOLDER.parents[1]
#: What the turns are sent to, by their threads: as many ways to end.
AGENTS = {
    "user-17": "support",
    "user-18": "support",
    "order-4711": "pricing",
    "letter-3": "translator",
    "trip-2026": "planner",
}
#: Milliseconds of a page's own time in which it loads its rows.
PAGE_MILLISECONDS = 8000
#: Seconds for Flower to hear of all turns.
PATIENCE_SECONDS = 60
#: Width and height, in pixels.
LIST_SIZE, DETAIL_SIZE = "1400,640", "1180,1180"


def start_stack(directory: Path) -> Stack:
    """A stack with the agents of the pictures, in a folder whose name a picture may show."""
    shutil.copy(FOLDER / "flower_agents.py", directory / "agents.py")
    environment = {**os.environ, "PYTHONPATH": f"{directory}:{ROOT}", "THREADMILL_AGENT_MODULES": "agents"}
    return Stack(directory / "stack", environment).start()


def send_turns(stack: Stack) -> dict[str, str]:
    """Send a turn to each agent; returns the ids by thread."""
    addresses = stack.addresses()
    settings = load(database_url=addresses.database_url, broker_url=addresses.broker_url)
    with closing(Producer(settings)) as producer:
        return {
            thread: producer.send(thread, "hello", agent=agent, allow_unknown_agent=True).id
            for thread, agent in AGENTS.items()
        }


def browse(addresses: Addresses, page: str, *options: str) -> str:
    """Open a page of Flower in Chromium; returns what it prints."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        sys.exit("Chromium is needed: apt-get install chromium")
    address = addresses.flower_url.replace("://", f"://{addresses.flower_user}:{addresses.flower_password}@")
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
    command += [f"--virtual-time-budget={PAGE_MILLISECONDS}", *options, f"{address}{page}"]
    # Of the page itself alone: its user's configuration and proxies say nothing here.
    with tempfile.TemporaryDirectory() as home:
        environment = {"HOME": home, "PATH": os.environ["PATH"]}
        result = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120, env=environment)  # noqa: S603 - a command of ours
    return result.stdout


def read(addresses: Addresses, page: str) -> str:
    """A page of Flower, as its scripts leave it."""
    return browse(addresses, page, "--dump-dom")


def await_rows(addresses: Addresses, turn_ids: Mapping[str, str]) -> None:
    """Wait until Flower knows each turn, and none that runs."""
    pair = f"{addresses.flower_user}:{addresses.flower_password}".encode()
    request = urllib.request.Request(f"{addresses.flower_url}api/tasks")  # noqa: S310 - an address of ours
    request.add_header("Authorization", f"Basic {base64.b64encode(pair).decode()}")
    give_up_at = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < give_up_at:
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - as above
            rows = json.load(answer)
        states = [rows[turn_id]["state"] for turn_id in turn_ids.values() if turn_id in rows]
        if len(states) == len(turn_ids) and not {"RECEIVED", "STARTED"} & set(states):
            return
        time.sleep(0.5)
    sys.exit("Flower did not show all turns")


def make(folder: Path, addresses: Addresses, turn_ids: Mapping[str, str]) -> None:
    """Make all pictures."""
    pages = {
        "flower-tasks": "tasks",
        "flower-failed": f"task/{turn_ids['letter-3']}",
        "flower-bug": f"task/{turn_ids['order-4711']}",
        "flower-retry": f"task/{turn_ids['trip-2026']}",
        "flower-broker": "broker",
    }
    for name, page in pages.items():
        size = DETAIL_SIZE if page.startswith("task/") else LIST_SIZE
        browse(addresses, page, f"--window-size={size}", f"--screenshot={folder / name}.png")


def run(folder: Path) -> None:
    """Start a stack, and make the pictures of it."""
    with tempfile.TemporaryDirectory(prefix="shop-") as directory:
        stack = start_stack(Path(directory))
        try:
            # It answers before it has subscribed to what workers tell.
            time.sleep(2)
            turn_ids = send_turns(stack)
            await_rows(stack.addresses(), turn_ids)
            make(folder, stack.addresses(), turn_ids)
        finally:
            stack.stop()


if __name__ == "__main__":
    run(FOLDER if "--write" in sys.argv else Path.cwd())
