"""Macros are found by what a document's tables say, in every form that a program would open; honest ones pass."""

import io
import time
import zipfile
from collections.abc import Mapping

import pytest

from conversation.errors import FileRejected
from store.media_types import zip_parts
from store.media_types.examine import examine, examine_sample
from store.media_types.sample import HEAD_BYTES, TAIL_BYTES, Sample
from store.settings import Settings
from tests.tries import check_tries
from tests.unit.documents import ODF, ODF_CONTENT, docx, odf, packed
from tests.unit.store.media_types import macro_forms as forms
from tests.unit.store.media_types.package_edits import change

ALLOWED = Settings.model_fields["attachment_types"].default
WILDCARDS = ("*", "*/*", "application/*", "text/*", "application/vnd.oasis.opendocument.*")


def find_type(filename: str, declared: str | None, content: bytes) -> str | None:
    """The type as which a file is accepted, by the default and by all wildcards; a large one as uploads are."""
    sample = Sample.from_ends(content[:HEAD_BYTES], content[-TAIL_BYTES:], len(content), io.BytesIO(content))
    try:
        return examine_sample(filename, sample, declared, max_bytes=50_000_000, allowed=(*ALLOWED, *WILDCARDS))
    except FileRejected:
        return None


def test_no_form_of_macros_is_accepted() -> None:
    tries, successes = 0, []
    for name, filename, declared, content in forms.build_all():
        tries += 1
        accepted_type = find_type(filename, declared, content)
        successes += [f"{name}: {accepted_type}"] if accepted_type else []

    assert successes == []
    check_tries("macros in documents of any form", tries=tries, successes=len(successes))


def test_a_type_with_macros_is_accepted_by_its_own_name() -> None:
    project, script = forms.with_project("word"), change(odf("text", "<office:text/>"), {"Basic/a": "x"})
    word, text = "application/vnd.ms-word.document.macroenabled.12", f"{ODF}.text.macroenabled"

    assert examine("a.docm", project, None, max_bytes=10**6, allowed=(word,)) == word
    assert examine("a.odt", script, None, max_bytes=10**6, allowed=(text,)) == text


