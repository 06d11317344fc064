"""OpenDocument texts, in the ways that programs write them and that damage leaves them."""

import time
from collections.abc import Mapping
from typing import Any

import pytest

from agent.files.readers.open_document.text import read
from agent.files.readers.sections import TextSections, Unreadable
from tests.marked_files.odt import NAMESPACES, bullets, cell, document, frame, note, paragraph, row
from tests.unit.documents import packed

ONE = paragraph("one")
_FAINT = "Some of the text is white or tiny, so that readers of the document may not see it."
_CHANGES = "The document has tracked changes; the text is as if they were accepted."
_STYLES = (
    '<text:list-style style:name="L1"><text:list-level-style-number text:level="1" style:num-format="1"'
    ' style:num-suffix="."/><text:list-level-style-number text:level="2" style:num-format="a" style:num-suffix=")"'
    ' text:display-levels="2"/><text:list-level-style-bullet text:level="3"/></text:list-style>'
    '<style:style style:name="White"><style:text-properties fo:color="#FFFFFF"/></style:style>'
    '<style:style style:name="Shaded"><style:paragraph-properties fo:background-color="#000000"/>'
    '<style:text-properties fo:color="#FFFFFF"/></style:style>'
    '<style:style style:name="Break"><style:paragraph-properties fo:break-before="page"/></style:style>'
    '<style:style style:name="Secret"><style:text-properties text:display="none"/></style:style>'
    '<style:style style:name="Child" style:parent-style-name="Secret"/>'
)
_OUTLINE = "".join(
    f'<text:outline-level-style text:level="{level}" style:num-format="1" text:display-levels="{level}"/>'
    for level in (1, 2)
)
STYLES = (
    f"<office:document-styles {NAMESPACES}><office:styles><text:outline-style>{_OUTLINE}</text:outline-style>"
    "</office:styles></office:document-styles>"
)


CHANGED = (
    f"<text:tracked-changes><text:changed-region><text:deletion>{ONE}{ONE}</text:deletion></text:changed-region>"
    "<text:changed-region><text:insertion/></text:changed-region></text:tracked-changes>"
)


def heading(text: str, level: int) -> str:
    return f'<text:h text:outline-level="{level}">{text}</text:h>'


def table(*rows: str) -> str:
    return f"<table:table>{''.join(rows)}</table:table>"


def outcome(parts: Mapping[str, bytes | str]) -> dict[str, Any]:
    return read(packed(dict(parts)), TextSections(time.monotonic() + 60, 400_000))


def outcome_of(body: str) -> dict[str, Any]:
    return outcome({"content.xml": document(body, _STYLES)})


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (paragraph("a \n\t b<text:s text:c='2'/>c<text:tab/>d<text:line-break/>e"), "a b  c\td\ne"),
        (
            bullets(ONE + paragraph("more"), bullets(ONE, ONE + bullets(ONE)), ONE),
            "1. one\n  more\n  2.a) one\n  2.b) one\n    - one\n3. one",
        ),
        (
            bullets(ONE) + bullets(ONE).replace("<text:list ", '<text:list text:continue-numbering="true" ', 1),
            "1. one\n2. one",
        ),
        (bullets(ONE).replace("<text:list-item>", '<text:list-item text:start-value="5">'), "5. one"),
        (bullets(ONE).replace("list-item", "list-header"), "one"),
        (
            bullets(paragraph(frame(f"<draw:text-box>{bullets(ONE)}</draw:text-box>") + "a"), ONE),
            "1. a\n1. one\n2. one",
        ),
        (table(row(cell(ONE), cell(bullets(ONE, ONE)))), "one | 1. one 2. one"),
        (table(row(cell(ONE).replace("cell>", 'cell table:number-columns-repeated="2">', 1), cell(""))), "one | one |"),
        (table(row(cell(table(row(cell(ONE), cell(ONE)), row(cell(ONE)))))), "[one | one; one]"),
        (paragraph(f"a{note('footnote', 'n')}b"), "a[^1]b\n\n--- footnotes ---\n[^1]: n"),
        (paragraph(frame(f"<draw:text-box>{ONE}</draw:text-box><draw:image/>")), "one"),
        (paragraph("<text:a xlink:href='mailto:a@b.example'>a@b.example</text:a>"), "a@b.example"),
        (paragraph("<text:a xlink:href='#here'>here</text:a>"), "here"),
        (paragraph("<office:binary-data>QUJD</office:binary-data>a"), "a"),
        (f"<text:section text:display='condition' text:is-hidden='false'>{ONE}</text:section>", "one"),
        (ONE + "<text:soft-page-break/>" + ONE, "one\none"),
    ],
)
def test_what_people_see_of_a_document_is_its_text(body: str, text: str) -> None:
    assert outcome_of(body)["text"] == text


