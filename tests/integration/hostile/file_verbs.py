"""The verbs of `FileStore`, and the values that go into all verbs: each with a call that works."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from conversation.attachment import Attachment
from conversation.message import Message
from conversation.thread import Thread
from store.file_store import FileStore
from tests.integration.hostile.verb import MESSAGE_FIELDS, Make, Verb, just, open_and_close


def _of_files(name: str, **arguments: Make) -> Verb:
    return Verb(lambda stage, **given: getattr(stage.files, name)(**given), arguments)


FILES: dict[str, Verb] = {
    "FileStore.save": _of_files(
        "save", content=just(b"text"), filename=just("a.txt"), media_type=just("text/plain"), mime_type=just(None)
    ),
    "FileStore.get": _of_files("get", file=lambda stage: stage.file),
    "FileStore.delete": _of_files("delete", file=just("0" * 64)),
    "FileStore.list": _of_files("list"),
    "FileStore.url": _of_files(
        "url", file=lambda stage: stage.file, expires=just(timedelta(hours=1)), inline=just(False)
    ),
    "FileStore.url of": Verb(
        lambda stage, **values: stage.files.url(_change(stage.file, values)),
        dict.fromkeys(("filename", "media_type", "sha256"), just(None)),
        is_alone=True,
    ),
    "FileStore.examine_file": _of_files("examine_file", attachment=lambda _: Attachment(filename="a", content=b"a")),
    "FileStore.put": _of_files(
        "put",
        attachment=lambda _: Attachment(filename="a", content=b"a", media_type="text/plain"),
        tenant=just("default"),
    ),
    "FileStore.create": Verb(
        lambda _, **given: open_and_close(FileStore.create(**given)),
        {"base_path": just("memory:"), "tenant": just("default")},
    ),
}


def _change(file: Attachment, values: Mapping[str, Any]) -> Attachment:
    copy = Attachment(filename=file.filename, media_type=file.media_type, sha256=file.sha256, size=file.size)
    for name, value in values.items():
        setattr(copy, name, value)
    return copy


VALUE_VERBS: dict[str, Verb] = {
    "Thread": Verb(
        lambda _, **given: Thread(**given),
        dict.fromkeys(("id", "user", "title", "metadata", "messages", "tenant"), just(None))
        | {"tenant": just("default"), "messages": just([])},
    ),
    "Thread.set_context": Verb(
        lambda _, **given: Thread("x").set_context(**given), {"key": just("k"), "text": just("hello")}
    ),
    "Thread.add_message": Verb(
        lambda _, message: Thread("x").add_message(message), {"message": lambda _: Message(role="user", content="x")}
    ),
    "Thread.from_json": Verb(lambda _, value: Thread.from_json(value), {"value": lambda stage: stage.load().to_json()}),
    "Message": Verb(
        lambda _, **given: Message(**{"role": "user", **given}), MESSAGE_FIELDS | {"role": just("user")}, is_alone=True
    ),
    "Message.from_json": Verb(
        lambda _, value: Message.from_json(value), {"value": lambda _: Message(role="user", content="x").to_json()}
    ),
    "Message.add_attachment": Verb(
        lambda _, attachment: Message(role="user").add_attachment(attachment),
        {"attachment": lambda _: Attachment(filename="a", content=b"a")},
    ),
    "Attachment": Verb(
        lambda _, **given: Attachment(**{"filename": "a", "content": b"a", **given}),
        dict.fromkeys(("filename", "content", "media_type", "sha256", "size", "mime_type"), just(None))
        | {"filename": just("a"), "content": just(b"a")},
        is_alone=True,
    ),
}
