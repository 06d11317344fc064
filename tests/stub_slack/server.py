"""A stub of Slack's API: channels with their messages, scripted by the test.

What stays true: it is real HTTP, with the shapes of Slack's reference; a call is recorded before it is answered, and
a message stands in its channel even where the answer to its post is lost on the way.

    with StubSlack() as slack:
        slack.fail("chat.postMessage", "lost")     # posted, and then the connection breaks off
        slack.fail("chat.update", "limited")       # 429, Retry-After: 0
        slack.texts("C01")                         # what people see
"""

import json
import threading
from collections import defaultdict, deque
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs

Json = dict[str, Any]


@dataclass(slots=True)
class StubSlack:
    """The server. Use it as a context manager."""

    #: (method, arguments, token), as they came.
    calls: list[tuple[str, Json, str]] = field(default_factory=list)
    #: The messages of each channel, by their times.
    channels: dict[str, dict[str, Json]] = field(default_factory=lambda: defaultdict(dict))
    #: By path: the media type and the bytes.
    files: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    infos: dict[str, Json] = field(default_factory=dict)
    #: By Slack's id: the name and the bytes of what was uploaded, and the channel and thread in which it was shared.
    uploads: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    shared: dict[str, tuple[str, str | None]] = field(default_factory=dict)
    failures: dict[str, deque[str]] = field(default_factory=lambda: defaultdict(deque))
    #: Notified of each call.
    changed: threading.Condition = field(default_factory=threading.Condition)
    _count: int = 0
    _server: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def api_url(self) -> str:
        return f"{self.url}/api/"

    def fail(self, method: str, *kinds: str) -> None:
        """Fail the next calls: `limited`, `lost` (done, unanswered), `broken` (HTTP 503), or an error of Slack's."""
        self.failures[method].extend(kinds)

    def texts(self, channel: str) -> list[str]:
        """What people see in a channel, in order."""
        with self.changed:
            return [message["text"] for _, message in sorted(self.channels[channel].items())]

    def count(self, method: str) -> int:
        """The calls of a method so far."""
        return sum(1 for name, _, _ in list(self.calls) if name == method)

    def answer(self, method: str, arguments: Json, token: str) -> Json | None:
        """Do a call; None where its answer is lost."""
        with self.changed:
            self.calls.append((method, arguments, token))
            failure = self.failures[method].popleft() if self.failures[method] else ""
            if failure not in ("", "lost"):
                outcome: Json | None = {"ok": False, "error": failure}
            else:
                outcome = getattr(self, "_" + method.replace(".", "_").lower())(arguments)
            self.changed.notify_all()
            return None if failure == "lost" else outcome

    def _chat_postmessage(self, arguments: Json) -> Json:
        self._count += 1
        ts = f"1800000000.{self._count:06}"
        kept = {name: arguments.get(name) for name in ("text", "blocks", "metadata", "thread_ts")}
        self.channels[arguments["channel"]][ts] = {"type": "message", "ts": ts, "bot_id": "B01", **kept}
        return {"ok": True, "channel": arguments["channel"], "ts": ts}

    def _chat_postephemeral(self, arguments: Json) -> Json:
        return {"ok": True, "message_ts": "1800000000.999999"}

    def _chat_update(self, arguments: Json) -> Json:
        message = self.channels[arguments["channel"]].get(arguments["ts"])
        if message is None:
            return {"ok": False, "error": "message_not_found"}
        message |= {name: arguments[name] for name in ("text", "blocks", "metadata") if name in arguments}
        return {"ok": True, "ts": arguments["ts"]}

    def _chat_delete(self, arguments: Json) -> Json:
        gone = self.channels[arguments["channel"]].pop(arguments["ts"], None)
        return {"ok": True} if gone else {"ok": False, "error": "message_not_found"}

    def _conversations_replies(self, arguments: Json) -> Json:
        return self._page(arguments, arguments["ts"])

    def _conversations_history(self, arguments: Json) -> Json:
        return self._page(arguments, None)

    def _page(self, arguments: Json, thread_ts: str | None) -> Json:
        assert arguments["include_all_metadata"] == "true"
        of_channel = sorted(self.channels[arguments["channel"]].items())
        messages = [
            message
            for ts, message in of_channel
            if message.get("thread_ts") == thread_ts and ts > arguments["oldest"] and ts > arguments.get("cursor", "")
        ]
        # One a page, whatever was asked for: Slack may give less, too.
        cursor = messages[0]["ts"] if len(messages) > 1 else ""
        return {"ok": True, "messages": messages[:1], "response_metadata": {"next_cursor": cursor}}

    def _files_info(self, arguments: Json) -> Json:
        file_id = arguments["file"]
        if file_id in self.shared:
            channel, thread_ts = self.shared[file_id]
            share = {"ts": "1800000000.5", "thread_ts": thread_ts}
            return {"ok": True, "file": {"id": file_id, "shares": {"public": {channel: [share]}}}}
        if file_id in self.infos:
            return {"ok": True, "file": self.infos[file_id]}
        return {"ok": False, "error": "file_not_found"}

    def _files_getuploadurlexternal(self, arguments: Json) -> Json:
        self._count += 1
        file_id = f"F{self._count:06}"
        self.uploads[file_id] = (arguments["filename"], b"")
        return {"ok": True, "upload_url": f"{self.url}/upload/v1/{file_id}", "file_id": file_id}

    def _files_completeuploadexternal(self, arguments: Json) -> Json:
        (file,) = json.loads(arguments["files"])
        name, content = self.uploads.get(file["id"], ("", b""))
        # As Slack says: it can be called once.
        if not content or file["id"] in self.shared:
            return {"ok": False, "error": "file_not_found"}
        self.shared[file["id"]] = (arguments["channel_id"], arguments.get("thread_ts"))
        return {"ok": True, "files": [{"id": file["id"], "title": name}]}

    def take_upload(self, path: str, content: bytes) -> None:
        """Keep the bytes of a file."""
        with self.changed:
            file_id = path.rpartition("/")[2]
            self.calls.append(("upload", {"file": file_id}, ""))
            self.uploads[file_id] = (self.uploads[file_id][0], content)

    def __enter__(self) -> Self:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler_of(self))
        threading.Thread(target=self._server.serve_forever, args=(0.02,), name="stub-slack", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.shutdown()
        self._server.server_close()


def _handler_of(slack: StubSlack) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            method = self.path.removeprefix("/api/")
            content = self.rfile.read(int(self.headers["Content-Length"]))
            if method == self.path:
                assert "Authorization" not in self.headers
                slack.take_upload(self.path, content)
                self._send(200, "text/plain", b"OK")
                return
            body = content.decode()
            is_json = self.headers["Content-Type"].startswith("application/json")
            arguments = json.loads(body) if is_json else {name: value[0] for name, value in parse_qs(body).items()}
            outcome = slack.answer(method, arguments, self.headers["Authorization"].removeprefix("Bearer "))
            if outcome is None:
                self.close_connection = True
                return
            match outcome.get("error"):
                case "limited":
                    self._send(429, "application/json", b"{}", ("Retry-After", "0"))
                case "broken":
                    self._send(503, "text/html", b"<html>")
                case _:
                    self._send(200, "application/json", json.dumps(outcome).encode())

        def do_GET(self) -> None:
            slack.calls.append(("GET", {"path": self.path}, self.headers.get("Authorization", "")))
            media_type, content = slack.files.get(self.path, ("text/html", b"<html>log in</html>"))
            self._send(200, media_type, content)

        def _send(self, status: int, media_type: str, content: bytes, *headers: tuple[str, str]) -> None:
            self.send_response(status)
            for name, value in (("Content-Type", media_type), ("Content-Length", str(len(content))), *headers):
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name in the base class
            pass

    return Handler
