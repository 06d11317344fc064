"""What Flower shows: turns by their ids, to those who know the password, and nothing that was said."""

import base64
import json
import time
import urllib.error
import urllib.request
from typing import Any

import pytest

from producers import Turn
from tests.acceptance.installation import Installation, eventually
from threadmill.embedded import programs
from threadmill.embedded.home import Home
from threadmill.embedded.programs import FLOWER_USER

MARKER = "xylophone-4711"


def test_flower_lists_turns_by_their_ids_and_shows_no_word_of_them(answering: Installation) -> None:
    answering.start(programs.flower(answering.folder / "flower"))
    home = Home(answering.folder / "flower")
    address = f"http://127.0.0.1:{home.last_port()}"

    def shown(turn: Turn) -> list[dict[str, Any]]:
        tasks = json.loads(ask(f"{address}/api/tasks?limit=1000&taskname=turns.run", home.load_secret()))
        done = [task for task in tasks.values() if task["state"] in ("SUCCESS", "FAILURE")]
        return [task for task in done if turn.id in task["kwargs"]]

    def listens() -> bool:
        first = answering.send("first", "is anybody listening?")
        answering.all_ended([first])
        time.sleep(0.2)
        return bool(shown(first))

    # It answers before it has subscribed to what workers tell.
    eventually(listens)
    turns = [answering.send(f"thread-{n}", f"say {MARKER}") for n in range(3)]
    turns.append(answering.send("broken", MARKER, agent="broken"))
    answering.all_ended(turns)

    eventually(lambda: all(shown(turn) for turn in turns))
    tasks = [task for turn in turns for task in shown(turn)]
    for turn, task in zip(turns, tasks, strict=True):
        assert task["name"] == "turns.run"
        assert f"'thread': '{turn.thread_id}'" in task["kwargs"]
        assert task["state"] == ("FAILURE" if turn.thread_id == "broken" else "SUCCESS")
    for page in ("/api/tasks?limit=1000", "/tasks", "/api/workers", "/workers", *details(tasks)):
        assert MARKER not in ask(address + page, home.load_secret())


def test_flower_answers_nobody_without_the_password(installation: Installation) -> None:
    installation.start(programs.flower(installation.folder / "flower"))
    address = f"http://127.0.0.1:{Home(installation.folder / 'flower').last_port()}"

    for page in ("/", "/api/tasks", "/tasks", "/api/workers", "/workers", "/broker"):
        for password in ("", "wrong"):
            with pytest.raises(urllib.error.HTTPError) as refused:
                ask(address + page, password)
            assert refused.value.code == 401
            refused.value.close()


def details(tasks: list[dict[str, Any]]) -> list[str]:
    return [f"/task/{task['uuid']}" for task in tasks] + [f"/api/task/info/{task['uuid']}" for task in tasks]


def ask(url: str, password: str) -> str:
    request = urllib.request.Request(url)
    if password:
        pair = base64.b64encode(f"{FLOWER_USER}:{password}".encode()).decode()
        request.add_header("Authorization", f"Basic {pair}")
    with urllib.request.urlopen(request, timeout=10) as answer:
        return str(answer.read().decode())
