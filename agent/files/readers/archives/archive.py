"""Archives of several files (ZIP, tar, RAR, 7z), listed by the names of what is in them.

What stays true: nothing is unpacked, save the table of contents; an archive that breaks off is listed as far as it
goes.
"""

import io
import tarfile
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import IO, Any, Protocol, cast

from agent.files.readers.archives.listing import Entry, add_listing
from agent.files.readers.decode import decode, find_encoding
from agent.files.readers.sections import TextSections, Unreadable

#: Of a ZIP entry: its name is UTF-8, and it is encrypted.
_UTF8_FLAG, _ENCRYPTED_FLAG = 0x800, 0x1
#: Of a tar entry: what stands in its line, or says nothing to people.
_PAX_KEYS = {
    "path", "linkpath", "size", "mtime", "atime", "ctime", "uid", "gid", "uname", "gname", "charset", "hdrcharset",
    "comment",
}  # fmt: skip
#: Of names, by which their encoding is told.
_NAMES_MAX_BYTES = 64 * 1024
#: The extra field in which programs of Info-ZIP write a name as UTF-8.
_UNICODE_PATH = 0x7075


class ByteStream(Protocol):
    """A stream that is read from its beginning to its end."""

    def read(self, size: int, /) -> bytes:
        """Read so many bytes, fewer at the end."""


class _Counted:
    """A stream whose bytes are counted: one that ends within a block was cut off, which tarfile takes for its end."""

    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream
        self.size = 0

    def read(self, size: int) -> bytes:
        """Read so many bytes, fewer at the end."""
        piece = self._stream.read(size)
        self.size += len(piece)
        return piece


def read_zip(content: bytes, sections: TextSections) -> dict[str, Any]:
    """List a ZIP archive."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        comment = decode(archive.comment)
        return add_listing(_zip_entries(archive.infolist()), sections, "ZIP archive", comment)


def read_tar(content: bytes, sections: TextSections) -> dict[str, Any]:
    """List a tar archive."""
    return list_tar(io.BytesIO(content), sections, "tar archive")


def list_tar(file: ByteStream, sections: TextSections, heading: str) -> dict[str, Any]:
    """List a tar archive that is read from its beginning to its end."""
    return add_listing(_tar_entries(file, sections), sections, heading)


def read_rar(content: bytes, sections: TextSections) -> dict[str, Any]:
    """List a RAR archive."""
    import rarfile

    try:
        with rarfile.RarFile(io.BytesIO(content)) as archive:
            if archive.needs_password() and not archive.infolist():
                raise Unreadable("The archive is encrypted with the names in it; ask for one without a password.")
            comment = archive.comment or ""
            return add_listing(map(_rar_entry, archive.infolist()), sections, "RAR archive", comment)
    except rarfile.NeedFirstVolume:
        raise Unreadable("The archive is a later part of several; its names are in the first.") from None


def _zip_entries(infos: Sequence[zipfile.ZipInfo]) -> Iterator[Entry]:
    # Most programs write UTF-8, or the encoding of their country, without saying so; zipfile takes it for cp437.
    unsaid = b"\n".join(info.filename.encode("cp437") for info in infos if not info.flag_bits & _UTF8_FLAG)
    encoding = find_encoding(unsaid[:_NAMES_MAX_BYTES], "cp437")
    for info in infos:
        yield Entry(
            _zip_name(info, encoding),
            size=info.file_size,
            modified=_time(info.date_time),
            is_folder=info.filename.endswith("/"),
            is_encrypted=bool(info.flag_bits & _ENCRYPTED_FLAG),
            note=f"comment: {decode(info.comment)}" if info.comment else "",
        )


def _zip_name(info: zipfile.ZipInfo, encoding: str) -> str:
    if info.flag_bits & _UTF8_FLAG:
        return info.filename
    at, extra = 0, info.extra
    while at + 4 <= len(extra):
        kind, length = int.from_bytes(extra[at : at + 2], "little"), int.from_bytes(extra[at + 2 : at + 4], "little")
        if kind == _UNICODE_PATH and length > 5:
            with suppress(UnicodeDecodeError):
                return extra[at + 9 : at + 4 + length].decode()
        at += 4 + length
    return info.filename.encode("cp437").decode(encoding, "replace")


def _tar_entries(file: ByteStream, sections: TextSections) -> Iterator[Entry]:
    counted = _Counted(file)
    try:
        with tarfile.open(fileobj=cast("IO[bytes]", counted), mode="r|", errors="surrogateescape") as archive:
            while (info := archive.next()) is not None:
                cast("Any", archive).members.clear()
                sections.leave_out("header field", len(info.pax_headers.keys() - _PAX_KEYS))
                yield _tar_entry(info)
            if counted.size % tarfile.BLOCKSIZE:
                raise tarfile.ReadError
    except (tarfile.TarError, EOFError, OSError, ValueError):
        sections.remark("The archive breaks off or is damaged; it is listed as far as it can be read.")


def _tar_entry(info: tarfile.TarInfo) -> Entry:
    kinds = {tarfile.CHRTYPE: "device", tarfile.BLKTYPE: "device", tarfile.FIFOTYPE: "pipe"}
    notes = [f"link to {_tar_text(info.linkname)}" if info.islnk() or info.issym() else kinds.get(info.type, "")]
    if info.uname not in ("", "root"):
        notes.append(f"of {_tar_text(info.uname)}")
    if info.pax_headers.get("comment"):
        notes.append(f"comment: {info.pax_headers['comment']}")
    modified = None
    with suppress(ValueError, OverflowError, OSError):
        modified = datetime.fromtimestamp(info.mtime, UTC) if info.mtime else None
    name = _tar_text(info.name) + ("/" if info.isdir() else "")
    return Entry(name, info.size, modified, is_folder=info.isdir(), note=", ".join(filter(None, notes)))


def _tar_text(text: str) -> str:
    return text if text.isprintable() else decode(text.encode("utf-8", "surrogateescape"))


def _rar_entry(info: Any) -> Entry:
    modified = _time(info.date_time) if info.date_time else None
    return Entry(info.filename, info.file_size, modified, is_folder=info.is_dir(), is_encrypted=info.needs_password())


def _time(fields: Sequence[int]) -> datetime | None:
    """A time as an archive has it; None for one that no calendar has."""
    year, month, day, hour, minute, second = (*fields, 0, 0, 0, 0, 0, 0)[:6]
    try:
        return datetime(year, month, day, hour, minute, second)  # noqa: DTZ001 - archives do not say of which zone
    except (ValueError, TypeError):
        return None
