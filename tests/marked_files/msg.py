"""A mail of Outlook with a word in every place where one can stand."""

import struct

from tests.marked_files import MarkedFile, mark_of
from tests.outlook_file import Storage, properties, write

_PLACES = {
    "the subject": "", "the sender's name": "", "an address of the sender": "", "a receiver's name": "",
    "a receiver's address": "", "a receiver of a copy": "", "a receiver whom nobody sees": "", "whom to answer": "",
    "the text as a page": "", "the same text without a page": "other version", "the kind": "",
    "the name of an attachment": "", "text of an attachment": "", "the name of a program": "",
    "bytes of a program's file": "attachment",
    "the subject of an attached mail": "", "the text of an attached mail": "",
    "a field of its own": "Outlook field", "the fields of its way": "Outlook field", "a name of a picture": "",
}  # fmt: skip


def build() -> MarkedFile:
    """Build the mail."""
    mark = mark_of
    inner_mail = properties(
        {0x0037: mark("the subject of an attached mail"), 0x1000: mark("the text of an attached mail")}, head=24
    )
    inner = {
        "__recip_version1.0_#00000000": _receiver(1, "a receiver's name", "a receiver's address"),
        "__recip_version1.0_#00000001": _receiver(2, "a receiver of a copy"),
        "__recip_version1.0_#00000002": _receiver(3, "a receiver whom nobody sees"),
        "__attach_version1.0_#00000000": _file(
            mark("the name of an attachment") + ".txt", "text/plain", mark("text of an attachment")
        ),
        "__attach_version1.0_#00000001": _file(
            mark("the name of a program") + ".exe", "", mark("bytes of a program's file")
        ),
        "__attach_version1.0_#00000002": _file(mark("a name of a picture") + ".png", "image/png", "x"),
        "__attach_version1.0_#00000003": properties({}, head=8, inner={"__substg1.0_3701000D": inner_mail}),
    }
    texts: dict[int, str | bytes] = {
        0x0037: mark("the subject"), 0x0C1A: mark("the sender's name"),
        0x5D01: f"{mark('an address of the sender')}@x.org",
        0x0C1F: "/O=EXCHANGE/CN=X", 0x0050: mark("whom to answer"), 0x1013: f"<p>{mark('the text as a page')}".encode(),
        0x1000: mark("the same text without a page"), 0x8005: mark("a field of its own"),
        0x007D: f"X-Way: {mark('the fields of its way')}", 0x001A: f"IPM.{mark('the kind')}",
    }  # fmt: skip
    content = write(properties(texts, {0x0039: struct.pack("<Q", 133_500_000_000_000_000)}, inner=inner))
    return MarkedFile("application/vnd.ms-outlook", content, _PLACES)


def _receiver(kind: int, name: str, address: str = "") -> Storage:
    texts = {0x3001: mark_of(name), 0x39FE: f"{mark_of(address)}@x.org" if address else ""}
    return properties(texts, {0x0C15: struct.pack("<q", kind)}, head=8)


def _file(name: str, media_type: str, text: str) -> Storage:
    return properties({0x3707: name, 0x370E: media_type, 0x3701: text.encode()}, head=8)
