"""A ZIP archive with a word in every place where one can stand: names are shown, what they hold is not."""

import io
import zipfile

from tests.marked_files import MarkedFile, mark_of

_PLACES = {
    "the comment of the archive": "", "the name of a file": "", "the name of a folder": "", "a file in a folder": "",
    "the comment of a file": "", "a name in another encoding": "", "a name that leads out": "",
    "the name of an archive inside": "", "what a file holds": "packed file",
}  # fmt: skip


def build() -> MarkedFile:
    """Build the archive."""
    mark, content = mark_of, io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.comment = mark("the comment of the archive").encode()
        commented = zipfile.ZipInfo(mark("the name of a file"))
        commented.comment = mark("the comment of a file").encode()
        archive.writestr(commented, mark("what a file holds"))
        archive.mkdir(mark("the name of a folder"))
        archive.writestr(f"{mark('the name of a folder')}/{mark('a file in a folder')}", "x")
        archive.writestr(f"{mark('a name in another encoding')} Grüße.txt", "x")
        archive.writestr(f"../../{mark('a name that leads out')}", "x")
        archive.writestr(f"{mark('the name of an archive inside')}.zip", "x")
    return MarkedFile("application/zip", content.getvalue(), _PLACES)
