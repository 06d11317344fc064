"""The limits of a fetch: how long it may take and how large it may be."""

from dataclasses import dataclass

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class WebLimits:
    """Limits of one fetch, its redirects included."""

    #: From looking up the name until the connection stands, each time one is made.
    connect_seconds: float = 10
    #: Between two pieces of an answer.
    read_seconds: float = 15
    #: For everything together.
    total_seconds: float = 30
    #: Of the body on the wire.
    received_max_bytes: int = 5 * MIB
    #: Of the body once it is decompressed: unpacking stops there.
    body_max_bytes: int = 5 * MIB
    redirects_max: int = 5


#: For text that a model is to read: a page of 5 MiB of HTML is a rare one.
PAGE = WebLimits()
#: For files: as large as an attachment may be by default.
DOWNLOAD = WebLimits(total_seconds=100, received_max_bytes=20 * MIB, body_max_bytes=20 * MIB)
