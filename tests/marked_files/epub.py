"""A book (EPUB) with a word in every place where one can stand."""

import io
import zipfile

from tests.marked_files import MarkedFile, mark_of

_PLACES = {
    "the title": "", "the author": "", "the description": "", "other metadata": "metadata field",
    "the title of a chapter in the contents": "", "the first chapter": "", "the second chapter": "",
    "the title of a page": "", "a footnote": "", "a note that is hidden until it is asked for": "",
    "a chapter beside the order of reading": "", "a chapter that nothing leads to": "",
    "the alternative of a picture": "", "a picture in no chapter": "picture", "a sound": "sound",
    "hidden text": "hidden passage", "a file that the book does not list": "unlisted file",
    "an encrypted chapter": "encrypted chapter",
}  # fmt: skip
_PACKAGE = """<package xmlns="http://www.idpf.org/2007/opf" version="3.0">
<metadata xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:title>{title}</dc:title><dc:creator>{author}</dc:creator>
<dc:description>&lt;p&gt;{description}&lt;/p&gt;</dc:description><meta property="x">{other}</meta></metadata>
<manifest><item id="n" href="nav.xhtml" media-type="application/xhtml+xml" properties="nav"/>
<item id="b" href="b.xhtml" media-type="application/xhtml+xml"/>
<item id="a" href="a%20a.xhtml" media-type="application/xhtml+xml"/>
<item id="l" href="l.xhtml" media-type="application/xhtml+xml"/>
<item id="u" href="u.xhtml" media-type="application/xhtml+xml"/>
<item id="e" href="e.xhtml" media-type="application/xhtml+xml"/>
<item id="p" href="{picture}.png" media-type="image/png"/>
<item id="s" href="{sound}.mp3" media-type="audio/mpeg"/></manifest>
<spine><itemref idref="a"/><itemref idref="l" linear="no"/><itemref idref="b"/><itemref idref="e"/></spine></package>"""
_CONTAINER = """<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>
<rootfile full-path="OPS/book.opf" media-type="application/oebps-package+xml"/></rootfiles></container>"""
_ENCRYPTION = """<encryption xmlns="urn:oasis:names:tc:opendocument:xmlns:container"
xmlns:enc="http://www.w3.org/2001/04/xmlenc#"><enc:EncryptedData><enc:EncryptionMethod
Algorithm="http://www.w3.org/2001/04/xmlenc#aes256-cbc"/><enc:CipherData><enc:CipherReference URI="OPS/e.xhtml"/>
</enc:CipherData></enc:EncryptedData></encryption>"""


def build() -> MarkedFile:
    """Build the book."""
    mark, content = mark_of, io.BytesIO()
    package = _PACKAGE.format(
        title=mark("the title"), author=mark("the author"), description=mark("the description"),
        other=mark("other metadata"), picture=mark("a picture in no chapter"), sound=mark("a sound"),
    )  # fmt: skip
    title = mark("the title of a chapter in the contents")
    first = (
        f"<p>{mark('the first chapter')}</p><aside epub:type='footnote'>{mark('a footnote')}</aside>"
        f"<aside epub:type='footnote' hidden='hidden'>{mark('a note that is hidden until it is asked for')}</aside>"
        f"<img src='x.png' alt='{mark('the alternative of a picture')}'/><p hidden='hidden'>{mark('hidden text')}</p>"
    )
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("mimetype", "application/epub+zip")
        archive.writestr("META-INF/container.xml", _CONTAINER)
        archive.writestr("META-INF/encryption.xml", _ENCRYPTION)
        archive.writestr("OPS/book.opf", package)
        archive.writestr("OPS/nav.xhtml", _page(f"<nav><ol><li><a href='a%20a.xhtml'>{title}</a></li></ol></nav>"))
        archive.writestr("OPS/a a.xhtml", _page(first))
        archive.writestr("OPS/b.xhtml", _page(f"<p>{mark('the second chapter')}</p>", mark("the title of a page")))
        archive.writestr("OPS/l.xhtml", _page(mark("a chapter beside the order of reading")))
        archive.writestr("OPS/u.xhtml", _page(mark("a chapter that nothing leads to")))
        archive.writestr("OPS/x.txt", mark("a file that the book does not list"))
        archive.writestr("OPS/e.xhtml", _page(mark("an encrypted chapter")))
    return MarkedFile("application/epub+zip", content.getvalue(), _PLACES)


def _page(body: str, title: str = "") -> str:
    return (
        '<?xml version="1.0" encoding="utf-8"?><html xmlns="http://www.w3.org/1999/xhtml"'
        f' xmlns:epub="http://www.idpf.org/2007/ops"><head><title>{title}</title></head><body>{body}</body></html>'
    )
