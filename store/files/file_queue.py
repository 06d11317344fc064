"""The queue of files that wait to be prepared: whose file a free process takes next.

What stays true: a wake-up says that some file waits, and which one is decided here, by all that wait. The tenant of
which the fewest are prepared is served first, and of several such ones each in its turn; a tenant's files follow their
places, which are by the time of the request, later for what is large and for all but the first that are requested
together. So a small file waits for about one preparation, behind whatever others have sent. Several processes may
claim at once: each file is begun by one, and a limit holds for all of them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, Float, FromClause, and_, case, cast, func, or_, select, update

from conversation.task_contract import FILES_QUEUE
from store.database.column_types import DAY, clock, moment_ago, moment_now
from store.database.rotation import list_tenants
from store.database.statements import AnyRow, serialize_transactions
from store.files.prepared_rows import (
    RESERVATION,
    RESERVED_COLUMNS,
    Preparation,
    is_free,
    is_not_blocked,
    needs_preparation,
    take_on,
)
from store.settings.units import TenantLimit
from store.tables import blobs, workers

#: Tenants among which a claim chooses, at most: the next ones in rotation.
TENANTS_MAX = 50
#: Seconds by which each further file of a request is placed later: about what one takes.
SECONDS_A_FILE = 5.0
#: Bytes for which a file is placed a second later.
BYTES_A_SECOND = 1024 * 1024
#: Seconds by which files are placed later that no turn waits for.
BACKGROUND_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class FileClaim:
    """The outcome of a claim: a file to prepare, or why there is none."""

    preparation: Preparation | None = None
    #: A file left the queue that needs no preparation, or was given up: there may be more.
    is_settled: bool = False
    #: Files wait, and their tenants have as many under way as they may.
    is_held_back: bool = False
    #: Files wait behind this claim.
    has_more: bool = False
    #: The tenants whose files waited or were under way.
    tenants: frozenset[str] = frozenset()


def request(
    connection: Connection, tenant: str, hashes: Sequence[str], *, scans: bool = False, in_background: bool = False
) -> int:
    """Give files a place in the queue, if they need to be prepared and nobody is at it; returns how many it gave one.

    A file that waits already keeps its place, or moves to an earlier one.
    """
    delay = BACKGROUND_SECONDS if in_background else 0.0
    delays: Mapping[str, float] = {sha256: delay + SECONDS_A_FILE * n for n, sha256 in enumerate(hashes)}
    later = case(delays, value=blobs.c.sha256, else_=delay) + cast(blobs.c.size, Float) / BYTES_A_SECOND
    place = clock(plus_seconds=later)
    requested = and_(blobs.c.tenant == tenant, blobs.c.sha256.in_(hashes))
    is_improved = or_(blobs.c.queue_place.is_(None), blobs.c.queue_place > place)
    statement = update(blobs).where(requested, needs_preparation(scans=scans), is_free, is_improved)
    return connection.execute(statement.values(queue_place=place)).rowcount


def claim(
    connection: Connection,
    *,
    after: str = "",
    limit: TenantLimit = TenantLimit(),  # noqa: B008 - frozen
    has_neighbours: bool = False,
    scans: bool = False,
) -> FileClaim:
    """Begin the file whose turn it is. `after` is the tenant that this process served last.

    With `has_neighbours`, a part of the places is kept from each tenant, as `limit` says; else only beside others'
    files that wait or are under way.
    """
    waiting = list_tenants(
        connection, blobs, lambda rows: rows.c.queue_place.is_not(None), after=after, limit=TENANTS_MAX
    )
    if not waiting:
        return FileClaim()
    running = _count_running(connection)
    tenants = frozenset(waiting) | frozenset(running)
    most = _most_running(connection, limit, has_neighbours=has_neighbours or len(tenants) > 1)
    if most is not None:
        # Of those who claim at once, each counts what the one before it took.
        serialize_transactions(connection, "claims of files")
        running = _count_running(connection)
    allowed = [tenant for tenant in waiting if most is None or running.get(tenant, 0) < most]
    # A stable sort: of those that have as few, the one whose turn it is.
    for tenant in sorted(allowed, key=lambda tenant: running.get(tenant, 0)):
        row = _take_first(connection, tenant, scans=scans)
        if row is not None:
            preparation = take_on(connection, row, scans=scans) if row.preparing_since else None
            return FileClaim(preparation, preparation is None, has_more=_has_waiting(connection), tenants=tenants)
    return FileClaim(is_held_back=len(allowed) < len(waiting), tenants=tenants)


def _take_first(connection: Connection, tenant: str, *, scans: bool) -> AnyRow | None:
    """Take the first of a tenant's files out of the queue, and reserve it where it needs to be prepared."""
    first = (
        select(blobs.c.sha256)
        .where(blobs.c.tenant == tenant, blobs.c.queue_place.is_not(None))
        .order_by(blobs.c.queue_place)
        .limit(1)
        .with_for_update(skip_locked=True)
        # A CTE runs once: a planner may run a subquery again for each row, and take more than one.
        .cte("first_file")
    )
    # No process is at a file that waits: who begins one takes it out of the queue, and only a free one gets in.
    is_needed = needs_preparation(scans=scans)
    unneeded = {"prepare_attempts": blobs.c.prepare_attempts}
    reservation = {name: case((is_needed, value), else_=unneeded.get(name)) for name, value in RESERVATION.items()}
    statement = (
        update(blobs)
        .where(blobs.c.tenant == tenant, blobs.c.sha256.in_(select(first.c.sha256)))
        .values(**{**reservation, "queue_place": None})
        .returning(*RESERVED_COLUMNS, blobs.c.preparing_since)
    )
    return connection.execute(statement).one_or_none()


