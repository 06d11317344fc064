"""A picture in a form that models take, and a thumbnail for users; by OCR the text in it, for models that see none.

What stays true: what comes out is upright, has no metadata (not where it was taken) and one frame;
what cannot be decoded to its end is never called a picture, since providers refuse the whole request.
"""

import base64
import io
from typing import TYPE_CHECKING, Any

from agent.files.readers import ocr
from agent.files.readers.sections import TextSections, Unreadable

if TYPE_CHECKING:  # imported under the limits, below
    from PIL import Image

#: Pixels of the longer edge: what providers scale down to, so that more would only cost time.
EDGE_MAX = 1568
#: Base64 makes a third more of it, and providers take 5 MB.
BYTES_MAX = 3_750_000
THUMBNAIL_EDGE = 320
#: Pixels of the longer edge in which text is looked for: small letters of a page are seen in it.
OCR_EDGE_MAX = 3500
JPEG_QUALITY = 85

_RECOGNIZED = "The text in the picture was read by OCR, which makes mistakes."
_TOO_LARGE_FOR_OCR = "Text in the picture was not read: it is too large for OCR."
_NO_TEXT = "OCR found no text in the picture."
_FORMATS = {"PNG": "image/png", "JPEG": "image/jpeg", "GIF": "image/gif", "WEBP": "image/webp"}
#: What Pillow calls metadata, and what stands in a picture for other reasons.
_METADATA = {"exif", "xmp", "XML:com.adobe.xmp", "photoshop", "comment", "Raw profile type exif"}


def read(content: bytes, sections: TextSections) -> dict[str, Any]:
    """Read a picture: its size in pixels and the text in it, and its renditions. Raises `Unreadable` and others."""
    from PIL import Image

    result = _read_renditions(content)
    if not sections.ocr_languages:
        return result
    with Image.open(io.BytesIO(content), formats=tuple(_FORMATS)) as image:
        text = _recognize(image, sections)
    sections.add("", text)
    fields = sections.result()
    size, words = result["text"], fields["text"]
    return fields | result | {"text": f"{size}\n\n{words}" if words else size, "problem": None}


def _recognize(image: "Image.Image", sections: TextSections) -> str:
    """The text that OCR reads in a picture, and a remark of it."""
    from PIL import ImageOps

    image.draft("L", (OCR_EDGE_MAX, OCR_EDGE_MAX))
    try:
        image.thumbnail((OCR_EDGE_MAX, OCR_EDGE_MAX), reducing_gap=2.0)
        text = ocr.recognize(_flatten(ImageOps.exif_transpose(image)), sections)
    except ocr.Unavailable as reason:
        sections.remark(str(reason))
        return ""
    except MemoryError:  # to be seen is worth more than to be read
        sections.remark(_TOO_LARGE_FOR_OCR)
        return ""
    sections.remark(_RECOGNIZED if text else _NO_TEXT)
    return text


def _read_renditions(content: bytes) -> dict[str, Any]:
    from PIL import Image, ImageOps

    Image.MAX_IMAGE_PIXELS = None  # the gate has counted them, and memory is limited here
    with Image.open(io.BytesIO(content), formats=tuple(_FORMATS)) as image:
        width, height = image.size
        needs_change, is_photo = _needs_change(image, content), image.format in ("JPEG", "WEBP")
        image.draft("RGB", (EDGE_MAX, EDGE_MAX))
        image.load()
        # No copy of what may be half of the memory that there is.
        scaled_image = image if image.mode in ("RGB", "RGBA") else _convert_mode(image)
        scaled_image.thumbnail((EDGE_MAX, EDGE_MAX), reducing_gap=2.0)
    upright_image = ImageOps.exif_transpose(scaled_image)
    if upright_image.size != scaled_image.size:
        width, height = height, width
    pictures = {}
    if needs_change:
        pictures["picture"] = _render(upright_image, is_photo=is_photo)
    if needs_change or max(width, height) > THUMBNAIL_EDGE:
        upright_image.thumbnail((THUMBNAIL_EDGE, THUMBNAIL_EDGE))
        pictures["thumbnail"] = _render(upright_image, is_photo=True)
    return {"text": _size_text(width, height), "pictures": pictures}


def _needs_change(image: "Image.Image", content: bytes) -> bool:
    return (
        max(image.size) > EDGE_MAX
        or len(content) > BYTES_MAX
        or getattr(image, "is_animated", False)
        or bool(image.getexif())
        or bool(_METADATA & {str(key) for key in image.info})
    )


def _convert_mode(image: "Image.Image") -> "Image.Image":
    """Convert an image to colours that all of our formats can hold."""
    has_alpha = image.mode in ("LA", "PA", "La", "RGBa") or "transparency" in image.info
    return image.convert("RGBA" if has_alpha else "RGB")


def _render(image: "Image.Image", *, is_photo: bool) -> dict[str, str]:
    """Render a photo as JPEG, a drawing or a transparent image as PNG if that is small enough."""
    if image.mode == "RGBA" or not is_photo:
        png = _encode(image, "PNG", optimize=True)
        if len(png) <= BYTES_MAX:
            return _pack(png, "image/png", image)
    return _pack(_encode(_flatten(image), "JPEG", quality=JPEG_QUALITY), "image/jpeg", image)


def _flatten(image: "Image.Image") -> "Image.Image":
    """Put a picture that one can see through on white."""
    from PIL import Image

    image = image if image.mode in ("RGB", "RGBA") else _convert_mode(image)
    opaque_image = Image.new("RGB", image.size, "white")
    opaque_image.paste(image, mask=image.getchannel("A") if image.mode == "RGBA" else None)
    return opaque_image


def _encode(image: "Image.Image", kind: str, **options: Any) -> bytes:
    image.info = {}
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    if not buffer.tell():
        raise Unreadable("The picture could not be read: it is empty.")
    return buffer.getvalue()


def _pack(content: bytes, media_type: str, image: "Image.Image") -> dict[str, str]:
    return {
        "content": base64.b64encode(content).decode("ascii"),
        "media_type": media_type,
        "text": _size_text(*image.size),
    }


def _size_text(width: int, height: int) -> str:
    return f"{width} x {height} pixels"
