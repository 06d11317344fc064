"""`threadmill threads` with what changes a thread: who answers in it, its policy, its copies, another question."""

import json
from contextlib import closing
from pathlib import Path
from typing import Any

from conversation.ids import new_id
from producers import Producer
from store.settings import load
from store.threads.thread_views import read_view
from store.threads.visible_threads import Viewer
from store.turns import workers
from tests.integration.threadmill.cli.test_threads import Terminal


def test_a_thread_is_handed_over_gets_a_policy_and_is_asked_something_else(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path)
    terminal.run("init")
    terminal.run("chat", "t", stdin="hello\n")
    question = json.loads(terminal.run("threads", "show", "t", "--json").stdout)["messages"][0]

    terminal.run("threads", "hand-over", "t", "assistant")
    terminal.run("threads", "when-busy", "t", "steer")
    with closing(Producer(load(database_url=f"sqlite:///{tmp_path}/threads.db"))) as producer:
        view = producer.database.run(read_view, Viewer("default"), "t")
        assert (view.agent, view.when_busy) == ("assistant", "steer")
        fork = terminal.run("threads", "fork", "t", "--at", "1", "--id", "copy").stdout.strip()
        assert producer.database.run(read_view, Viewer("default"), fork).messages == 1
        # By its seq, and by its id.
        for place in ("1", question["id"]):
            assert "up to message 1" in terminal.run("threads", "branch", "t", "--at", place).stdout
        assert "at: is 99" in terminal.run("threads", "branch", "t", "--at", "99", status=1).stderr
        entry: dict[str, Any] = {"host": "here", "pid": 1, "serves": {"assistant": "1"}, "lease_duration_seconds": 60}
        producer.database.run(workers.register, worker=new_id(), **entry)
        turn = terminal.run("threads", "edit-message", "t", question["id"], "good morning").stdout.strip()
        branch = producer.find_turn(turn).record.branch
        assert branch != "main"
        sent = terminal.run("send", "t", "on main", "--branch", "main", "--wait", "0").stdout.strip()
        assert producer.find_turn(sent).record.branch == "main"
        assert [each.message.content for each in producer.read_thread("t", branch="main").pending] == ["on main"]
        assert [each.message.content for each in producer.read_thread("t").pending] == ["good morning"]
        stored = producer.thread_events("t", branch="main")
        assert next(stored).thread_id == "t"
        stored.close()  # type: ignore[attr-defined]  # a generator
    for words in (("show",), ("tail", "--once")):
        told = terminal.run("threads", words[0], "t", *words[1:], "--branch", "main").stdout
        assert "hello" in told
        assert "hello" not in terminal.run("threads", words[0], "t", *words[1:], "--branch", branch).stdout
    terminal.run("threads", "hand-over", "t")
    assert terminal.run("threads", "when-busy", "t").stdout == "t: as its agent says\n"

    assert "POLICY: is 'later'" in terminal.run("threads", "when-busy", "t", "later", status=1).stderr
    assert "copy" in terminal.run("threads", "fork", "t", "--id", "copy", status=1).stderr
    for verb in ("hand-over", "when-busy", "fork"):
        assert "'other'" in terminal.run("threads", verb, "t", "--tenant", "other", status=1).stderr
