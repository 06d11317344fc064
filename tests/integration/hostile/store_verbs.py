"""The verbs of `ThreadStore`, each with a call that works; some take the fields of messages and lines."""

import io
import json
from dataclasses import fields
from typing import Any

from agent.agent import Agent
from conversation.attachment import Attachment
from conversation.errors import BranchNotFound, ThreadNotFound
from conversation.message import Message
from store.thread_store import ThreadStore
from store.threads.export_format import CONTEXT, SUMMARY, THREAD, TURN
from tests.integration.hostile.stage import Stage
from tests.integration.hostile.verb import MESSAGE_FIELDS, MOMENT, Make, Verb, just, open_and_close

AGENT = Agent(name="hostile", purpose="Answer.", model="offline/recall")


def _of_store(name: str, /, *, _raises: type[Exception] | None = None, **arguments: Make) -> Verb:
    raises = () if _raises is None else (_raises,)
    return Verb(lambda stage, **given: getattr(stage.store, name)(**given), arguments, raises=raises)


def _append(stage: Stage, messages: Any = (), **options: Any) -> Any:
    return stage.store.append(options.pop("thread_id", "appended"), *_each(messages), **options)


def _each(messages: Any) -> Any:
    """What `*messages` of a call can be."""
    return messages if type(messages) is list and len(messages) < 1000 else [messages]


def _append_changed(stage: Stage, **values: Any) -> Any:
    """Append a message whose fields were set after it was made."""
    message = Message(role="assistant" if set(values) & {"tool_calls", "provider_fields"} else "user", content="hello")
    for name, value in values.items():
        setattr(message, name, value)
    return stage.store.append("appended", message)


def _append_file(stage: Stage, **values: Any) -> Any:
    """Append a message with an attachment whose fields were set after it was made."""
    file = Attachment(filename="a.txt", content=b"a note")
    for name, value in values.items():
        setattr(file, name, value)
    return stage.store.append("appended", Message(role="user", content="see", attachments=[file]))


def _save_changed(stage: Stage, **values: Any) -> Any:
    """Save a working copy whose fields were set by hand."""
    thread = stage.load()
    for name, value in values.items():
        setattr(thread, name, value)
    return stage.store.save_thread(thread)


def _import_messages(stage: Stage, **values: Any) -> Any:
    named = {"role", "content", "name", "tool_calls", "tool_call_id", "reasoning_content", "function_call"} & set(
        values
    )
    if named:
        item = {"role": "user", "content": "hello"} | {name: values.pop(name) for name in named}
        values["messages"] = [item]
    if "url" in values:
        values["messages"] = [
            {"role": "user", "content": [{"type": "image_url", "image_url": {"url": values.pop("url")}}]}
        ]
    if "data" in values:
        part = {"type": "file", "file": {"filename": "a", "file_data": values.pop("data")}}
        values["messages"] = [{"role": "user", "content": [part]}]
    return stage.store.import_messages(**{"thread_id": "imported", "messages": [], **values})


def _import_changed(stage: Stage, **values: Any) -> Any:
    """Import an export of which one field is another value."""
    ((path, value),) = values.items() or [("none_line_", None)]
    kind, _, name = path.partition("_line_")
    lines = []
    for text in stage.lines:
        line = json.loads(text)
        if line["kind"] == kind:
            (line["thread"] if kind == "thread" else line)[name] = value
        lines.append(_to_json(line))
    return stage.store.import_thread(lines, thread_id=f"again-{path}")


class NotJson(Exception):
    """A value that no line of JSON can hold: such a case is none."""


def _to_json(line: object) -> str:
    try:
        return json.dumps(line)
    except Exception:  # noqa: BLE001 - also what a value's own code raises
        raise NotJson from None


_LINES = {"thread": THREAD, "context": CONTEXT, "summary": SUMMARY, "turn": TURN}
_LINE_FIELDS = [f"{kind}_line_{name}" for kind, names in _LINES.items() for name in names]
_LINE_FIELDS += [f"message_line_{each.name}" for each in fields(Message)] + ["message_line_tokens", "end_line_lines"]
_FILTERS: dict[str, Make] = {
    "tenant": just("default"),
    "user": just("somebody"),
    "metadata": just({"a": 1}),
    "title": just("hello"),
    **{f"{verb}_{side}": just(MOMENT) for verb in ("updated", "created") for side in ("before", "after")},
}

