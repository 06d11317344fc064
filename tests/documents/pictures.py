"""A small picture, as documents have it between their paragraphs."""

import io

from PIL import Image


def draw_picture(shade: int) -> bytes:
    """A PNG of 40 by 30 pixels in a shade of its own."""
    file = io.BytesIO()
    Image.new("RGB", (40, 30), (shade % 256, 90, 160)).save(file, "PNG")
    return file.getvalue()
