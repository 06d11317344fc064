"""7z archives are listed out of their header; the files are as another program wrote them."""

import base64
import lzma
import random
import struct
import time
from contextlib import suppress

import pytest

from agent.files.readers.archives import seven_zip
from agent.files.readers.sections import TextSections, Unreadable

#: A folder with a text, an empty file, and a folder with a text of its own: its header is packed by LZMA.
PLAIN = base64.b64decode(
    "N3q8ryccAAREIURlpAAAAAAAAAAWAAAAAAAAAGgxuT3gA+wAEF0ANBlJ7o4djrCDRlOQrewBAADgANQAhF0AAIEzB64Pz4CuDA/U"
    "al595dffeE/G8XzV+NXXvNyw73UhI7qiMhH16KLM+McD+mJXk58h6mqdlC2h1lsFxAIq59oNSz/YRnCvsN5u+lMl5MeGRKxirkl2"
    "W8sPt2CSTIMtAjYlZVx16Te3MSeDIadJslCT5dTZTLezMV17J3QG/djw4AAAABcGGAEJgIwABwsBAAEhIQEYDIDVAAA="
)
#: The same under a password.
ENCRYPTED = base64.b64decode(
    "N3q8ryccAAQsAVsFxwAAAAAAAAAWAAAAAAAAABz4xD2QpR1j+ILUlNdlF7M50y2gmbLOMTbAeuIbvplrU6NQv+AA7ACfXQAAgTMH"
    "rg/QDv4UO6+GSC9nDrdu00aZquDNhD7ohu94pyvFOlX4iBsQ2wUjfQxCSz85JTFdn1jYNx/orKBsP2BEANcfP03Nf8C739KaK1VA"
    "q/A3bbFVhPpdHcXD3VJEskQtYG0zrLATYf42R+RyrQ/oqqzx071VOHGCphtUEhoBz+maBXbOVx/tFYfNKna2Tb6UfiWfM94ZWcJj"
    "XkKZAAAAFwYgAQmApwAHCwEAASEhARgMgO0AAA=="
)
#: The same, with the names under the password as well.
HIDDEN = base64.b64decode(
    "N3q8ryccAAR41NOxEAEAAAAAAAAqAAAAAAAAAJyStn9ceidulN5ZUH2I0Ys+H7H69VjfG6373eui7N3hC057FYHaj7yMyDoho4wt"
    "QOeevtxHLFnyW61Ef6ZRmQgC/CIf3jhFEE6ckJTtmr8T5EA50Bl7mX1UDbK2R1+SeX0714EQprSsoyqQ8q2xFNYV7ELBqiZKEY1E"
    "N4GOC2oMn3H2jQH5Q7VELfMcD0ZNJFqXD0hoI9tdy+JLuKwO95pgD6wf1jRLEdswytBkS2uIazX2Mw3jhUcQVDk+FMou9BE5hra1"
    "KY9PISk0GLwBu1v1lE466us72lWH/v9MiMk2byjvpND8DwYIJtcGahm66qtwva05eKdh4ri1wO1VlINxGEPFVDOWgOFZWe3m3ZUu"
    "/yo7LxcGIAEJgPAABwsBAAEkBvEHARJTDxR7kzDoEnjzlwvAAJQko/QMgO0AAA=="
)


def read(content: bytes):
    return seven_zip.read(content, TextSections(time.monotonic() + 30, 100_000))


def test_an_archive_is_listed() -> None:
    result = read(PLAIN)

    names = [line.partition(",")[0] for line in result["text"].splitlines()[1:]]
    assert names == [
        "- d/ (folder",
        "- d/a.txt (5 bytes",
        "- d/empty.txt (0 bytes",
        "- d/sub/ (folder",
        "- d/sub/ü.txt (1",
    ]
    assert result["left_out"] == {"packed file": 3}


def test_what_is_encrypted_is_said() -> None:
    assert read(ENCRYPTED)["text"].count("encrypted") == 3
    with pytest.raises(Unreadable, match="encrypted with the names"):
        read(HIDDEN)


def test_an_archive_that_breaks_off_is_called_that() -> None:
    with pytest.raises(Unreadable, match="breaks off"):
        read(PLAIN[:-10])


def test_damage_ends_in_an_error_and_in_no_endless_work() -> None:
    chance, started = random.Random(7), time.monotonic()
    for _ in range(500):
        content = bytearray(PLAIN if chance.random() < 0.5 else ENCRYPTED)
        content[chance.randrange(12, len(content))] = chance.randrange(256)
        with suppress(ValueError, IndexError, struct.error, lzma.LZMAError, Unreadable):
            read(bytes(content))
    assert time.monotonic() - started < 30
