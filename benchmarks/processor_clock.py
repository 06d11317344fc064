"""The processor time of this process and of its connection's at PostgreSQL, finer than the clock's ticks."""

import time
from pathlib import Path

from store.database.engine import Database


class ProcessorClock:
    """The clock of a database with one connection."""

    def __init__(self, database: Database) -> None:
        with database.engine.begin() as connection:
            pid = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
        self._server = Path(f"/proc/{pid}/schedstat")

    def read_ms(self) -> float:
        """The milliseconds so far. The difference of two is what was spent between them."""
        return (time.process_time_ns() + int(self._server.read_text().split()[0])) / 1e6