def _count_running(connection: Connection) -> dict[str, int]:
    """The number of files that processes are at, by tenant; tenants without any are missing."""
    statement = (
        select(blobs.c.tenant, func.count().label("files"))
        .where(blobs.c.preparing_since.is_not(None), blobs.c.preparing_until > moment_now())
        .group_by(blobs.c.tenant)
    )
    return {row.tenant: row.files for row in connection.execute(statement)}


def _most_running(connection: Connection, limit: TenantLimit, *, has_neighbours: bool) -> int | None:
    """The number of files that a tenant may have under way; None for any number."""
    if limit.count or not limit.percent:
        return limit.count or None
    if not has_neighbours:
        return None
    living = select(workers.c.queues, workers.c.file_places).where(workers.c.lease_expires_at > moment_now())
    places = sum(row.file_places for row in connection.execute(living) if FILES_QUEUE in row.queues)
    return limit.places_of(places) if places else None


def _has_waiting(connection: Connection) -> bool:
    return (
        connection.execute(select(blobs.c.sha256).where(blobs.c.queue_place.is_not(None)).limit(1)).first() is not None
    )


def load_waiting(
    connection: Connection, *, older_than_seconds: float, limit: int, after: str = "", scans: bool = False
) -> Sequence[tuple[str, str]]:
    """Load files that need to be prepared, with no process at them: tenant and hash, as many of each tenant.

    `after` is the tenant behind which to begin. With `scans`, files that came before there was a scanner follow.
    """
    unprepared = _load_of_each(connection, _is_unprepared, older_than_seconds, limit, after)
    if not scans or len(unprepared) == limit:
        return unprepared
    return [*unprepared, *_load_of_each(connection, _is_unscanned, older_than_seconds, limit - len(unprepared), after)]


def _is_unprepared(rows: FromClause) -> ColumnElement[bool]:
    return rows.c.prepared_at.is_(None)


def _is_unscanned(rows: FromClause) -> ColumnElement[bool]:
    return rows.c.scan.is_(None)


def _load_of_each(
    connection: Connection,
    is_open: Callable[[FromClause], ColumnElement[bool]],
    older_than_seconds: float,
    limit: int,
    after: str,
) -> Sequence[tuple[str, str]]:
    tenants = list_tenants(connection, blobs, is_open, after=after, limit=min(limit, TENANTS_MAX))
    waiting = and_(
        is_open(blobs),
        blobs.c.state == "stored",
        is_not_blocked,
        blobs.c.created_at < moment_ago(days=older_than_seconds / DAY),
        is_free,
    )
    files: list[tuple[str, str]] = []
    for number, tenant in enumerate(tenants):
        # What the others leave is for those behind them.
        share = -(-(limit - len(files)) // (len(tenants) - number))
        statement = select(blobs.c.tenant, blobs.c.sha256).where(blobs.c.tenant == tenant, waiting)
        rows = connection.execute(statement.order_by(blobs.c.created_at).limit(share))
        files += [(row.tenant, row.sha256) for row in rows]
    return files