STORE: dict[str, Verb] = {
    "ThreadStore.save_thread": _of_store("save_thread", thread=Stage.load, check_title=just(False)),
    "ThreadStore.save_thread of": Verb(
        _save_changed,
        dict.fromkeys(
            (
                "id",
                "tenant",
                "title",
                "user",
                "metadata",
                "context",
                "messages",
                "dropped_context",
                "store_identity",
                "created_at",
                "updated_at",
                "pending",
            ),
            just(None),
        ),
        is_alone=True,
    ),
    "ThreadStore.save_threads": _of_store("save_threads", batch=lambda stage: [stage.load()], check_title=just(False)),
    "ThreadStore.adopt": _of_store("adopt", thread=Stage.load),
    "ThreadStore.store_attachments": _of_store("store_attachments", thread=Stage.load),
    "ThreadStore.append": Verb(
        _append,
        {"thread_id": just("appended"), "messages": lambda _: [Message(role="user", content="x")], "user": just("me")},
    ),
    "ThreadStore.append of": Verb(_append_changed, MESSAGE_FIELDS, is_alone=True),
    "ThreadStore.append of a file": Verb(
        _append_file, dict.fromkeys(("filename", "content", "media_type", "sha256", "size"), just(None)), is_alone=True
    ),
    "ThreadStore.get_thread": _of_store("get_thread", thread_id=just("t"), last=just(1)),
    "ThreadStore.get_or_create_thread": _of_store(
        "get_or_create_thread",
        thread_id=just("made"),
        user=just("me"),
        title=just("x"),
        metadata=just({"a": 1}),
        messages=just([]),
    ),
    "ThreadStore.fork": _of_store("fork", thread_id=just("t"), at=just(0), new_thread_id=just(None), last=just(1)),
    "ThreadStore.branch": _of_store("branch", thread_id=just("t"), at=just(None), name=just("x"), branch=just("main")),
    "ThreadStore.get_branch": _of_store("get_branch", thread_id=just("t"), branch=just("main"), last=just(1)),
    "ThreadStore.list_branches": _of_store("list_branches", thread_id=just("t")),
    "ThreadStore.choose_branch": _of_store("choose_branch", thread_id=just("t"), branch=just("main")),
    "ThreadStore.rename_branch": _of_store("rename_branch", thread_id=just("t"), branch=just("main"), name=just("x")),
    "ThreadStore.compare_branches": _of_store(
        "compare_branches", thread_id=just("t"), ours=just("main"), theirs=just("main")
    ),
    "ThreadStore.delete_branch": _of_store(
        "delete_branch", _raises=BranchNotFound, thread_id=just("t"), branch=just("b")
    ),
    "ThreadStore.import_messages": Verb(
        _import_messages,
        {"thread_id": just("imported"), "messages": just([]), "user": just("me")}
        | dict.fromkeys(
            (
                "role",
                "content",
                "name",
                "tool_calls",
                "tool_call_id",
                "reasoning_content",
                "function_call",
                "url",
                "data",
            ),
            just(None),
        ),
        is_alone=True,
    ),
    "ThreadStore.delete_thread": _of_store("delete_thread", thread_id=just("nothing")),
    "ThreadStore.list_threads": _of_store(
        "list_threads", limit=just(1), cursor=just(None), order=just("updated"), **_FILTERS
    ),
    "ThreadStore.list_threads by age": Verb(
        lambda stage, cursor: stage.store.list_threads(order="created", cursor=cursor), {"cursor": just(None)}
    ),
    "ThreadStore.find_threads": _of_store("find_threads", **_FILTERS),
    "ThreadStore.count": _of_store("count", **_FILTERS),
    "ThreadStore.search_messages": _of_store(
        "search_messages", query=just("hello"), user=just("somebody"), limit=just(1)
    ),
    "ThreadStore.stats": _of_store("stats"),
    "ThreadStore.summarize_thread": _of_store(
        "summarize_thread", thread_id=just("t"), agent=just(AGENT), keep_messages=just(1)
    ),
    "ThreadStore.list_summaries": _of_store("list_summaries", thread_id=just("t")),
    "ThreadStore.restore_summary": _of_store("restore_summary", thread_id=just("t")),
    "ThreadStore.list_archives": _of_store("list_archives", thread_id=just("t")),
    "ThreadStore.restore_archive": _of_store(
        "restore_archive", thread_id=just("t"), as_id=just(None), nth=just(1), _raises=ThreadNotFound
    ),
    "ThreadStore.export_thread": _of_store("export_thread", thread_id=just("t")),
    "ThreadStore.import_thread": _of_store(
        "import_thread", lines=lambda stage: list(stage.lines), thread_id=just("imported-whole"), user=just(None)
    ),
    "ThreadStore.import_thread of": Verb(_import_changed, dict.fromkeys(_LINE_FIELDS, just(None)), is_alone=True),
    "ThreadStore.erase": _of_store("erase", user=just("nobody"), thread_id=just(None), whole_tenant=just(False)),
    "ThreadStore.export_user": _of_store(
        "export_user", target=lambda _: io.BytesIO(), user=just(None), thread_id=just("t")
    ),
    "ThreadStore.of": Verb(lambda _, thread: ThreadStore.of(thread), {"thread": Stage.load}),
    "ThreadStore.create": Verb(
        lambda _, **given: open_and_close(ThreadStore.create(**{"database_url": "sqlite://", **given})),
        {"database_url": just("sqlite://"), "tenant": just("default")},
    ),
    "ThreadStore.open_in_memory": Verb(lambda _: open_and_close(ThreadStore.open_in_memory())),
}
