"""What was made of blobs for models, as rows: texts, problems, renditions.

What stays true: one process at a time makes a blob ready, and what it wrote stays, so that whoever reads
it sees the same; a blob that kills those who read it is given up; pictures are stored before a row
points to them, and none outlives a blob that was deleted while they were made.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import ColumnElement, Connection, Select, and_, case, func, or_, select, update

from conversation.prepared_file import Picture, Prepared, PreparedFile
from store.database.column_types import DAY, clock, moment_ago
from store.database.statements import AnyRow, insert_for
from store.files import garbage_collection
from store.tables import blobs, renditions

#: Seconds after which whoever began with a file is dead.
PREPARE_SECONDS = 150.0
#: How often a file is begun with: then it has killed its reader each time.
ATTEMPTS_MAX = 3
#: Whose text is their size.
PICTURES = ("image/png", "image/jpeg", "image/gif", "image/webp")

#: What a scanner said of a file.
Scan = Literal["clean", "infected", "refused"]

_WANTED = (blobs.c.media_type, blobs.c.size, blobs.c.scan, blobs.c.prepared_at)
#: Seconds after which a file is begun with again whose scanner or store was away, or whose reader could
#: not be started; and one whose bytes are lost.
AGAIN_SECONDS = 2.0
LOST_SECONDS = 3600.0

_GIVEN_UP = "The file could not be read: it ended its reader each time."


@dataclass(frozen=True, slots=True)
class Begun:
    """A file that is this caller's to make ready."""

    media_type: str
    size: int
    #: Whether a scanner has to pass it first.
    waits_for_scan: bool
    #: Whether that is all that is left to do: it was read before there was a scanner.
    is_read: bool
    #: Who begins next has another one: what a late one writes does not count.
    attempt: int


def look(
    connection: Connection, tenant: str, hashes: Sequence[str], *, scans: bool = False
) -> dict[str, PreparedFile]:
    """What is kept of these blobs: one statement. Those that nobody has made ready are missing.

    With `scans`, so are those that no scanner has passed.
    """
    made = blobs.alias("made")
    joined = blobs.outerjoin(
        renditions,
        and_(
            renditions.c.tenant == blobs.c.tenant,
            renditions.c.sha256 == blobs.c.sha256,
            renditions.c.kind == "model",
        ),
    ).outerjoin(made, and_(made.c.tenant == renditions.c.tenant, made.c.sha256 == renditions.c.made_sha256))
    statement = (
        select(
            *(blobs.c.sha256, blobs.c.problem, blobs.c.prepared_at, blobs.c.scan),
            # A text may be long, and there may be thousands: only those that are shown are fetched.
            func.coalesce(func.length(blobs.c.text), 0).label("text_chars"),
            case((blobs.c.media_type.in_(PICTURES), blobs.c.text)).label("size_px"),
            *(made.c.sha256.label("picture"), made.c.media_type.label("picture_type")),
            made.c.size.label("picture_size"),
        )
        .select_from(joined)
        .where(blobs.c.tenant == tenant, blobs.c.sha256.in_(hashes))
    )
    found = ((row.sha256, _read(row, scans=scans)) for row in connection.execute(statement))
    return {sha256: file for sha256, file in found if file is not None}


def _read(row: AnyRow, *, scans: bool) -> PreparedFile | None:
    if row.scan == "infected":
        return PreparedFile(blocked="a virus scanner found something harmful in it")
    if row.scan == "refused":
        return PreparedFile(blocked="no virus scanner could look into it")
    if row.prepared_at is None or (scans and row.scan != "clean"):
        return None
    return PreparedFile(
        text_chars=row.text_chars,
        size_px=row.size_px,
        problem=row.problem,
        picture=row.picture,
        picture_type=row.picture_type,
        picture_size=row.picture_size,
    )


def begin(connection: Connection, tenant: str, sha256: str, *, scans: bool = False) -> Begun | None:
    """Take a file that is to be made ready; None if it is ready, or somebody is at it.

    A file that was begun with often enough is given up here.
    """
    mine = and_(_this(tenant, sha256), _is_to_do(scans=scans))
    row = connection.execute(
        update(blobs)
        .where(mine, or_(blobs.c.preparing_until.is_(None), blobs.c.preparing_until < clock()))
        .values(
            preparing_until=clock(plus_seconds=PREPARE_SECONDS),
            prepare_attempts=blobs.c.prepare_attempts + 1,
        )
        .returning(blobs.c.prepare_attempts, *_WANTED)
    ).one_or_none()
    if row is None:
        return None
    waits_for_scan = scans and row.scan != "clean"
    if row.prepare_attempts > ATTEMPTS_MAX:
        if waits_for_scan:
            note_scan(connection, tenant, sha256, "refused")
        write(connection, tenant, sha256, Prepared(problem=_GIVEN_UP), {})
        return None
    return Begun(
        media_type=row.media_type,
        size=row.size,
        waits_for_scan=waits_for_scan,
        is_read=row.prepared_at is not None,
        attempt=row.prepare_attempts,
    )


def put_back(
    connection: Connection,
    tenant: str,
    sha256: str,
    begun: Begun,
    *,
    again_seconds: float = AGAIN_SECONDS,
    counts: bool = False,
) -> None:
    """Leave a file to others, after a while: what it needs is away, which is not its fault.

    With `counts`, that was an attempt all the same: perhaps it is its fault.
    """
    attempts = blobs.c.prepare_attempts if counts else blobs.c.prepare_attempts - 1
    connection.execute(
        update(blobs)
        .where(_this(tenant, sha256), blobs.c.prepare_attempts == begun.attempt)
        .values(preparing_until=clock(plus_seconds=again_seconds), prepare_attempts=attempts)
    )


