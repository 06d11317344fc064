"""The first hour of somebody who starts: a project of their own, its first error, and the way to the reason.

A story that tests tell from different beginnings; each step is what a person types, and what they are shown.
"""

import base64
import json
import re
import runpy
import signal
import subprocess
import time
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from tests.acceptance.command_line import CHECKOUT, environment, processes_of, read_until
from tests.acceptance.installation import eventually

SLOW_TOOL = """

@tool(timeout_seconds=60)
def wrap(seconds: float) -> str:
    \"\"\"Wrap a book. It takes a while.\"\"\"
    import time

    time.sleep(seconds)
    return "wrapped"
"""
BUG = """

class Clerk:
    async def complete(self, request):
        return look_up({})

    async def stream(self, request):
        yield await self.complete(request)


def look_up(shelf):
    return shelf["Emma"]


register(Agent(name="clerk", model=Clerk()))
"""


@dataclass
class FirstHour:
    """One project, its `threadmill dev`, and a second terminal."""

    #: The command, as it is typed.
    threadmill: Sequence[str]
    project: Path
    variables: dict[str, str] = field(default_factory=dict)
    #: What ends it: Ctrl-C, or a crash.
    ending: signal.Signals = signal.SIGINT

    def run(self, *arguments: str, status: int = 0) -> str:
        """Run a command in the project's folder, with nothing exported."""
        ended = subprocess.run(
            [*self.threadmill, *arguments],
            cwd=self.project,
            env=environment(self.project.parent, **self.variables),
            capture_output=True,
            text=True,
            check=False,
            timeout=110,
        )
        assert ended.returncode == status, ended.stdout + ended.stderr
        return ended.stdout

    def send(self, text: str, *options: str, status: int = 0) -> str:
        """Send a message; without another name, to the agent that the project's settings name."""
        return self.run("send", "user-1", text, *options, status=status)

    def tell(self) -> None:
        """Tell the story, from a project that was just made to its end."""
        with subprocess.Popen(
            [*self.threadmill, "dev"],
            cwd=self.project,
            env=environment(self.project.parent, **self.variables),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as dev:
            try:
                self.work(dev)
                dev.send_signal(self.ending)
                rest = dev.communicate(timeout=60)[0]
            finally:
                dev.kill()
        if self.ending == signal.SIGINT:
            assert (dev.returncode, rest.splitlines()[-1]) == (0, "stopped")
        eventually(lambda: processes_of(self.project) == {}, 20, lambda: str(processes_of(self.project)))

    def work(self, dev: "subprocess.Popen[str]") -> None:
        begun = read_until(dev, " answers")
        assert "agent.assistant, book_shop.agent loaded in" in begun, begun
        assert '"cents":900' in self.send('call price_of with {"title": "Emma"}')
        assert re.search(r"completed in .*: 2 model calls, 1 tool call, \d+ tokens in", read_until(dev, "completed in"))

        self.edit_while_a_turn_runs(dev)
        self.make_a_slip_of_the_pen(dev)
        turn_id = self.meet_a_bug(dev)
        self.find_the_reason(turn_id, begun)
        self.mend_it_and_ask_again(dev, turn_id)

    def edit_while_a_turn_runs(self, dev: "subprocess.Popen[str]") -> None:
        """An edit is in use a moment later; the turn that runs meanwhile is finished by what it began with."""
        tools, agent = self.project / "book_shop" / "tools.py", self.project / "book_shop" / "agent.py"
        tools.write_text(tools.read_text() + SLOW_TOOL)
        agent.write_text(
            agent.read_text().replace("import price_of", "import price_of, wrap").replace("=[p", "=[wrap, p")
        )
        read_until(dev, " answers")
        self.run("send", "user-2", 'call wrap with {"seconds": 4}', "--agent", "book-shop", "--wait", "0")
        read_until(dev, "user-2 -> book-shop")

        saved_at = time.monotonic()
        tools.write_text(tools.read_text().replace("900", "950"))
        told = read_until(dev, " answers")
        # A second, on an idle machine.
        assert time.monotonic() - saved_at < 15

        assert "book_shop/tools.py changed" in told
        assert '"cents":950' in self.send('call price_of with {"title": "Emma"}')
        # On a slow machine the first turn ends before the new agents answer.
        ended = told + "".join(read_until(dev, "completed in") for _ in range(2 - told.count("completed in")))
        assert re.search(r"wrap took [45]\.\d\d s", ended), ended

    def make_a_slip_of_the_pen(self, dev: "subprocess.Popen[str]") -> None:
        """A syntax error is shown with its lines, and the last agents go on answering."""
        agent = self.project / "book_shop" / "agent.py"
        right = agent.read_text()
        agent.write_text(right + "again = Agent(\n")

        told = read_until(dev, "again = Agent(")
        assert "these agents cannot be loaded" in told
        assert "SyntaxError: '(' was never closed" in told
        assert f"book_shop/agent.py:{right.count(chr(10)) + 1}" in told
        assert '"cents":950' in self.send('call price_of with {"title": "Emma"}')

        agent.write_text(right)
        read_until(dev, " answers")

    def meet_a_bug(self, dev: "subprocess.Popen[str]") -> str:
        """A bug in an agent fails its turn; its own lines stand first. Returns the turn's id."""
        agent = self.project / "book_shop" / "agent.py"
        agent.write_text(agent.read_text() + BUG)
        read_until(dev, " answers")

        self.send("What does Emma cost?", "--agent", "clerk", status=1)

        told = read_until(dev, "failed in")
        own_lines = [
            "clerk broke: builtins.KeyError",
            "in look_up",
            'return shelf["Emma"]',
            "in complete",
            "look_up({})",
        ]
        assert re.search(".*".join(map(re.escape, own_lines)), told, re.DOTALL), told
        assert str(self.project / "book_shop") not in told.partition("broke")[2]
        (turn_id,) = re.findall(r"turn (\S+)  failed in", told)
        return str(turn_id)

    def find_the_reason(self, turn_id: str, begun: str) -> None:
        """The command line, the log and Flower say why."""
        (failed,) = map(json.loads, self.run("turns", "list", "--state", "failed", "--json").splitlines())
        assert (failed["id"], failed["error"]["kind"]) == (turn_id, "agent_error")

        shown = self.run("turns", "show", turn_id)
        assert re.search(r"agent_error.*KeyError", shown, re.DOTALL), shown

        logged = self.run("logs", "--turn", turn_id, "--level", "error")
        assert re.search(r"agent_error .*look_up", logged), logged

        flower = self.find_flower(begun)
        task = self.read_tasks(flower)[turn_id]
        assert (task["state"], "agent_error" in task["exception"]) == ("FAILURE", True), task
        assert "look_up" in task["traceback"]
        self.look_at_flower(flower, turn_id)

    def find_flower(self, begun: str) -> SimpleNamespace:
        """The address of Flower and its password, as they were printed."""
        (url,) = re.findall(r"Flower +(http://127\.0\.0\.1:\d+/)", begun)
        (password,) = re.findall(r"password (\S+)", begun)
        return SimpleNamespace(flower_url=url, flower_user="threadmill", flower_password=password)

    def look_at_flower(self, flower: SimpleNamespace, turn_id: str) -> None:
        """See the turn's page in a browser; its picture stays beside the project."""
        browse = runpy.run_path(str(CHECKOUT / "docs" / "how-to" / "make_flower_screenshots.py"))["browse"]
        picture = self.project.parent / "flower.png"

        browse(flower, f"task/{turn_id}", "--window-size=1180,1180", f"--screenshot={picture}")

        assert picture.read_bytes().startswith(b"\x89PNG")
        assert "look_up" in browse(flower, f"task/{turn_id}", "--dump-dom")

    def read_tasks(self, flower: SimpleNamespace) -> dict[str, Any]:
        """Flower's tasks."""
        credentials = base64.b64encode(f"{flower.flower_user}:{flower.flower_password}".encode()).decode()
        headers = {"Authorization": f"Basic {credentials}"}
        request = urllib.request.Request(f"{flower.flower_url}api/tasks", headers=headers)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=10) as answer:
            tasks: dict[str, Any] = json.load(answer)
            return tasks

    def mend_it_and_ask_again(self, dev: "subprocess.Popen[str]", turn_id: str) -> None:
        agent = self.project / "book_shop" / "agent.py"
        agent.write_text(agent.read_text().replace(", model=Clerk()", ""))
        read_until(dev, " answers")

        assert turn_id in self.run("turns", "requeue", "--state", "failed", "--since", "1h", "--dry-run")
        self.run("turns", "requeue", "--state", "failed", "--kind", "agent_error", "--since", "1h")

        assert "1 model call" in read_until(dev, "completed in")
