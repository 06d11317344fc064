"""Word documents, in the ways that programs write them and that damage leaves them."""

import time
from collections.abc import Mapping
from typing import Any

import pytest

from agent.files.readers.sections import TextSections, Unreadable
from agent.files.readers.word.document import read
from tests.marked_files.docx import (
    BODY,
    NAMESPACES,
    PARTS,
    cell,
    control,
    document_parts,
    field,
    paragraph,
    row,
    run,
    text_box,
)
from tests.unit.documents import packed

ONE = paragraph("one")
_BOX = '<w14:checkbox><w14:checked w14:val="{}"/></w14:checkbox>'
_CHECKED = "<w:checkBox><w:default w:val='0'/><w:checked/></w:checkBox>"
_BREAK = "<w:r><w:lastRenderedPageBreak/></w:r>"
_CHANGES = "The document has tracked changes; the text is as if they were accepted."
_FAINT = "Some of the text is white or tiny, so that readers of the document may not see it."
_LEVELS = "".join(
    f'<w:lvl w:ilvl="{level}"><w:numFmt w:val="{kind}"/><w:lvlText w:val="{text}"/></w:lvl>'
    for level, (kind, text) in enumerate([("decimal", "%1."), ("lowerLetter", "%1.%2)"), ("upperRoman", "%3")])
)
_NUMBERING = (
    f'<w:numbering {NAMESPACES}><w:abstractNum w:abstractNumId="0">{_LEVELS}</w:abstractNum>'
    '<w:abstractNum w:abstractNumId="1"><w:lvl w:ilvl="0"><w:numFmt w:val="bullet"/></w:lvl></w:abstractNum>'
    '<w:num w:numId="1"><w:abstractNumId w:val="0"/></w:num><w:num w:numId="2"><w:abstractNumId w:val="1"/></w:num>'
    '<w:num w:numId="3"><w:abstractNumId w:val="0"/>'
    '<w:lvlOverride w:ilvl="0"><w:startOverride w:val="7"/></w:lvlOverride></w:num></w:numbering>'
)
LISTS = {"word/numbering.xml": ("numbering", _NUMBERING)}


def entry(text: str, list_id: int, level: int = 0) -> str:
    return paragraph(text, f'<w:numPr><w:ilvl w:val="{level}"/><w:numId w:val="{list_id}"/></w:numPr>')


def paragraph_of(*runs: str) -> str:
    return f"<w:p>{''.join(runs)}</w:p>"


def alternatives(choice: str, fallback: str) -> str:
    content = f"<mc:Choice Requires='wps'>{choice}</mc:Choice><mc:Fallback>{fallback}</mc:Fallback>"
    return f"<mc:AlternateContent>{content}</mc:AlternateContent>"


def outcome(parts: Mapping[str, bytes | str], **limits: Any) -> dict[str, Any]:
    sections = TextSections(limits.get("deadline", time.monotonic() + 60), limits.get("max_chars", 400_000))
    return read(packed(dict(parts)), sections)


