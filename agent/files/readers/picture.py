"""A picture as models take it, and a small one for people.

What stays true: what comes out is upright, has no metadata (not where it was taken) and one frame;
what cannot be decoded to its end is never called a picture, since providers refuse the whole request.
"""

import base64
import io
from typing import TYPE_CHECKING, Any

from agent.files.readers.sections import Unreadable

if TYPE_CHECKING:  # imported under the limits, below
    from PIL import Image

#: Pixels of the longer edge: what providers scale down to, so that more would only cost time.
EDGE_MAX = 1568
#: Base64 makes a third more of it, and providers take 5 MB.
BYTES_MAX = 3_750_000
THUMBNAIL_EDGE = 320
JPEG_QUALITY = 85

_FORMATS = {"PNG": "image/png", "JPEG": "image/jpeg", "GIF": "image/gif", "WEBP": "image/webp"}
#: What Pillow calls metadata, and what stands in a picture for other reasons.
_METADATA = {"exif", "xmp", "XML:com.adobe.xmp", "photoshop", "comment", "Raw profile type exif"}


def read(content: bytes) -> dict[str, Any]:
    """The picture's size in pixels as its text, and what was made of it. Raises `Unreadable` and others."""
    from PIL import Image, ImageOps

    Image.MAX_IMAGE_PIXELS = None  # the gate has counted them, and memory is limited here
    with Image.open(io.BytesIO(content), formats=tuple(_FORMATS)) as image:
        width, height = image.size
        must_change, is_photo = _must_change(image, content), image.format in ("JPEG", "WEBP")
        image.draft("RGB", (EDGE_MAX, EDGE_MAX))
        image.load()
        # No copy of what may be half of the memory that there is.
        scaled = image if image.mode in ("RGB", "RGBA") else _plain(image)
        scaled.thumbnail((EDGE_MAX, EDGE_MAX), reducing_gap=2.0)
    upright = ImageOps.exif_transpose(scaled)
    if upright.size != scaled.size:
        width, height = height, width
    pictures = {}
    if must_change:
        pictures["picture"] = _made(upright, is_photo=is_photo)
    if must_change or max(width, height) > THUMBNAIL_EDGE:
        upright.thumbnail((THUMBNAIL_EDGE, THUMBNAIL_EDGE))
        pictures["thumbnail"] = _made(upright, is_photo=True)
    return {"text": _size(width, height), "pictures": pictures}


def _must_change(image: "Image.Image", content: bytes) -> bool:
    return (
        max(image.size) > EDGE_MAX
        or len(content) > BYTES_MAX
        or getattr(image, "is_animated", False)
        or bool(image.getexif())
        or bool(_METADATA & {str(key) for key in image.info})
    )


def _plain(image: "Image.Image") -> "Image.Image":
    """In colours that every format of ours can hold."""
    has_alpha = image.mode in ("LA", "PA", "La", "RGBa") or "transparency" in image.info
    return image.convert("RGBA" if has_alpha else "RGB")


def _made(image: "Image.Image", *, is_photo: bool) -> dict[str, str]:
    """A JPEG of a photo, a PNG of a drawing or of what one can see through, if that is small enough."""
    if image.mode == "RGBA" or not is_photo:
        written = _written(image, "PNG", optimize=True)
        if len(written) <= BYTES_MAX:
            return _packed(written, "image/png", image)
    from PIL import Image

    opaque = Image.new("RGB", image.size, "white")
    opaque.paste(image, mask=image.getchannel("A") if image.mode == "RGBA" else None)
    return _packed(_written(opaque, "JPEG", quality=JPEG_QUALITY), "image/jpeg", image)


def _written(image: "Image.Image", kind: str, **options: Any) -> bytes:
    image.info = {}
    out = io.BytesIO()
    image.save(out, kind, **options)
    if not out.tell():
        raise Unreadable("The picture could not be read: it is empty.")
    return out.getvalue()


def _packed(content: bytes, media_type: str, image: "Image.Image") -> dict[str, str]:
    return {
        "content": base64.b64encode(content).decode("ascii"),
        "media_type": media_type,
        "text": _size(*image.size),
    }


def _size(width: int, height: int) -> str:
    return f"{width} x {height} pixels"
