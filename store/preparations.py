"""What was made of blobs for models, as rows: texts, problems, renditions.

What stays true: what was written first stays, so that whoever reads it sees the same; pictures are
stored before a row points to them.
"""

from collections.abc import Mapping, Sequence
from hashlib import sha256 as hash_of
from typing import Any

from sqlalchemy import Connection, and_, case, func, select, update

from conversation.attachment import Attachment
from conversation.prepared import Picture, Prepared, PreparedFile
from store.columns import clock
from store.statements import insert_for
from store.tables import blobs, renditions

#: Whose text is their size.
PICTURES = ("image/png", "image/jpeg", "image/gif", "image/webp")


def look(connection: Connection, tenant: str, hashes: Sequence[str]) -> dict[str, PreparedFile]:
    """What is kept of these blobs: one statement. Those that nobody has made ready are missing."""
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
    known = {}
    for row in connection.execute(statement):
        if row.scan == "infected":
            known[row.sha256] = PreparedFile(blocked="a virus scanner found something harmful in it")
        elif row.prepared_at is not None:
            known[row.sha256] = PreparedFile(
                text_chars=row.text_chars,
                size_px=row.size_px,
                problem=row.problem,
                picture=row.picture,
                picture_type=row.picture_type,
                picture_size=row.picture_size,
            )
    return known


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


def write(connection: Connection, tenant: str, file: Attachment, prepared: Prepared) -> None:
    """Keep what was made of a blob, unless somebody else has. Its pictures are stored already.

    A blob that no message has yet gets a row too: a tool brought it in a turn that still runs.
    """
    assert file.sha256 is not None
    pictures = {kind: (_hash(picture), picture) for kind, picture in pictures_of(prepared).items()}
    own = {"sha256": file.sha256, "size": file.size, "media_type": file.mime_type}
    rows: list[dict[str, Any]] = [
        own | {"tenant": tenant, "created_at": clock(), "prepared_at": None, "text": None}
    ]
    for made, picture in pictures.values():
        row = {"sha256": made, "size": len(picture.content), "media_type": picture.media_type}
        rows.append(
            row | {"tenant": tenant, "created_at": clock(), "prepared_at": clock(), "text": picture.text}
        )
    by_hash = {row["sha256"]: row for row in reversed(rows)}
    inserted = insert_for(connection, blobs).values([by_hash[key] for key in sorted(by_hash, key=str)])
    connection.execute(inserted.on_conflict_do_nothing(index_elements=["tenant", "sha256"]))
    mine = and_(blobs.c.tenant == tenant, blobs.c.sha256 == file.sha256, blobs.c.prepared_at.is_(None))
    values = {"text": prepared.text, "problem": prepared.problem, "prepared_at": clock()}
    if not connection.execute(update(blobs).where(mine).values(**values)).rowcount or not pictures:
        return
    links = [
        {"tenant": tenant, "sha256": file.sha256, "kind": kind, "made_sha256": made}
        for kind, (made, _) in pictures.items()
    ]
    connection.execute(insert_for(connection, renditions).values(links).on_conflict_do_nothing())


def _hash(picture: Picture) -> str:
    return hash_of(picture.content).hexdigest()