def text_of(body: str, others: Mapping[str, tuple[str, str]] | None = None) -> str:
    return str(outcome(document_parts(body, others or {}))["text"])


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (
            entry("a", 1) + entry("b", 1, 1) + entry("c", 1, 1) + entry("d", 1, 2) + entry("e", 1),
            "1. a\n  1.a) b\n  1.b) c\n    I d\n2. e",
        ),
        (entry("a", 2) + entry("b", 3) + entry("c", 0) + entry("d", 99), "- a\n7. b\nc\nd"),
        (paragraph("a", '<w:pStyle w:val="Heading3"/>') + paragraph("b", '<w:outlineLvl w:val="0"/>'), "### a\n# b"),
        (f"<w:p>{control(run('☒'), _BOX.format(1))}{control(run('☐'), _BOX.format(0))}</w:p>", "[x][ ]"),
        (f"<w:p>{field('FORMCHECKBOX', form=_CHECKED)} yes</w:p>", "[x]"),
        (control(ONE, "<w:showingPlcHdr/>"), "[one]"),
        (f"<w:p>{text_box(ONE)}</w:p>", "one"),
        (f"<w:p>{run('a')}{text_box(ONE)}{run('b')}</w:p>", "ab\none"),
        (alternatives(ONE, ONE), "one"),
        (f"<mc:AlternateContent><mc:Fallback>{ONE}</mc:Fallback></mc:AlternateContent>", "one"),
        (paragraph_of(run("a"), alternatives("", run("b"))), "ab"),
        (
            paragraph_of("<w:r><w:t>a</w:t><w:noBreakHyphen/><w:softHyphen/><w:tab/><w:cr/><w:t>b</w:t></w:r>"),
            "a-\t\nb",
        ),
        (
            paragraph_of("<w:r><w:sym w:font='Wingdings' w:char='F0FC'/><w:sym w:font='Symbol' w:char='F0AE'/></w:r>"),
            "✓→",
        ),
        (paragraph_of(run(chr(0xF0E8), "<w:rFonts w:ascii='Wingdings'/>")), "➔"),
        (paragraph_of(run("a", "<w:vanish w:val='0'/>"), run("b", "<w:webHidden/>")), "ab"),
        (f"<w:p>{field('DATE', '')}{field('PAGE', '3')}</w:p>", "[field: DATE]3"),
        (f"<w:p>{field('HYPERLINK &quot;https://a.example&quot;', 'https://a.example')}</w:p>", "https://a.example"),
        (paragraph_of(field("IF 1")) + ONE, "[field: IF 1]\none"),
        (f"<w:p><w:r><w:fldChar w:fldCharType='begin'/></w:r>{run('not lost')}</w:p>{ONE}", "[field: not lost]\none"),
        (f"<w:tbl>{row(cell(ONE), cell(paragraph('two') + paragraph('three')))}</w:tbl>", "one | two three"),
        (f"<w:p>{_BREAK}{run('a')}</w:p>", "--- page 2 ---\na"),
        (f"{ONE}<w:p>{run('a')}{_BREAK}{run('b')}</w:p>", "--- page 1 ---\none\na\n\n--- page 2 ---\nb"),
        (
            f"{ONE}<w:tbl>{row(cell(f'<w:p>{_BREAK}</w:p>{ONE}'), cell(ONE))}</w:tbl>",
            "--- page 1 ---\none\n\n--- page 2 ---\none | one",
        ),
        ("<m:oMath><m:sSup><m:e><m:t>x</m:t></m:e><m:sup><m:t>a+b</m:t></m:sup></m:sSup></m:oMath>", "x^(a+b)"),
        ("<w:p/>" * 3 + ONE + "<w:p/>" * 3 + ONE, "one\n\none"),
    ],
)
def test_what_people_see_of_a_document_is_its_text(body: str, text: str) -> None:
    assert text_of(body, LISTS) == text


def strict(parts: Mapping[str, bytes | str]) -> dict[str, bytes | str]:
    """A document in the strict edition of its format."""
    main, office = "http://schemas.openxmlformats.org/wordprocessingml/2006/main", "officeDocument/2006/relationships"
    return {
        name: str(part)
        .replace(main, "http://purl.oclc.org/ooxml/wordprocessingml/main")
        .replace(
            f"http://schemas.openxmlformats.org/{office}", "http://purl.oclc.org/ooxml/officeDocument/relationships"
        )
        for name, part in parts.items()
    }


PLAIN = document_parts(paragraph("a", '<w:pStyle w:val="Heading2"/>') + ONE + BODY, PARTS)


@pytest.mark.parametrize(
    "parts",
    [
        strict(PLAIN),
        {name: part for name, part in PLAIN.items() if not name.endswith(".rels")},
        {name: part for name, part in PLAIN.items() if "Types" not in name},
        {name: part for name, part in PLAIN.items() if "styles" not in name and "settings" not in name},
        {name.replace("/", "\\").upper(): part for name, part in PLAIN.items()},
        {name: str(part).replace("word/document.xml", "a/b.xml") for name, part in PLAIN.items() if "/doc" not in name}
        | {"a/b.xml": PLAIN["word/document.xml"]},
    ],
    ids=["strict", "no relationships", "no types", "no styles", "backslashes and capitals", "another name"],
)  # fmt: skip
def test_a_document_is_read_whatever_its_parts_are_called_and_whichever_are_missing(
    parts: dict[str, bytes | str],
) -> None:
    result = outcome(parts)

    assert "## a\none" in result["text"]
    assert not [remark for remark in result["remarks"] if "damaged" in remark]


@pytest.mark.parametrize("name", [name for name in PLAIN if name.endswith((".xml", ".rels")) and "word/" in name])
@pytest.mark.parametrize("damage", ["\0\0 no XML", "<w:broken>&x;"])
def test_a_part_that_is_damaged_costs_itself_alone_and_is_named(name: str, damage: str) -> None:
    part = str(PLAIN[name])
    if name == "word/document.xml":
        damage = part[: part.index("one") + 3]

    result = outcome({**PLAIN, name: damage})

    assert "one" in result["text"]
    is_read = not name.startswith(("word/extra", "word/activeX"))
    assert any("damaged" in remark for remark in result["remarks"]) == is_read


@pytest.mark.parametrize("body", ["", "<w:p/>", f"<w:p><w:del>{run('a')}</w:del></w:p>"])
def test_a_document_without_text_says_so(body: str) -> None:
    result = outcome(document_parts(body, {}))

    assert result["text"] == ""
    assert "The document holds no text." in result["remarks"]