def honest_files() -> Mapping[str, bytes]:
    """Files that speak of macros, or hold what looks like some, and run nothing."""
    sheetjs = '<Default Extension="bin" ContentType="application/vnd.ms-excel.sheet.binary.macroEnabled.main"/>'
    printer = "application/vnd.openxmlformats-officedocument.spreadsheetml.printerSettings"

    def related(kind: str, target: str, mode: str = "External", folder: str = "word") -> bytes:
        edits = {forms.relations_of(folder): forms.relation(target, f"{forms.OFFICE}/{kind}", mode)}
        return change(forms.HONEST[folder], edits=edits)

    chart = (
        f'<Relationships xmlns="{forms.PACKAGE}/relationships"><Relationship Id="a" Type="{forms.OFFICE}/oleObject" '
        'Target="https://company.example/sales.xlsx" TargetMode="External"/></Relationships>'
    )
    word_speaks = docx("vbaProject.bin is application/vnd.ms-office.vbaProject", "vnd.sun.star.script:x", "Auto_Open")
    page = '<presentation:event-listener xmlns:presentation="p" presentation:action="next-page"/>'
    spoken = (
        "<office:text><text:p>event-listener macro:x vnd.sun.star.script:Main &lt;ooo:source-code&gt; "
        "&#33;</text:p></office:text>"
    )
    scripts = (
        '<office:script script:language="ooo:Basic" xmlns:script="s"><ooo:libraries '
        'xmlns:ooo="o"><ooo:library-embedded ooo:name="Standard"/></ooo:libraries></office:script>'
    )
    encrypted = (
        '<m:manifest xmlns:m="urn:m"><m:file-entry m:full-path="content.xml" '
        'm:media-type="text/xml"><m:encryption-data/></m:file-entry></m:manifest>'
    )
    speaking = (
        "<!-- macro:x --><project xmlns:o='schemas.microsoft.com opendocument'><part "
        "contentType='application/vnd.ms-office.vbaProject'/></project>"
    )
    return {
        **forms.HONEST,
        "of SheetJS": change(forms.HONEST["xl"], edits={forms.CONTENT_TYPES: ("<Override", sheetjs)}),
        "printer settings": change(
            forms.HONEST["xl"],
            {"xl/printerSettings/p.bin": b"x"},
            {forms.CONTENT_TYPES: ("</Types>", f'<Default Extension="bin" ContentType="{printer}"/>')},
        ),
        "speaking of macros": word_speaks,
        "a template of its reader": related("attachedTemplate", r"file:///C:\Templates\Letter.dotx"),
        "a template of a Mac": related("attachedTemplate", "file:///Users/me/Letter.dotx"),
        "a template without a path": related("attachedTemplate", "Normal.dotm"),
        "a link": related("hyperlink", "https://e.example/vbaProject"),
        "a linked picture": related("image", "https://e.example/a.png"),
        "a linked workbook": related("externalLinkPath", "https://company.example/a.xlsx", folder="xl"),
        "a linked object": related("oleObject", r"file:///C:\a.xlsx"),
        "an object within": related("oleObject", "embeddings/oleObject1.bin", ""),
        "a chart of a linked workbook": change(forms.HONEST["ppt"], {"ppt/charts/_rels/chart1.xml.rels": chart}),
        "keys": related("keyMapCustomizations", "customizations.xml", ""),
        "an OpenDocument text": odf("text", "<office:text/>"),
        "one that speaks of macros": odf("text", spoken),
        "one whose pages turn": odf("presentation", f"<office:presentation>{page}</office:presentation>"),
        "one with an empty list": odf("text", f"<office:scripts>{scripts}</office:scripts>"),
        "one with settings": change(
            odf("text", ""), {"Configurations2/accelerator/current.xml": "", "Thumbnails/thumbnail.png": "x"}
        ),
        "one with a password": change(
            odf("text", ""), {"content.xml": b"\x8f\x11\x02", "META-INF/manifest.xml": encrypted}
        ),
        "one that breaks off": change(odf("text", ""), {"content.xml": ODF_CONTENT.format(body="&#33;")[:-30]}),
        "an archive of a project": packed({"Basic/a.bas": "x", "Scripts/a.py": "x", "word/vbaProject.bin": "x"}),
        "rich text": rb"{\rtf1 C:\\object \\objdata {\*\template C:\\T\\N.dot} {\field{\*\fldinst HYPERLINK dde}}}",
        "rich text of a template with an umlaut": rb"{\rtf1 {\*\template C:\\B\'fcro\\N.dot} {\*\template \u252?.dot}}",
        "a feed in Japanese": (
            '<?xml version="1.0" encoding="Shift_JIS"?><rss><a href="vnd.sun.star.script:x">日本 opendocument</a></rss>'
        ).encode("shift_jis"),
        "XML of a publisher in Chinese": (
            '<?xml version="1.0" encoding="GBK"?><!DOCTYPE a [<!ENTITY e "macro:">]><a>中文 &e;</a>'.encode("gbk")
        ),
        "a package as XML": (
            b'<pkg:package xmlns:pkg="http://schemas.microsoft.com/office/2006/xmlPackage"><pkg:part '
            b'pkg:name="/_rels/.rels" pkg:contentType="a/b"><Relationship Type="x/officeDocument" Target="d.xml"/>'
            b'<Relationship Type="x/hyperlink" Target="https://e.example/"/></pkg:part></pkg:package>'
        ),
        "text on multipart/related": b"mime-version: multipart/related\r\rActiveMime QWN0aXZl, TWltZQA",
        "a mail": (
            b"From: a@e.org\r\nTo: b\r\nSubject: ActiveMime\r\nDate: x\r\n\r\nActiveMime is what QWN0aXZlTWlt "
            b"stands for: =41"
        ),
        "XML that speaks of it": speaking.encode(),
        "a table of a package": f'<Types><Override ContentType="{forms.PROJECT_TYPE}"/></Types>'.encode(),
        "XML with entities": b'<!DOCTYPE a [<!ENTITY nbsp "&#160;">]><article>a&nbsp;macro:</article>',
        "a style sheet with entities": b'<!DOCTYPE x [<!ENTITY e "e">]><xsl:stylesheet>&#169;</xsl:stylesheet>',
        "a build file": b'<project><target action="macro" macro-name="x"/></project>',
    }


@pytest.mark.parametrize("name", honest := honest_files())
def test_what_only_looks_like_macros_is_accepted(name: str) -> None:
    assert examine("upload", honest[name], None, max_bytes=10**7, allowed=ALLOWED)


def test_a_document_that_is_larger_than_is_searched_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zip_parts, "SEARCHED_MAX_BYTES", 1_000_000)
    monkeypatch.setattr(zip_parts, "HELD_MAX_BYTES", 1_000_000)
    table = packed({"[Content_Types].xml": "<Types>" + " " * 1_000_000 + "</Types>", "word/document.xml": "<x/>"})

    for content in (table, odf("text", " " * 1_000_000)):
        with pytest.raises(FileRejected, match="unpacks to more than is searched for macros"):
            examine("upload", content, None, max_bytes=10**7, allowed=ALLOWED)


def test_a_document_of_which_a_table_cannot_be_read_is_refused() -> None:
    with zipfile.ZipFile(out := io.BytesIO(), "w") as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
        archive.writestr("word/document.xml", "<x/>")
    encrypted = out.getvalue().replace(b"PK\x01\x02\x14\x03\x14\0\0\0", b"PK\x01\x02\x14\x03\x14\0\1\0")
    assert encrypted != out.getvalue()

    with pytest.raises(FileRejected, match="is damaged or encrypted"):
        examine("a.docx", encrypted, None, max_bytes=10**7, allowed=ALLOWED)


def test_a_piece_of_rich_text_is_searched_in_no_time() -> None:
    start = time.thread_time()
    for repeated in (r"\fldinst{", r" \fldinst ", r"\template{", "\\"):
        content = rb"{\rtf1 " + repeated.encode() * (250_000 // len(repeated))
        assert examine("upload", content, None, max_bytes=10**6, allowed=ALLOWED)

    # A hundredth of what it took with each command read anew from those before it.
    assert time.thread_time() - start < 1.5
