"""Pictures made ready: of a size that providers take, upright, without metadata, and decoded to their end."""

import base64
import os
from io import BytesIO
from typing import Any

import pytest
from PIL import Image

from agent.files.prepare import prepare_file
from conversation.prepared_file import PreparationResult
from tests.unit.documents import png

pytestmark = pytest.mark.soak

#: As in `agent/files/readers/picture.py`: what providers take.
EDGE, BYTES = 1568, 3_750_000


def picture(size: tuple[int, int], kind: str = "PNG", mode: str = "RGB", colour: Any = None, **options: Any) -> bytes:
    out = BytesIO()
    Image.new(mode, size, colour or 0).save(out, kind, **options)
    return out.getvalue()


def noise(size: tuple[int, int], kind: str) -> bytes:
    out = BytesIO()
    Image.frombytes("RGB", size, os.urandom(size[0] * size[1] * 3)).save(out, kind)
    return out.getvalue()


async def prepared(content: bytes) -> PreparationResult:
    kind = {b"\x89": "png", b"\xff": "jpeg", b"G": "gif", b"R": "webp"}[content[:1]]
    return await prepare_file(content, f"image/{kind}")


def opened(found: PreparationResult) -> Image.Image:
    assert found.picture is not None
    image = Image.open(BytesIO(found.picture.content))
    assert image.get_format_mimetype() == found.picture.media_type
    assert found.picture.text == f"{image.size[0]} x {image.size[1]} pixels"
    return image


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP"])
async def test_a_small_picture_is_shown_as_it_is(kind: str) -> None:
    assert await prepared(picture((300, 200), kind)) == PreparationResult(text="300 x 200 pixels")


@pytest.mark.parametrize(("kind", "made"), [("PNG", "png"), ("JPEG", "jpeg"), ("GIF", "png"), ("WEBP", "jpeg")])
async def test_a_large_picture_is_scaled_to_what_providers_take(kind: str, made: str) -> None:
    found = await prepared(picture((3136, 2000), kind))

    assert found.text == "3136 x 2000 pixels"
    image = opened(found)
    assert image.size == (EDGE, 1000)
    assert image.get_format_mimetype() == f"image/{made}"


async def test_a_picture_of_too_many_bytes_is_made_smaller() -> None:
    content = noise((1500, 1500), "PNG")
    assert len(content) > BYTES

    found = await prepared(content)

    assert opened(found).size == (1500, 1500)
    assert len(found.picture.content) <= BYTES
    assert len(base64.b64encode(found.picture.content)) < 5_000_000


async def test_a_photo_is_turned_upright_and_loses_where_it_was_taken() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned a quarter
    exif.get_ifd(0x8825)[1] = "N"
    content = picture((400, 200), "JPEG", exif=exif.tobytes())

    found = await prepared(content)

    assert found.text == "200 x 400 pixels"
    image = opened(found)
    assert image.size == (200, 400)
    assert not image.getexif()
    assert b"Exif" not in found.picture.content


async def test_a_comment_in_a_picture_is_not_sent() -> None:
    found = await prepared(picture((50, 50), "JPEG", comment=b"taken at home"))

    assert found.picture is not None
    assert b"taken at home" not in found.picture.content


async def test_of_an_animation_the_first_frame_is_shown() -> None:
    out = BytesIO()
    frames = [Image.new("RGB", (60, 40), colour) for colour in ("red", "green", "blue")]
    frames[0].save(out, "GIF", save_all=True, append_images=frames[1:])

    found = await prepared(out.getvalue())

    image = opened(found).convert("RGB")
    assert (getattr(image, "n_frames", 1), image.getpixel((5, 5))) == (1, (255, 0, 0))


async def test_an_animation_of_many_frames_costs_no_more_than_its_first() -> None:
    out = BytesIO()
    frames = [Image.new("P", (2000, 2000), n % 250) for n in range(60)]
    frames[0].save(out, "GIF", save_all=True, append_images=frames[1:], disposal=2)

    found = await prepared(out.getvalue())

    assert found.note is None
    assert opened(found).size == (EDGE, EDGE)


async def test_what_one_can_see_through_stays_so() -> None:
    found = await prepared(picture((2000, 2000), "PNG", "RGBA", (255, 0, 0, 0)))

    assert opened(found).mode == "RGBA"


@pytest.mark.parametrize(
    ("mode", "kind"), [("CMYK", "JPEG"), ("1", "PNG"), ("I;16", "PNG"), ("LA", "PNG"), ("P", "GIF")]
)
async def test_a_picture_of_any_colours_is_scaled(mode: str, kind: str) -> None:
    assert opened(await prepared(picture((2000, 10), kind, mode))).mode in ("RGB", "RGBA", "P")


async def test_people_get_a_small_picture_of_a_large_one() -> None:
    found = await prepared(picture((1000, 500)))

    assert found.picture is None
    assert found.thumbnail is not None
    assert Image.open(BytesIO(found.thumbnail.content)).size == (320, 160)


@pytest.mark.parametrize(
    "content",
    [
        png(100, 100),
        picture((500, 500))[:-30],
        noise((200, 200), "JPEG")[:-2000],
        picture((500, 500), "GIF")[:40],
        picture((500, 500), "WEBP")[:-10],
        b"\x89PNG\r\n\x1a\n" + bytes(50),
    ],
)
async def test_a_picture_that_cannot_be_decoded_to_its_end_is_no_picture(content: bytes) -> None:
    assert await prepared(content) == PreparationResult(
        note="The picture could not be read: it is damaged or incomplete."
    )


async def test_a_picture_that_needs_more_memory_than_there_is_is_a_problem() -> None:
    found = await prepared(png(30_000, 30_000, pixels=bytes(90_000)))

    assert found.text is None
    assert "too much memory" in str(found.note) or "damaged" in str(found.problem)