def note_scan(
    connection: Connection, tenant: str, sha256: str, scan: Scan, finding: str | None = None
) -> None:
    """Keep what a scanner said. A file that is not clean is not read any further."""
    values: dict[str, Any] = {"scan": scan, "finding": finding and finding[:200]}
    if scan != "clean":
        values["prepared_at"] = clock()
    connection.execute(update(blobs).where(_this(tenant, sha256)).values(**values))


def texts(connection: Connection, tenant: str, hashes: Sequence[str]) -> dict[str, str]:
    """The texts of these blobs, of those that have one."""
    statement = select(blobs.c.sha256, blobs.c.text).where(
        blobs.c.tenant == tenant, blobs.c.sha256.in_(hashes), blobs.c.text.is_not(None)
    )
    return {row.sha256: row.text for row in connection.execute(statement)}


def pictures_of(prepared: Prepared) -> Mapping[str, Picture]:
    """What is to be stored before `write`: by the kind of rendition."""
    made = {"model": prepared.picture, "thumbnail": prepared.thumbnail}
    return {kind: picture for kind, picture in made.items() if picture is not None}


def write(
    connection: Connection, tenant: str, sha256: str, prepared: Prepared, made: Mapping[str, str]
) -> Collection[str]:
    """Keep what was made of a blob, unless somebody else has.

    `made` holds the hashes of its pictures, by the kind of rendition: they are stored already. If the
    blob was deleted meanwhile, or is about to be, those that nobody else has are marked for deletion;
    all are returned, and `delete_marked` passes over the others.
    """
    if not _hold(connection, tenant, sha256, made.values()):
        _mark(connection, tenant, {made[kind]: each for kind, each in pictures_of(prepared).items()})
        return sorted(set(made.values()))
    mine = and_(_this(tenant, sha256), blobs.c.prepared_at.is_(None))
    values = {"text": prepared.text, "problem": prepared.problem, "prepared_at": clock()}
    # Read without the scanner that it waited for: should there be one again, beat looks for these.
    values["scan"] = func.nullif(blobs.c.scan, "pending")
    done = connection.execute(update(blobs).where(mine).values(**values, preparing_until=None))
    if not done.rowcount or not made:
        return ()
    links = [
        {"tenant": tenant, "sha256": sha256, "kind": kind, "made_sha256": made[kind]} for kind in sorted(made)
    ]
    connection.execute(insert_for(connection, renditions).values(links).on_conflict_do_nothing())
    pictures = pictures_of(prepared)
    for kind in sorted(made, key=made.__getitem__):
        # A picture is ready as it is, and came through no scanner: it was made here.
        own = and_(_this(tenant, made[kind]), blobs.c.prepared_at.is_(None))
        text = pictures[kind].text
        connection.execute(update(blobs).where(own).values(text=text, prepared_at=clock(), scan="clean"))
    return ()


def _hold(connection: Connection, tenant: str, sha256: str, made: Collection[str]) -> bool:
    """Whether a blob stays; it does until the transaction ends. Whoever is deleting it is waited for."""
    these = select(blobs.c.sha256, blobs.c.state).where(
        blobs.c.tenant == tenant, blobs.c.sha256.in_({sha256, *made})
    )
    # Its pictures are written as well: all in the one order in which everybody locks blobs.
    rows = connection.execute(these.order_by(blobs.c.sha256).with_for_update(key_share=True))
    return any(row.sha256 == sha256 and row.state != "deleting" for row in rows)


def _mark(connection: Connection, tenant: str, pictures: Mapping[str, Picture]) -> None:
    """Have pictures deleted whose file is gone, also where their row went with it: their bytes came later."""
    sizes = {sha256: len(picture.content) for sha256, picture in pictures.items()}
    garbage_collection.enter_unknown(connection, tenant, sizes.items())
    for sha256 in sorted(sizes):
        garbage_collection.mark_now(connection, (tenant, sha256))


def waiting(
    connection: Connection, *, older_than_seconds: float, limit: int, scans: bool = False
) -> Sequence[tuple[str, str]]:
    """Files that nobody has made ready for a while, and that nobody is at: tenant and hash.

    With `scans`, then those that came before there was a scanner.
    """
    unready = _waiting(connection, blobs.c.prepared_at.is_(None), older_than_seconds, limit)
    if not scans or len(unready) == limit:
        return unready
    return [*unready, *_waiting(connection, blobs.c.scan.is_(None), older_than_seconds, limit - len(unready))]


def _waiting(
    connection: Connection, is_open: ColumnElement[bool], older_than_seconds: float, limit: int
) -> Sequence[tuple[str, str]]:
    statement: Select[tuple[str, str]] = (
        select(blobs.c.tenant, blobs.c.sha256)
        .where(
            is_open,
            blobs.c.state == "stored",
            _is_open_to_scan,
            blobs.c.created_at < moment_ago(days=older_than_seconds / DAY),
            or_(blobs.c.preparing_until.is_(None), blobs.c.preparing_until < clock()),
        )
        .order_by(blobs.c.created_at)
        .limit(limit)
    )
    return [(row.tenant, row.sha256) for row in connection.execute(statement)]


def _this(tenant: str, sha256: str) -> Any:
    return and_(blobs.c.tenant == tenant, blobs.c.sha256 == sha256)


def _is_to_do(*, scans: bool) -> Any:
    unscanned = blobs.c.scan.is_(None) | (blobs.c.scan == "pending")
    open_ = blobs.c.prepared_at.is_(None)
    return and_(open_ | unscanned if scans else open_, _is_open_to_scan)


#: Those that a scanner did not let pass are done with.
_is_open_to_scan = func.coalesce(blobs.c.scan, "").not_in(["infected", "refused"])
