"""Fonts of a PDF that do not say which characters they show.

What stays true: no page is doubted whose fonts have a table, or glyphs with names that are known.
"""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from agent.files.readers.pdf.objects import items_of, mapping_of, resolve

if TYPE_CHECKING:  # imported under the limits, below
    from pypdf import PageObject

#: Glyph names that say which character they are, beside those of Adobe's list.
_MEANINGFUL_NAME = re.compile(r"/(uni[0-9A-Fa-f]{4,}|u[0-9A-Fa-f]{4,6})(\..*)?")


def has_unmapped_font(page: "PageObject") -> bool:
    """Whether a font of the page has no table of its characters, and none can be guessed."""
    fonts = mapping_of(mapping_of(page.get("/Resources")).get("/Font"))
    return any(_is_unmapped(mapping_of(font)) for font in fonts.values())


def _is_unmapped(font: Mapping[str, Any]) -> bool:
    if resolve(font.get("/ToUnicode")) is not None:
        return False
    if font.get("/Subtype") == "/Type0":
        descendants = items_of(font.get("/DescendantFonts"))
        system = mapping_of(mapping_of(descendants[0]).get("/CIDSystemInfo")) if descendants else {}
        # Of a known collection, such as Adobe-Japan1, the numbers of glyphs are public.
        return str(resolve(font.get("/Encoding"))).startswith("/Identity") and system.get("/Ordering") == "Identity"
    differences = items_of(mapping_of(font.get("/Encoding")).get("/Differences"))
    names = [name for name in differences if isinstance(name, str)]
    unknown_names = [name for name in names if not _is_meaningful(name)]
    return 2 * len(unknown_names) > len(names)


def _is_meaningful(glyph_name: str) -> bool:
    from pypdf._codecs import adobe_glyphs

    return glyph_name in adobe_glyphs or bool(_MEANINGFUL_NAME.fullmatch(glyph_name))
