"""What presentations are like that other programs write: parts that are missing, strict names, no list of slides."""

import time
from collections.abc import Mapping
from typing import Any

import pytest

from agent.files.readers.open_document import slides as open_slides
from agent.files.readers.presentation import slides as presentation
from agent.files.readers.sections import TextSections, Unreadable
from tests.marked_files import odp, pptx
from tests.marked_files.pptx import frame, picture, relationships, shape, slide
from tests.unit.documents import odf, packed

STRICT = "http://purl.oclc.org/ooxml"


def read(parts: Mapping[str, str]) -> Mapping[str, Any]:
    """Read a .pptx of these parts, in this process."""
    return presentation.read(packed(dict(parts)), TextSections(time.monotonic() + 60, 100_000))


def deck(*slides: str) -> dict[str, str]:
    """The parts of a .pptx with these slides, whose names are in another order."""
    numbers = [*reversed(range(1, len(slides) + 1))]
    entries = "".join(f'<p:sldId id="{256 + n}" r:id="rId{n}"/>' for n in numbers)
    listed = f"<p:sldIdLst>{entries}</p:sldIdLst>"
    return {
        "_rels/.rels": relationships(officeDocument="ppt/presentation.xml"),
        "ppt/presentation.xml": f"<p:presentation {pptx._NAMESPACES}>{listed}</p:presentation>",
        "ppt/_rels/presentation.xml.rels": relationships(**{f"slide__rId{n}": f"slides/slide{n}.xml" for n in numbers}),
        **{f"ppt/slides/slide{n}.xml": content for n, content in zip(numbers, slides, strict=True)},
    }


TWO = deck(slide(shape("one")), slide(shape("two")))
BOTH = "--- slide 1 ---\none\n\n--- slide 2 ---\ntwo"


def without(name: str, parts: Mapping[str, str] = TWO) -> dict[str, str]:
    return {key: part for key, part in parts.items() if key != name}


def test_slides_stand_in_the_order_of_the_show() -> None:
    assert read(TWO)["text"] == BOTH


def test_strict_names_are_read_as_others_are() -> None:
    for_strict = {
        "http://schemas.openxmlformats.org/drawingml/2006/main": f"{STRICT}/drawingml/main",
        "http://schemas.openxmlformats.org/presentationml/2006/main": f"{STRICT}/presentationml/main",
        "http://schemas.openxmlformats.org/officeDocument/2006/relationships": f"{STRICT}/officeDocument/relationships",
    }
    parts = dict(TWO)
    for name, strict_name in for_strict.items():
        parts = {key: part.replace(name, strict_name) for key, part in parts.items()}

    assert read(parts)["text"] == BOTH


def test_what_is_missing_costs_nothing_else_and_is_said() -> None:
    results = {
        "a slide": read(without("ppt/slides/slide1.xml")),
        "all relationships": read(without("ppt/_rels/presentation.xml.rels")),
        "the list": read(without("ppt/presentation.xml")),
        "the end of a slide": read(TWO | {"ppt/slides/slide1.xml": TWO["ppt/slides/slide1.xml"][:-30]}),
        "a chart": read(deck(slide(shape("one"), frame('<c:chart r:id="rIdGone"/>')))),
        "a diagram": read(deck(slide(shape("one"), frame('<dgm:relIds r:dm="rIdGone"/>')))),
        "any text": read(deck(slide(picture()))),
    }

    assert results["a slide"]["text"] == "--- slide 1 ---\none"
    assert results["a slide"]["remarks"] == ["Slide 2 is missing in the file, or damaged."]
    assert results["all relationships"]["left_out"] == {"unreadable slide": 2}
    assert results["the list"]["text"] == "--- slide 1 ---\ntwo\n\n--- slide 2 ---\none"
    assert results["the end of a slide"]["text"] == BOTH
    assert results["the end of a slide"]["remarks"] == [presentation.BROKEN]
    assert results["a chart"]["left_out"] == {"chart": 1}
    assert results["a diagram"]["left_out"] == {"diagram": 1}
    assert (results["any text"]["problem"], results["any text"]["left_out"]) == (
        "The presentation holds no text.",
        {"picture": 1},
    )


def test_what_has_two_forms_is_read_once_in_the_one_that_has_something() -> None:
    newer = "<mc:Choice Requires='x'>{}</mc:Choice><mc:Fallback>{}</mc:Fallback>"
    both = f"<mc:AlternateContent>{newer.format(shape('words'), shape('words'))}</mc:AlternateContent>"
    older = f"<mc:AlternateContent>{newer.format('<p:sp/>', shape('only here'))}</mc:AlternateContent>"

    assert read(deck(slide(both, older)))["text"] == "--- slide 1 ---\nwords\nonly here"


def test_a_group_within_groups_without_end_ends() -> None:
    depth = 5_000

    result = read(deck(slide("<p:grpSp>" * depth + shape("deep") + "</p:grpSp>" * depth, shape("flat"))))

    assert "flat" in result["text"] or result["remarks"]


def read_odp(content: bytes) -> Mapping[str, Any]:
    return open_slides.read(content, TextSections(time.monotonic() + 60, 100_000))


def test_an_open_presentation_says_what_is_missing() -> None:
    body = (
        "<office:presentation><draw:page><draw:frame><draw:text-box><text:p>words</text:p></draw:text-box></draw:frame>"
    )
    whole = body + "</draw:page></office:presentation>"
    encrypted = odp.PARTS | {"META-INF/manifest.xml": "<m><file-entry><encryption-data/></file-entry></m>"}

    assert read_odp(odf("presentation", whole))["text"] == "--- slide 1 ---\nwords"
    assert read_odp(odf("presentation", body))["remarks"] == [presentation.BROKEN]
    with pytest.raises(Unreadable, match="protected by a password"):
        read_odp(packed(encrypted))
