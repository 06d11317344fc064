"""A server of webhooks in a process of its own: it takes everything, and prints the moment and the kind of each event.

python -m benchmarks.steering_receiver       its port is the first line
"""

import json
import os
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Server(ThreadingHTTPServer):
    """A server that many may reach at once."""

    request_queue_size = 256


class Handler(BaseHTTPRequestHandler):
    """Takes what it is sent."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        received_at = time.time()
        event = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(204)
        self.send_header("Content-Length", "0")
        self.end_headers()
        # In one piece: a thread's line does not stand within another's.
        os.write(sys.stdout.fileno(), f"{received_at:.6f} {event['timestamp']}\n".encode())

    def log_message(self, *_: object) -> None:
        """Nothing: a line of log for each would be measured, too."""


def main() -> None:
    """Serve until it is ended."""
    server = Server(("127.0.0.1", 0), Handler)
    print(server.server_port, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    sys.exit(main())