def test_a_document_is_in_pages_where_its_program_wrote_them_down() -> None:
    body = ONE + paragraph("a<text:soft-page-break/>b") + paragraph("c", "Break") + f"<text:soft-page-break/>{ONE}"
    content = document(body, _STYLES).replace("<office:text>", '<office:text text:use-soft-page-breaks="true">')

    text = outcome({"content.xml": content})["text"]

    assert text == "--- page 1 ---\none\na\n\n--- page 2 ---\nb\n\n--- page 3 ---\nc\n\n--- page 4 ---\none"


def test_headings_have_their_numbers() -> None:
    body = heading("a", 1) + heading("b", 2) + heading("c", 2) + heading("d", 1) + heading("e", 2) + heading("f", 3)

    text = outcome({"content.xml": document(body), "styles.xml": STYLES})["text"]

    assert text == "# 1 a\n## 1.1 b\n## 1.2 c\n# 2 d\n## 2.1 e\n### f"


@pytest.mark.parametrize(
    ("body", "left_out", "remark"),
    [
        (paragraph("a", "Child"), {"hidden passage": 1}, "hidden text"),
        (paragraph("<text:hidden-paragraph text:is-hidden='true'/>a"), {"hidden passage": 1}, "hidden text"),
        (f"<text:section text:display='none'>{ONE}{ONE}</text:section>", {"hidden passage": 1}, "hidden text"),
        (ONE + paragraph("a", "White"), {}, _FAINT),
        (ONE + paragraph("<text:span text:style-name='White'>a</text:span>"), {}, _FAINT),
        (f"{CHANGED}{paragraph('a')}", {"deleted passage": 1}, _CHANGES),
        (paragraph(frame("<draw:object xlink:href='./Object 9'/>")), {"embedded object": 1}, "holds no text"),
    ],
)
def test_what_is_not_seen_is_counted_and_told(body: str, left_out: dict[str, int], remark: str) -> None:
    result = outcome_of(body)

    assert result["left_out"] == left_out
    assert any(remark in sentence for sentence in result["remarks"])


def test_white_text_on_a_dark_ground_is_not_told() -> None:
    assert outcome_of(ONE + paragraph("a", "Shaded"))["remarks"] == []


def test_replies_to_comments_say_what_they_reply_to() -> None:
    comment = "<office:annotation{}><dc:creator>{}</dc:creator><dc:date>2026</dc:date>{}</office:annotation>".format
    first = comment(' office:name="1" loext:resolved="true"', "Ann", ONE)
    reply = comment(' loext:parent-name="1"', "Ben", paragraph("two"))
    body = paragraph(f"a{first}{reply}").replace("<text:p", '<text:p xmlns:loext="urn:x"', 1)

    text = outcome_of(body)["text"]

    assert text.startswith("a[comment 1][comment 2]")
    assert text.endswith("[comment 1] Ann, resolved: one\n[comment 2] Ben, reply to comment 1: two")


@pytest.mark.parametrize("name", ["styles.xml", "meta.xml", "Object 1/content.xml"])
def test_a_part_that_is_damaged_costs_itself_alone_and_is_named(name: str) -> None:
    body = ONE + paragraph(frame("<draw:object xlink:href='./Object 1'/>"))

    result = outcome({"content.xml": document(body), name: "<x"})

    assert result["text"] == "one"
    assert any("damaged" in remark for remark in result["remarks"])


def test_a_document_that_breaks_off_is_read_up_to_there() -> None:
    content = document(ONE + ONE)

    result = outcome({"content.xml": content[: content.rindex("</text:p>")]})

    assert result["text"] == "one\none"
    assert result["remarks"] == ["The document is damaged: some of its text may be missing."]


@pytest.mark.parametrize("content", ["<x/>", "no XML", ""])
def test_a_file_without_a_document_is_damaged(content: str) -> None:
    with pytest.raises(ValueError, match="damaged"):
        outcome({"content.xml": content})


@pytest.mark.parametrize(
    "parts",
    [
        {"content.xml": "?", "META-INF/manifest.xml": "<manifest:file-entry><manifest:encryption-data/>"},
        {"encrypted-package": "?"},
    ],
)
def test_a_document_under_a_password_asks_for_a_copy_without_one(parts: dict[str, bytes | str]) -> None:
    with pytest.raises(Unreadable, match="password"):
        outcome(parts)
