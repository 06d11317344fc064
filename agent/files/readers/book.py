"""Books (EPUB): what the book says of itself, and its chapters in the order in which they are read.

What stays true: a chapter that is not in the order of reading is shown after it; what is encrypted is named.
"""

import io
import posixpath
import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from agent.files.readers.decode import decode
from agent.files.readers.page.html import render as render_page
from agent.files.readers.sections import TextSections, Unreadable

#: Of one part of the book, unpacked: larger ones are left out.
_PART_MAX_BYTES = 20 * 1024 * 1024
#: Entries of the contents that are shown.
_CONTENTS_MAX = 500
_PAGES = ("application/xhtml+xml", "text/html", "application/x-dtbook+xml", "text/x-oeb1-document")
#: How readers of books hide their fonts: no text.
_FONT_ALGORITHMS = ("http://www.idpf.org/2008/embedding", "http://ns.adobe.com/pdf/enc#RC")
_PROTECTED = "The book is protected by its seller (DRM); its chapters, or some of them, are encrypted."
_KINDS = {"image/": "picture", "audio/": "sound", "video/": "video", "application/pdf": "attachment"}


class _Book:
    """The parts of a book, by their names."""

    def __init__(self, archive: zipfile.ZipFile, sections: TextSections) -> None:
        self._archive, self._sections = archive, sections
        self.names = set(archive.namelist())
        self.encrypted = self._encrypted_names()

    def load(self, name: str) -> bytes:
        """The bytes of a part; none of one that is missing, encrypted or too large."""
        if name not in self.names or name in self.encrypted:
            return b""
        try:
            with self._archive.open(name) as part:
                content = part.read(_PART_MAX_BYTES + 1)
        except (zipfile.BadZipFile, RuntimeError, OSError, EOFError, NotImplementedError, ValueError):
            self._sections.remark("A part of the book is damaged.")
            self._sections.leave_out("damaged part")
            return b""
        if len(content) > _PART_MAX_BYTES:
            self._sections.leave_out("oversized part")
            return b""
        return content

    def load_tree(self, name: str) -> Any:
        """The tree of a part of XML; None without one."""
        content = self.load(name)
        if not content:
            return None
        from lxml import etree

        parser = etree.XMLParser(resolve_entities=False, no_network=True, recover=True, load_dtd=False)
        try:
            return etree.fromstring(content, parser=parser)
        except etree.XMLSyntaxError:
            return None

    def _encrypted_names(self) -> set[str]:
        self.encrypted = set[str]()
        tree, names = self.load_tree("META-INF/encryption.xml"), set()
        for data in tree.iter("{*}EncryptedData") if tree is not None else ():
            algorithm = next((method.get("Algorithm", "") for method in data.iter("{*}EncryptionMethod")), "")
            if not algorithm.startswith(_FONT_ALGORITHMS):
                names |= {unquote(reference.get("URI", "")) for reference in data.iter("{*}CipherReference")}
        return names


@dataclass(frozen=True, slots=True)
class _Order:
    """The parts of a book, and their order, as the book says."""

    #: The media type of each part, by its name.
    types: Mapping[str, str]
    #: The names of the chapters, in the order of reading.
    spine: Sequence[str]
    #: The entries of the contents, each with the name of the part that it leads to.
    contents: Sequence[tuple[str, str]]
    #: The names of the parts that hold the contents.
    contents_names: frozenset[str]