@pytest.mark.parametrize("content", ["<x/>", "no XML", ""])
def test_a_file_without_a_document_is_damaged(content: str) -> None:
    with pytest.raises(ValueError, match=r"damaged|no document"):
        outcome({**PLAIN, "word/document.xml": content})


@pytest.mark.parametrize(
    ("body", "remark"),
    [
        (f"<w:p><w:ins>{run('a')}</w:ins></w:p>", _CHANGES),
        (f"<w:tbl><w:tr><w:trPr><w:ins/></w:trPr>{cell(paragraph('a'))}</w:tr></w:tbl>", _CHANGES),
        (paragraph_of(run("a", "<w:color w:val='FFFFFF'/>")), _FAINT),
        (paragraph_of(run("a", "<w:sz w:val='2'/>")), _FAINT),
        (paragraph_of(run("a", "<w:color w:val='FFFFFF'/><w:shd w:fill='000000'/>")), None),
        (paragraph_of(run(" ", "<w:sz w:val='2'/>"), run("a")), None),
    ],
)
def test_text_that_may_not_be_seen_is_told(body: str, remark: str | None) -> None:
    result = outcome(document_parts(body, {}))

    assert "a" in result["text"]
    assert result["remarks"] == ([remark] if remark else [])


@pytest.mark.parametrize(("bound", "text"), [("", "old"), ("old", "old"), ("new", "new")])
@pytest.mark.parametrize("is_block", [True, False])
def test_a_control_shows_the_data_that_it_is_bound_to(bound: str, text: str, *, is_block: bool) -> None:
    binding = (
        '<w:dataBinding w:prefixMappings="xmlns:a=&quot;urn:a&quot;" w:xpath="/a:data[1]/a:b[1]" w:storeItemID="{x}"/>'
    )
    body = control(paragraph("old"), binding) if is_block else f"<w:p>{control(run('old'), binding)}</w:p>"
    parts = document_parts(body, {"data/item1.xml": ("customXml", f'<data xmlns="urn:a"><b>{bound}</b></data>')})
    parts["data/props.xml"] = '<datastoreItem itemID="{X}"/>'
    relationship = '<Relationship Id="a" Type="urn:customXmlProps" Target="props.xml"/>'.replace("urn:", "urn:/")
    parts["data/_rels/item1.xml.rels"] = f"<Relationships>{relationship}</Relationships>"

    assert outcome(parts)["text"] == text


def test_replies_to_comments_say_what_they_reply_to() -> None:
    comments = "".join(
        f'<w:comment w:id="{n}" w:author="A{n}"><w:p w14:paraId="{n}{n}">{run(f"c{n}")}</w:p></w:comment>'
        for n in (4, 7)
    )
    threads = '<w15:commentEx w15:paraId="44" w15:done="1"/><w15:commentEx w15:paraId="77" w15:paraIdParent="44"/>'
    parts = {
        "word/comments.xml": ("comments", f"<w:comments {NAMESPACES}>{comments}</w:comments>"),
        "word/more.xml": ("commentsExtended", f"<w15:commentsEx {NAMESPACES}>{threads}</w15:commentsEx>"),
    }

    text = text_of('<w:p><w:r><w:t>a</w:t><w:commentReference w:id="4"/></w:r></w:p>', parts)

    assert (
        text == "a[comment 1]\n\n--- comments ---\n[comment 1] A4, resolved: c4\n[comment 2] A7, reply to comment 1: c7"
    )


def test_a_long_document_is_read_no_further_than_is_asked_for() -> None:
    result = outcome(document_parts(ONE * 100_000, {}), max_chars=10)

    assert result["text"] == "one\none\non"
    assert result["truncated"]


class _Late(TextSections):
    """A clock that is late after so many looks at it."""

    looks, looks_max = 0, 40

    @property
    def is_late(self) -> bool:
        self.looks += 1
        return self.looks > self.looks_max


def test_a_document_says_that_its_time_was_over() -> None:
    content = packed(document_parts(ONE * 1000, {}))

    result = read(content, _Late(0, 400_000))

    assert result["text"].startswith("one\none")
    assert result["problem"] == "Only the beginning of the document was read: it takes too much time."
    assert result["truncated"]


def test_a_document_that_takes_too_much_time_is_not_called_damaged() -> None:
    with pytest.raises(Unreadable, match="takes too much time"):
        outcome(document_parts(ONE, {}), deadline=time.monotonic())


def test_a_part_under_a_password_asks_for_a_copy_without_one() -> None:
    content = bytearray(packed(document_parts(ONE, {})))
    for mark, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = content.find(mark)
        while at >= 0:
            content[at + flags] |= 1
            at = content.find(mark, at + 1)

    with pytest.raises(Unreadable, match="password"):
        read(bytes(content), TextSections(time.monotonic() + 60, 1000))
