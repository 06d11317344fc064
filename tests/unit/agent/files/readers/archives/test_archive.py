"""Archives are listed and never unpacked; what is damaged, encrypted or too much is said."""

import bz2
import gzip
import io
import lzma
import struct
import tarfile
import time
import zipfile
import zlib
from collections.abc import Callable

import pytest

from agent.files.readers.archives import archive, compressed_file
from agent.files.readers.sections import TextSections, Unreadable


def sections(seconds: float = 30) -> TextSections:
    return TextSections(time.monotonic() + seconds, 100_000)


def zip_of(**files: str) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, text in files.items():
            packed.writestr(name, text)
    return content.getvalue()


def tar_of(*names: str) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as packed:
        for name in names:
            packed.addfile(tarfile.TarInfo(name))
    return content.getvalue()


def vint(number: int) -> bytes:
    """A number as RAR writes it."""
    return bytes([number & 127 | (128 if number > 127 else 0)]) + (vint(number >> 7) if number > 127 else b"")


def rar_block(kind: int, flags: int, body: bytes, data: bytes = b"") -> bytes:
    fields = vint(kind) + vint(flags) + (vint(len(data)) if flags & 2 else b"") + body
    head = vint(len(fields)) + fields
    return struct.pack("<I", zlib.crc32(head)) + head + data


def rar_of(name: str, text: bytes) -> bytes:
    body = vint(0) + vint(len(text)) + vint(0) + vint(0) + vint(1) + vint(len(name)) + name.encode()
    return b"Rar!\x1a\x07\x01\x00" + rar_block(1, 0, vint(0)) + rar_block(2, 2, body, text) + rar_block(5, 0, vint(0))


def test_names_of_a_zip_are_read_in_the_encoding_that_they_have() -> None:
    content = zip_of(**{"Grüße.txt": "x"})
    utf8, cp437 = "Grüße.txt".encode(), "Gr\x81\xe1e.txt".encode("latin-1").ljust(11, b"!")
    # As programs write it that do not say that it is UTF-8, and as those of DOS do.
    unsaid = content.replace(b"\x00\x08\x08\x00", b"\x00\x00\x08\x00").replace(b"\x00\x08", b"\x00\x00")

    assert "Grüße.txt (1 bytes" in archive.read_zip(content, sections())["text"]
    assert "Grüße.txt (1 bytes" in archive.read_zip(unsaid, sections())["text"]
    assert "Grüße.txt!! (1 bytes" in archive.read_zip(unsaid.replace(utf8, cp437), sections())["text"]


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "C:\\x", "a\nb", "x\u202etxt.exe", " "])
def test_a_name_can_do_nothing_where_it_is_shown(name: str) -> None:
    text = archive.read_zip(zip_of(**{name: "x"}), sections())["text"]

    assert len(text.splitlines()) == 2
    assert "\u202e" not in text


def test_an_encrypted_entry_and_a_time_of_no_calendar_are_said() -> None:
    content = zip_of(a="x")
    content = content.replace(b"PK\x01\x02\x14\x03\x14\x00\x00", b"PK\x01\x02\x14\x03\x14\x00\x01")
    at = content.index(b"PK\x01\x02") + 12
    content = content[:at] + b"\xff\xff\xff\xff" + content[at + 4 :]

    assert "- a (1 bytes, encrypted)" in archive.read_zip(content, sections())["text"]


@pytest.mark.parametrize(
    ("read", "content"),
    [
        (archive.read_zip, zip_of(**{str(number): "" for number in range(3000)})),
        (archive.read_tar, tar_of(*map(str, range(3000)))),
    ],
    ids=["zip", "tar"],
)
def test_of_thousands_of_entries_the_first_are_listed(read: Callable[..., dict], content: bytes) -> None:
    result = read(content, sections())

    assert result["remarks"] == ["The first 2,000 of 3,000 entries of the archive are listed."]
    assert result["left_out"] == {"packed file": 3000}


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_a_compressed_file_is_listed_by_what_is_in_it(pack: Callable[[bytes], bytes]) -> None:
    listed = compressed_file.read(pack(tar_of("a.txt", "b/c.txt")), sections())
    single = compressed_file.read(pack(b"hello"), sections())
    broken = compressed_file.read(pack(b"hello")[:-8], sections())

    assert listed["text"].endswith("- a.txt (0 bytes)\n- b/c.txt (0 bytes)")
    assert single["text"].endswith("(5 bytes)")
    assert "damaged" in " ".join(broken["remarks"])


def test_the_name_in_a_gzip_file_is_told() -> None:
    content = io.BytesIO()
    with gzip.GzipFile("notes.txt", "wb", fileobj=content) as packed:
        packed.write(b"hello")

    assert "- notes.txt (5 bytes)" in compressed_file.read(content.getvalue(), sections())["text"]


def test_no_more_is_unpacked_than_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compressed_file, "UNPACKED_MAX", 10 * 2**20)
    bomb = gzip.compress(bytes(50 * 2**20))

    large = compressed_file.read(bomb, sections())
    late = compressed_file.read(bomb, sections(seconds=-1))

    assert large["remarks"] == ["Only the first 11,534,336 bytes were unpacked; there is more."]
    assert "there is more" in late["remarks"][0]


def test_an_archive_that_is_cut_off_is_listed_as_far_as_it_goes() -> None:
    result = archive.read_tar(tar_of("a", "b", "c")[:1300], sections())

    assert result["text"].endswith("- a (0 bytes)\n- b (0 bytes)")
    assert "breaks off" in result["remarks"][0]


def test_a_rar_archive_is_listed() -> None:
    result = archive.read_rar(rar_of("notes ü.txt".encode().decode("latin-1"), b"hello"), sections())

    assert "(5 bytes)" in result["text"]
    assert result["left_out"] == {"packed file": 1}


def test_a_later_part_of_a_rar_archive_is_called_that() -> None:
    with pytest.raises(Unreadable, match="names are in the first"):
        archive.read_rar(
            b"Rar!\x1a\x07\x01\x00" + rar_block(1, 0, vint(3) + vint(1)) + rar_block(5, 0, vint(0)), sections()
        )
