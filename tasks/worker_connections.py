"""A worker's connections to the database: few, and enough for all of its turns, most of which wait for a model.

What stays true: a turn that finds none free waits for one and never fails of it, since whoever holds one gives it
back within milliseconds or is ended by the database's limits. Claims take half of them at most, so that ends of
turns, journals and releases of leases do not queue behind the claims of a burst.
"""

from conversation.errors import InvalidSettings
from store.database.call_queue import TOGETHER_MAX, half_of_connections
from store.database.engine import Database
from store.settings import Settings, variable

#: Seconds that a turn waits for a free connection: the longest that the setting allows.
MAX_WAIT_SECONDS = 86_400.0


def limit_connections(settings: Settings) -> Settings:
    """The settings of a database that a worker's turns share."""
    return settings.model_copy(
        update={
            "db_pool_size": settings.worker_db_connections,
            # One beyond the pool would be opened and closed again and again: a login and a cold cache each time.
            "db_max_overflow": 0,
            "db_pool_timeout": MAX_WAIT_SECONDS,
        }
    )


def check_connections(settings: Settings, *, concurrency: int) -> None:
    """Check that turns can end while others are claimed. Raises `InvalidSettings`."""
    connections = settings.worker_db_connections
    if connections < 2 <= concurrency:
        raise InvalidSettings(
            f"{variable('worker_db_connections')}={connections}: {concurrency} turns at once "
            f"({variable('worker_concurrency')}, or -c) need 2 or more, or turns would end behind claims"
        )


def claims_at_once(database: Database) -> int:
    """How many claims may be at work at once in a process with this database."""
    transactions = half_of_connections(database.settings)
    return transactions * TOGETHER_MAX if database.has_functions else transactions
