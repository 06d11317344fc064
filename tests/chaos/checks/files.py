"""Files: each message has those that came with it and those that its tools brought, and their bytes are there."""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping

from tests.chaos.finding import Finding, Promise
from tests.chaos.picture import Picture
from tests.chaos.sent import Sent
from tests.chaos.tickets import INVOICE, digest_of, invoice_of

#: Reads the bytes of (tenant, sha256); raises if they are not there.
ReadBlob = Callable[[str, str], bytes]


def check_files(picture: Picture, sent: Sent) -> Iterator[Finding]:
    kept: dict[str, set[str]] = defaultdict(set)
    for row in picture.attachments:
        kept[str(row["turn_id"])].add(row["sha256"])
    unended = {str(s["turn_id"]) for s in picture.calls().values() if s["state"] != "finished"}
    for ref, accepted in sent.accepted.items():
        turn = picture.turns.get(accepted.turn_id)
        if turn is None or accepted.turn_id not in picture.said:
            continue
        answering = picture.answering(accepted.turn_id)
        invoices = {digest_of(invoice_of(ref))} if INVOICE in accepted.tools else set()
        if accepted.files - invoices - kept[accepted.turn_id]:
            yield Finding(Promise.DURABLE, ref, "a file that came with it is gone")
        is_complete = picture.turns[answering]["state"] == "completed" and answering not in unended
        if is_complete and (accepted.files & invoices) - kept[answering]:
            yield Finding(Promise.DURABLE, ref, "a file that its tool brought is gone")
    yield from _strange(picture, sent, kept)


def _strange(picture: Picture, sent: Sent, kept: Mapping[str, set[str]]) -> Iterator[Finding]:
    """A message has no files but those that came with it; a changed one may have those of the one before it."""
    invoices = {digest_of(invoice_of(ref)) for ref in sent.accepted}
    own = {accepted.turn_id: accepted.files for accepted in sent.accepted.values()}
    everybodys = frozenset().union(*own.values())
    edited = {thread["key"] for thread in picture.threads if thread["branch_origin"] == "edit"}
    for turn_id, digests in kept.items():
        is_edited = turn_id in picture.turns and picture.turns[turn_id]["thread_key"] in edited
        allowed = everybodys if is_edited else own.get(turn_id, frozenset())
        if digests - invoices - allowed:
            yield Finding(Promise.NOTHING_INVENTED, turn_id, "it has files that nobody gave it")


def check_blobs(picture: Picture, read_blob: ReadBlob) -> Iterator[Finding]:
    for row in picture.attachments:
        where = f"{row['message_id']} {row['filename']}"
        if row["size"] is None or row["state"] != "stored":
            yield Finding(Promise.BLOBS, where, "no row says that its blob is stored")
            continue
        try:
            content = read_blob(row["tenant"], row["sha256"])
        except Exception as error:  # noqa: BLE001 - whatever the reason, it cannot be read
            yield Finding(Promise.BLOBS, where, f"{type(error).__name__}: {error}")
            continue
        if hashlib.sha256(content).hexdigest() != row["sha256"] or len(content) != row["size"]:
            yield Finding(Promise.BLOBS, where, "its bytes are others")