def read(content: bytes, sections: TextSections) -> dict[str, Any]:
    """Read a book: its metadata, its contents, its chapters."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        book = _Book(archive, sections)
        package_name = _package_name(book)
        package = book.load_tree(package_name)
        if package is None:
            raise Unreadable("The book could not be read: it does not say what its chapters are.")
        sections.add("", "\n".join(_metadata(package, sections)))
        order = _load_order(book, package, posixpath.dirname(package_name))
        if order.contents and order.contents_names.isdisjoint(order.spine):
            entries = [title for title, _ in order.contents]
            sections.add("contents", "\n".join(f"- {title}" for title in entries[:_CONTENTS_MAX]))
            sections.leave_out("contents entry", max(0, len(entries) - _CONTENTS_MAX))
        _count_unlisted(book, order, package_name, sections)
        return _read_chapters(book, order, sections)


def _load_order(book: _Book, package: Any, folder: str) -> _Order:
    items = _items(package, folder)
    contents, contents_names = _contents(book, items)
    types = {item["name"]: item["media-type"] for item in items.values()}
    return _Order(types, _spine(package, items), contents, contents_names)


def _read_chapters(book: _Book, order: _Order, sections: TextSections) -> dict[str, Any]:
    pages = [name for name, media_type in order.types.items() if media_type in _PAGES]
    beside = [name for name in pages if name not in order.spine and name not in order.contents_names]
    title_of = {name: title for title, name in reversed(order.contents)}
    markups = list[str]()
    for number, name in enumerate([*order.spine, *beside], start=1):
        if sections.is_over:
            return sections.result(goes_on=True)
        if name in book.encrypted:
            sections.leave_out("encrypted chapter")
        elif order.types.get(name, "").startswith("image/"):
            sections.leave_out("picture")
        else:
            markups.append(decode(book.load(name), sections=sections))
            title = f' "{title_of[name]}"' if name in title_of else ""
            place = "" if number <= len(order.spine) else ", not in the order of reading"
            sections.add(f"chapter {number}{title}{place}", render_page(markups[-1], sections, is_book=True))
    _count_media(order, "\n".join(markups), sections)
    is_protected = bool(book.encrypted.intersection(order.spine))
    return sections.result(problem=_PROTECTED if is_protected else None)


def _count_media(order: _Order, markup: str, sections: TextSections) -> None:
    """Count what is in the book and in none of its chapters."""
    for name, media_type in order.types.items():
        kind = next((kind for prefix, kind in _KINDS.items() if media_type.startswith(prefix)), None)
        if kind and name not in order.spine and posixpath.basename(name) not in markup:
            sections.leave_out(kind)


def _count_unlisted(book: _Book, order: _Order, package_name: str, sections: TextSections) -> None:
    """Count the files that are in the book without being listed as its parts."""
    known = {"mimetype", package_name, *order.types}
    names = (name for name in book.names if not name.endswith("/") and not name.startswith("META-INF/"))
    sections.leave_out("unlisted file", sum(name not in known for name in names))


def _package_name(book: _Book) -> str:
    container = book.load_tree("META-INF/container.xml")
    for root in container.iter("{*}rootfile") if container is not None else ():
        if unquote(root.get("full-path", "")) in book.names:
            return unquote(root.get("full-path", ""))
    return next((name for name in sorted(book.names) if name.endswith(".opf")), "")


def _metadata(package: Any, sections: TextSections) -> Iterator[str]:
    for metadata in package.iter("{*}metadata"):
        for element in metadata.iter():
            if not isinstance(element.tag, str) or element is metadata:
                continue
            name, text = element.tag.rpartition("}")[2], " ".join("".join(element.itertext()).split())
            if element.tag.startswith("{http://purl.org/dc/"):
                # Descriptions are pages of their own.
                text = re.sub(r"<[^<>]+>", " ", text)
                if text:
                    yield f"{name.capitalize()}: {text}"
            elif name == "meta" and (text or element.get("content")):
                sections.leave_out("metadata field")


def _items(package: Any, folder: str) -> dict[str, dict[str, str]]:
    """The parts that the book lists, by their ids."""
    items = {}
    for number, item in enumerate(package.iter("{*}item")):
        name = posixpath.normpath(posixpath.join(folder, unquote(item.get("href", ""))))
        items[item.get("id", f"no id {number}")] = {
            "name": name, "media-type": item.get("media-type", "").lower(), "properties": item.get("properties", "")
        }  # fmt: skip
    return items


def _spine(package: Any, items: Mapping[str, Mapping[str, str]]) -> list[str]:
    """The names of the chapters in the order of reading: those beside it, such as notes, at the end."""
    linear, others = list[str](), list[str]()
    for reference in package.iter("{*}itemref"):
        item = items.get(reference.get("idref", ""))
        if item:
            (others if reference.get("linear") == "no" else linear).append(item["name"])
    return list(dict.fromkeys([*linear, *others]))


def _contents(book: _Book, items: Mapping[str, Mapping[str, str]]) -> tuple[Sequence[tuple[str, str]], frozenset[str]]:
    """The titles of the contents with the chapters they lead to, and the names of the parts that hold them."""
    navs = [item["name"] for item in items.values() if "nav" in item["properties"].split()]
    old = [item["name"] for item in items.values() if item["media-type"] == "application/x-dtbncx+xml"]
    titles = list[tuple[str, str]]()
    for name in [*navs, *old]:
        tree, folder = book.load_tree(name), posixpath.dirname(name)
        if tree is None or titles:
            continue
        for point in tree.iter("{*}navPoint", "{*}a"):
            label = next(point.iter("{*}navLabel"), point)
            target = next((c.get("src", "") for c in point.iter("{*}content")), "") or point.get("href", "")
            text = " ".join("".join(label.itertext()).split())
            if text:
                titles.append((text, posixpath.normpath(posixpath.join(folder, unquote(target.partition("#")[0])))))
    return titles, frozenset(navs)
