"""A compressed tar archive with a word in every place where one can stand."""

import io
import tarfile

from tests.marked_files import MarkedFile, mark_of

_PLACES = {
    "the name of a file": "", "the name of a folder": "", "a name that leads out": "", "a link": "",
    "where a link goes": "", "a comment": "", "an owner": "", "a header of its own": "header field",
    "a very long name": "", "what a file holds": "packed file",
}  # fmt: skip


def build() -> MarkedFile:
    """Build the archive."""
    mark, content = mark_of, io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz", format=tarfile.PAX_FORMAT) as archive:
        commented = _entry(mark("the name of a file"))
        commented.uname = mark("an owner")
        commented.pax_headers = {"comment": mark("a comment"), "OWN.key": mark("a header of its own")}
        held = mark("what a file holds").encode()
        commented.size = len(held)
        archive.addfile(commented, io.BytesIO(held))
        archive.addfile(_entry(mark("the name of a folder"), tarfile.DIRTYPE))
        archive.addfile(_entry(f"../../etc/{mark('a name that leads out')}"))
        link = _entry(mark("a link"), tarfile.SYMTYPE)
        link.linkname = f"/etc/{mark('where a link goes')}"
        archive.addfile(link)
        archive.addfile(_entry("x" * 200 + mark("a very long name")))
    return MarkedFile("application/gzip", content.getvalue(), _PLACES)


def _entry(name: str, kind: bytes = tarfile.REGTYPE) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type = kind
    return entry
