"""Books are read in their order; what is damaged in one costs no more than itself."""

import io
import time
import zipfile
from typing import Any

import pytest

from agent.files.readers import book
from agent.files.readers.sections import TextSections, Unreadable

CONTAINER = '<container><rootfiles><rootfile full-path="b.opf"/></rootfiles></container>'
PACKAGE = """<package><metadata><dc:title xmlns:dc="http://purl.org/dc/elements/1.1/">T</dc:title></metadata><manifest>
<item id="1" href="1.html" media-type="application/xhtml+xml"/><item id="2" href="2.html"
media-type="application/xhtml+xml"/><item id="ncx" href="toc.ncx" media-type="application/x-dtbncx+xml"/></manifest>
<spine toc="ncx"><itemref idref="2"/><itemref idref="1"/><itemref idref="missing"/></spine></package>"""
NCX = """<ncx><navMap><navPoint><navLabel><text>Two</text></navLabel><content src="2.html#x"/>
</navPoint></navMap></ncx>"""
PARTS = {
    "META-INF/container.xml": CONTAINER, "b.opf": PACKAGE, "toc.ncx": NCX, "1.html": "<p>one", "2.html": "<p>two",
}  # fmt: skip


def read(**parts: str) -> dict[str, Any]:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as packed:
        for name, text in {**PARTS, **parts}.items():
            if text:
                packed.writestr(name, text)
    return book.read(content.getvalue(), TextSections(time.monotonic() + 30, 100_000))


def test_chapters_are_in_the_order_of_reading_with_their_titles() -> None:
    text = read()["text"]

    assert text == 'Title: T\n\n--- contents ---\n- Two\n\n--- chapter 1 "Two" ---\ntwo\n\n--- chapter 2 ---\none'


def test_fonts_that_are_hidden_are_no_encryption() -> None:
    fonts = (
        '<encryption><EncryptedData><EncryptionMethod Algorithm="http://www.idpf.org/2008/embedding"/>'
        '<CipherData><CipherReference URI="1.html"/></CipherData></EncryptedData></encryption>'
    )

    assert read(**{"META-INF/encryption.xml": fonts})["problem"] is None
    sold = read(**{"META-INF/encryption.xml": fonts.replace("http://www.idpf.org/2008/embedding", "aes")})
    assert "DRM" in sold["problem"]
    assert sold["left_out"] == {"encrypted chapter": 1}


@pytest.mark.parametrize("name", ["META-INF/container.xml", "toc.ncx", "1.html"])
def test_a_part_that_is_missing_or_broken_costs_no_more_than_itself(name: str) -> None:
    assert "two" in read(**{name: ""})["text"]
    assert "two" in read(**{name: "<broken"})["text"]


def test_a_book_without_a_list_of_chapters_cannot_be_read() -> None:
    with pytest.raises(Unreadable, match="what its chapters are"):
        read(**{"b.opf": ""})


def test_entities_and_files_of_others_are_not_followed() -> None:
    package = '<!DOCTYPE p [<!ENTITY e SYSTEM "file:///etc/passwd">]>' + PACKAGE.replace(">T<", ">&e;T<")

    assert "root:" not in read(**{"b.opf": package})["text"]


def test_a_part_that_unpacks_to_too_much_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(book, "_PART_MAX_BYTES", 1000)

    assert read(**{"1.html": "x" * 2000})["left_out"] == {"oversized part": 1}
