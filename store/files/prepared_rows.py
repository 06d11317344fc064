"""Prepared files as rows: extracted texts, problems, renditions.

What stays true: one process at a time prepares a blob, and what it wrote stays, so that every caller
sees the same; a blob that kills its readers is given up; pictures are stored before a row
points to them, and none outlives a blob that was deleted while they were made.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import ColumnElement, Connection, Update, and_, case, func, or_, select, update

from conversation.media_types import IMAGE_TYPES
from conversation.prepared_file import Picture, PreparationResult, PreparedFile
from store.database.column_types import clock
from store.database.statements import AnyRow, convert_row, insert_for
from store.files import garbage_collection
from store.tables import blobs, renditions

#: Seconds after which a process that began with a file and no longer renews its reservation is dead.
RESERVED_SECONDS = 20.0
#: Longer than the size of any picture in words.
SIZE_MAX_CHARS = 50
#: Attempts at a file before it is given up: then it has killed its reader each time.
ATTEMPTS_MAX = 3

#: The verdict of a scanner on a file.
Scan = Literal["clean", "infected", "refused"]

#: What is read of a file that is begun.
RESERVED_COLUMNS = (
    *(blobs.c.tenant, blobs.c.sha256, blobs.c.media_type, blobs.c.size),
    *(blobs.c.scan, blobs.c.prepared_at, blobs.c.prepare_attempts),
)
#: What a row gets whose file is begun, and what one whose file nobody waits for or is at.
RESERVATION: Mapping[str, Any] = {
    "queue_place": None,
    "preparing_since": clock(),
    "preparing_until": clock(plus_seconds=RESERVED_SECONDS),
    "prepare_attempts": blobs.c.prepare_attempts + 1,
}
_AT_REST: Mapping[str, Any] = {"queue_place": None, "preparing_since": None, "preparing_until": None}
#: Seconds until the next attempt at a file whose scanner or store was away, or whose reader could not be
#: started; and at one whose bytes are lost.
RETRY_SECONDS = 2.0
LOST_RETRY_SECONDS = 3600.0

#: The rendition of a blob that models see.
_is_for_models = and_(
    renditions.c.tenant == blobs.c.tenant, renditions.c.sha256 == blobs.c.sha256, renditions.c.kind == "model"
)
_GIVEN_UP = "The file could not be read: it ended its reader each time."


@dataclass(frozen=True, slots=True)
class Preparation:
    """A file that this caller has begun to prepare."""

    tenant: str
    sha256: str
    media_type: str
    size: int
    #: Whether a scanner has to pass it first.
    waits_for_scan: bool
    #: Whether the scan is all that remains: the file was read before there was a scanner.
    is_read: bool
    #: The next caller has another number: what a late one releases does not count.
    attempt: int


def load_prepared(
    connection: Connection, tenant: str, hashes: Sequence[str], *, scans: bool = False
) -> dict[str, PreparedFile]:
    """Load what is stored of prepared blobs: one statement. Blobs that are not prepared are missing.

    With `scans`, so are those that no scanner has passed.
    """
    rendition_blobs = blobs.alias("made")
    is_rendition = and_(
        rendition_blobs.c.tenant == renditions.c.tenant, rendition_blobs.c.sha256 == renditions.c.rendition_sha256
    )
    statement = (
        select(
            *(blobs.c.sha256, blobs.c.extraction_note.label("note"), blobs.c.prepared_at, blobs.c.scan),
            blobs.c.left_out,
            # A text may be long, and there may be thousands: only those that are shown are fetched.
            func.coalesce(func.length(blobs.c.extracted_text), 0).label("text_chars"),
            case((blobs.c.media_type.in_(IMAGE_TYPES), func.substr(blobs.c.extracted_text, 1, SIZE_MAX_CHARS))).label(
                "size_px"
            ),
            *(rendition_blobs.c.sha256.label("picture"), rendition_blobs.c.media_type.label("picture_type")),
            rendition_blobs.c.size.label("picture_size"),
        )
        .select_from(blobs.outerjoin(renditions, _is_for_models).outerjoin(rendition_blobs, is_rendition))
        .where(blobs.c.tenant == tenant, blobs.c.sha256.in_(hashes))
    )
    files = ((row.sha256, _prepared_file(row, scans=scans)) for row in connection.execute(statement))
    return {sha256: file for sha256, file in files if file is not None}


def _prepared_file(row: AnyRow, *, scans: bool) -> PreparedFile | None:
    if row.scan == "infected":
        return PreparedFile(blocked_reason="a virus scanner found something harmful in it")
    if row.scan == "refused":
        return PreparedFile(blocked_reason="no virus scanner could look into it")
    if row.prepared_at is None or (scans and row.scan != "clean"):
        return None
    if row.size_px is None:
        return convert_row(row, PreparedFile, left_out=row.left_out or {})
    # The first line of a picture's text is its size; what OCR read in it stands below.
    size, line_end, _ = row.size_px.partition("\n")
    text_chars = row.text_chars if line_end else 0
    return convert_row(row, PreparedFile, left_out=row.left_out or {}, size_px=size, text_chars=text_chars)


def begin(connection: Connection, tenant: str, sha256: str, *, scans: bool = False) -> Preparation | None:
    """Begin to prepare a file; None if it is prepared, or another process is at it.

    A file that had `ATTEMPTS_MAX` attempts is given up here.
    """
    unprepared_row = and_(_is_blob(tenant, sha256), needs_preparation(scans=scans), is_free)
    row = connection.execute(
        update(blobs).where(unprepared_row).values(RESERVATION).returning(*RESERVED_COLUMNS)
    ).one_or_none()
    return None if row is None else take_on(connection, row, scans=scans)


def take_on(connection: Connection, row: AnyRow, *, scans: bool) -> Preparation | None:
    """The preparation of a file whose row, of `RESERVED_COLUMNS`, was just reserved; None of one that is given up."""
    tenant, sha256 = row.tenant, row.sha256
    waits_for_scan = scans and row.scan != "clean"
    if row.prepare_attempts > ATTEMPTS_MAX:
        if waits_for_scan:
            note_scan(connection, tenant, sha256, "refused")
        write(connection, tenant, sha256, PreparationResult(note=_GIVEN_UP), {})
        return None
    return Preparation(
        tenant=tenant,
        sha256=sha256,
        media_type=row.media_type,
        size=row.size,
        waits_for_scan=waits_for_scan,
        is_read=row.prepared_at is not None,
        attempt=row.prepare_attempts,
    )


def renew(connection: Connection, preparation: Preparation) -> None:
    """Keep a file that is being prepared from other processes for `RESERVED_SECONDS` more."""
    connection.execute(_update_reserved(preparation).values(preparing_until=clock(plus_seconds=RESERVED_SECONDS)))


def release(
    connection: Connection,
    preparation: Preparation,
    *,
    retry_seconds: float = RETRY_SECONDS,
    counts_attempt: bool = False,
) -> None:
    """Release a file to other processes, after a while: what it needs is away, which is not its fault.

    With `counts_attempt`, that was an attempt all the same: perhaps it is its fault.
    """
    attempts = blobs.c.prepare_attempts if counts_attempt else blobs.c.prepare_attempts - 1
    values = {"preparing_until": clock(plus_seconds=retry_seconds), "prepare_attempts": attempts}
    connection.execute(_update_reserved(preparation).values(**values, preparing_since=None))


def _update_reserved(preparation: Preparation) -> Update:
    """An update of the row, unless a later attempt has begun."""
    of_attempt = blobs.c.prepare_attempts == preparation.attempt
    return update(blobs).where(_is_blob(preparation.tenant, preparation.sha256), of_attempt)


def note_scan(connection: Connection, tenant: str, sha256: str, scan: Scan, finding: str | None = None) -> None:
    """Store the verdict of a scanner. A file that is not clean is not read any further."""
    values: dict[str, Any] = {"scan": scan, "scan_finding": finding and finding[:200]}
    if scan != "clean":
        values |= {"prepared_at": clock(), **_AT_REST}
    connection.execute(update(blobs).where(_is_blob(tenant, sha256)).values(**values))


def load_texts(connection: Connection, tenant: str, hashes: Sequence[str]) -> dict[str, str]:
    """Load the extracted texts of blobs, by hash; blobs without a text are missing."""
    statement = select(blobs.c.sha256, blobs.c.extracted_text).where(
        blobs.c.tenant == tenant, blobs.c.sha256.in_(hashes), blobs.c.extracted_text.is_not(None)
    )
    return {row.sha256: row.extracted_text for row in connection.execute(statement)}


def pictures_of(prepared: PreparationResult) -> Mapping[str, Picture]:
    """The pictures that are to be stored before `write`, by the kind of rendition."""
    pictures = {"model": prepared.picture, "thumbnail": prepared.thumbnail}
    return {kind: picture for kind, picture in pictures.items() if picture is not None}


def write(
    connection: Connection, tenant: str, sha256: str, prepared: PreparationResult, rendition_hashes: Mapping[str, str]
) -> Collection[str]:
    """Store the text and renditions of a blob, unless another process has.

    `rendition_hashes` holds its pictures by the kind of rendition: they are stored already. If the blob
    was deleted meanwhile, or is about to be, those that are not used elsewhere are marked for deletion;
    all are returned, and `delete_marked` passes over the others.
    """
    if not _lock_blobs(connection, tenant, sha256, rendition_hashes.values()):
        _mark_orphans(
            connection, tenant, {rendition_hashes[kind]: each for kind, each in pictures_of(prepared).items()}
        )
        return sorted(set(rendition_hashes.values()))
    unprepared_row = and_(_is_blob(tenant, sha256), blobs.c.prepared_at.is_(None))
    values: dict[str, Any] = {"extracted_text": prepared.text, "extraction_note": prepared.note}
    values |= {"left_out": prepared.left_out or None, "prepared_at": clock()}
    # Read without the scanner that it waited for: should there be one again, beat finds these.
    values["scan"] = func.nullif(blobs.c.scan, "pending")
    result = connection.execute(update(blobs).where(unprepared_row).values(**values, **_AT_REST))
    if result.rowcount and rendition_hashes:
        _link_renditions(connection, tenant, sha256, prepared, rendition_hashes)
    return ()


def _link_renditions(
    connection: Connection, tenant: str, sha256: str, prepared: PreparationResult, rendition_hashes: Mapping[str, str]
) -> None:
    links = [
        {"tenant": tenant, "sha256": sha256, "kind": kind, "rendition_sha256": rendition_hashes[kind]}
        for kind in sorted(rendition_hashes)
    ]
    connection.execute(insert_for(connection, renditions).values(links).on_conflict_do_nothing())
    pictures = pictures_of(prepared)
    for kind in sorted(rendition_hashes, key=rendition_hashes.__getitem__):
        # A rendition is prepared as it is, and came through no scanner: it was made here.
        rendition_row = and_(_is_blob(tenant, rendition_hashes[kind]), blobs.c.prepared_at.is_(None))
        connection.execute(
            update(blobs)
            .where(rendition_row)
            .values(extracted_text=pictures[kind].text, prepared_at=clock(), scan="clean")
        )


def _lock_blobs(connection: Connection, tenant: str, sha256: str, rendition_hashes: Collection[str]) -> bool:
    """Lock a blob and its renditions; whether it stays until the transaction ends. Waits for its deletion."""
    statement = select(blobs.c.sha256, blobs.c.state).where(
        blobs.c.tenant == tenant, blobs.c.sha256.in_({sha256, *rendition_hashes})
    )
    # The renditions are written as well: all in the one order in which every transaction locks blobs.
    rows = connection.execute(statement.order_by(blobs.c.sha256).with_for_update(key_share=True))
    return any(row.sha256 == sha256 and row.state != "deleting" for row in rows)


def _mark_orphans(connection: Connection, tenant: str, pictures: Mapping[str, Picture]) -> None:
    """Mark pictures whose file is gone, also where their row went with it: their bytes came later."""
    sizes = {sha256: len(picture.content) for sha256, picture in pictures.items()}
    garbage_collection.enter_unknown(connection, tenant, sizes.items())
    for sha256 in sorted(sizes):
        garbage_collection.mark_now(connection, (tenant, sha256))


def _is_blob(tenant: str, sha256: str) -> Any:
    return and_(blobs.c.tenant == tenant, blobs.c.sha256 == sha256)


def needs_preparation(*, scans: bool) -> ColumnElement[bool]:
    """Whether anything is to be done for a file."""
    is_unscanned = blobs.c.scan.is_(None) | (blobs.c.scan == "pending")
    is_unprepared = blobs.c.prepared_at.is_(None)
    return and_(is_unprepared | is_unscanned if scans else is_unprepared, is_not_blocked)


#: Files that a scanner did not pass are not prepared any further.
is_not_blocked = func.coalesce(blobs.c.scan, "").not_in(["infected", "refused"])
#: No process is at the file, and no pause is kept before the next attempt.
is_free = or_(blobs.c.preparing_until.is_(None), blobs.c.preparing_until < clock())
