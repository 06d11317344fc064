"""A server that is told of events by webhooks: it verifies each, notes it, and refuses some at first.

What stays true: what was received is noted before it is answered, as by a server that dies right then.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from standardwebhooks import Webhook, WebhookVerificationError

#: One event in so many is refused when it comes first.
REFUSED_EVERY = 23


@dataclass(frozen=True, slots=True)
class Receipt:
    """An event that was received."""

    delivery_id: str
    #: The bytes that were signed.
    body: str


class Receiver:
    """One server, on a free port of this machine."""

    def __init__(self) -> None:
        self._receipts: list[Receipt] = []
        #: Requests that were not signed by the key.
        self.forged = 0
        self.secret = ""
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def receipts(self) -> Sequence[Receipt]:
        """Everything so far, in the order in which it came."""
        with self._lock:
            return tuple(self._receipts)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                self.send_response(receiver._take(dict(self.headers), body))
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        return Handler

    def _take(self, headers: dict[str, str], body: bytes) -> int:
        """The status of an answer."""
        headers = {name.lower(): value for name, value in headers.items()}
        try:
            Webhook(self.secret).verify(body, headers)
        except WebhookVerificationError:
            with self._lock:
                self.forged += 1
            return 400
        delivery_id = headers["webhook-id"]
        with self._lock:
            is_new = all(receipt.delivery_id != delivery_id for receipt in reversed(self._receipts))
            self._receipts.append(Receipt(delivery_id, body.decode()))
        is_refused = is_new and int(delivery_id.replace("-", "")[-4:], 16) % REFUSED_EVERY == 0
        return 500 if is_refused else 204
