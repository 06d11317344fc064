"""Makes the picture of the chat page: `python docs/pictures/make_chat.py --write`.

What stays true: it is the page as a browser shows it, over a gateway and workers that are started for it and thrown
away; what the agent says stands in `chat_agents.py`. Chromium is needed: `apt-get install chromium`.
"""

import os
import shutil
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Page, expect, sync_playwright

from threadmill.embedded.stack import Addresses, Stack

FOLDER = Path(__file__).parent
ROOT = FOLDER.parents[1]
PICTURE = "chat.png"
LABEL = ROOT / "examples" / "support" / "order-label.png"
#: Width and height, in pixels.
SIZE = {"width": 1120, "height": 760}
#: Milliseconds for a worker to answer.
PATIENCE = 60_000


def start_stack(directory: Path) -> Stack:
    """A stack with the agent of the picture."""
    environment = {
        **os.environ,
        "PYTHONPATH": f"{FOLDER}:{ROOT}",
        "THREADMILL_AGENT_MODULES": "chat_agents",
        "THREADMILL_DEFAULT_AGENT": "clerk",
    }
    return Stack(directory / "stack", environment).start()


def converse(page: Page, addresses: Addresses) -> None:
    """Have the conversation of the picture, up to a call that waits for approval."""
    page.goto(addresses.gateway_url)
    page.get_by_label("Key").fill(addresses.gateway_key)
    page.get_by_role("button", name="Log in").click()
    log = page.locator("#log")
    for text in ("Is the grey tent in stock?", "My boots pinch at the toes."):
        page.get_by_role("button", name="New").click()
        send(page, text)
        expect(log).to_contain_text("19.50", timeout=PATIENCE)
    page.get_by_role("button", name="New").click()
    page.set_input_files("#files", LABEL)
    send(page, "I paid for two flasks and got one. This is the label.")
    expect(log).to_contain_text("never in the parcel.", timeout=PATIENCE)
    expect(log.locator("img")).to_be_visible(timeout=PATIENCE)
    send(page, "Then please refund the other one.")
    expect(log).to_contain_text("May refund run with this?", timeout=PATIENCE)
    page.get_by_role("button", name="Approve").scroll_into_view_if_needed()


def send(page: Page, text: str) -> None:
    """Write and press Enter."""
    page.get_by_label("Message", exact=True).fill(text)
    page.keyboard.press("Enter")


def run(folder: Path) -> None:
    """Start a stack, and make the picture of it."""
    browser_path = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser_path is None:
        sys.exit("Chromium is needed: apt-get install chromium")
    with tempfile.TemporaryDirectory() as directory, sync_playwright() as playwright:
        stack = start_stack(Path(directory))
        try:
            browser = playwright.chromium.launch(executable_path=browser_path, args=["--no-sandbox"])
            page = browser.new_page(viewport=SIZE, color_scheme="light")  # type: ignore[arg-type]
            converse(page, stack.addresses())
            page.screenshot(path=folder / PICTURE)
            browser.close()
        finally:
            stack.stop()


if __name__ == "__main__":
    run(FOLDER if "--write" in sys.argv else Path.cwd())
