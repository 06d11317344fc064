"""One XML part of a document as a tree with plain names, whole or piece by piece.

What stays true: names have no namespaces, since programs write several for the same thing: `x:row` is `row`, and an
attribute `r:id` is `:id`; no entity is declared or expanded; of alternatives, the one for old programs is left out.
"""

import re
from collections.abc import Iterator, Sequence
from typing import IO
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

_CHUNK_BYTES = 64 * 1024
#: Characters that XML forbids and some programs write: alone, and by their numbers.
_FORBIDDEN = bytes(n for n in range(32) if n not in b"\t\n\r")
_FORBIDDEN_REFERENCE = re.compile(
    rb"&#(?:x0*(?:[0-8bcef]|1[0-9a-f])|0*(?:[0-8]|1[124-9]|2[0-9]|3[01]));", re.IGNORECASE
)
#: The longest reference that may stand at the end of a chunk.
_REFERENCE_BYTES = 16


class ForbiddenXml(Exception):
    """XML that declares entities, which no office program does."""


class _Names(dict[str, str]):
    """The plain name of each name that is met: its last part."""

    def __init__(self, mark: str) -> None:
        self._mark = mark

    def __missing__(self, name: str) -> str:
        prefix, _, local = name.rpartition(":")
        self[name] = plain = self._mark + local if prefix else local
        return plain


class _PlainKeys(dict[tuple[str, ...], bool]):
    """Whether attributes have plain names already, by all of their names: most are met a million times."""

    def __missing__(self, keys: tuple[str, ...]) -> bool:
        self[keys] = is_plain = not any(":" in key for key in keys)
        return is_plain


class XmlPart:
    """One part that is read from a stream."""

    def __init__(
        self, stream: IO[bytes], cut: str = "", *, heads: Sequence[str] = (), empty: re.Pattern[bytes] | None = None
    ) -> None:
        """`cut` names elements that are handed out and not kept; `heads` those that are handed out when they begin.

        What matches `empty` is read as a space, for elements that say nothing and may be there a million times.
        """
        #: The root, as far as it is read, without what was cut; None at the beginning.
        self.root: Element | None = None
        self._stream, self._cut, self._heads, self._empty = stream, cut, frozenset(heads), empty
        self._tags, self._attributes, self._plain_keys = _Names(""), _Names(":"), _PlainKeys()
        self._builder = self._outer_builder = TreeBuilder()
        self._cut_depth = self._skipped_depth = 0
        self._finished: list[Element] = []
        self._parser = expat.ParserCreate()
        self._parser.buffer_text = True
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._builder.data
        self._parser.EntityDeclHandler = self._refuse_entity

    def read(self) -> Element:
        """Read the whole part. Raises `ExpatError`, `ForbiddenXml` and what its stream raises."""
        for _ in self.elements():
            pass
        if self.root is None:
            raise ValueError("no element")
        return self.root

    def elements(self) -> Iterator[Element]:
        """Yield the elements that are cut, whole, and those of `heads` as they begin, in their order."""
        for chunk in _clean_chunks(self._stream):
            if b"<![CDATA[" in chunk:  # what looks like an element may be text from here on
                self._empty = None
            try:
                self._parser.Parse(self._empty.sub(b" ", chunk) if self._empty else chunk)
            finally:
                finished, self._finished = self._finished, []
                yield from finished
        self._parser.Parse(b"", True)  # noqa: FBT003 - it takes no names

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        tag = self._tags[name]
        if self._skipped_depth or tag == "Fallback":
            self._skipped_depth += 1
            self._parser.CharacterDataHandler = None
            return
        if tag == self._cut:
            if not self._cut_depth:
                self._builder = TreeBuilder()
                self._parser.CharacterDataHandler = self._builder.data
            self._cut_depth += 1
        if not self._plain_keys[tuple(attributes)]:
            attributes = {self._attributes[key]: value for key, value in attributes.items()}
        element = self._builder.start(tag, attributes)
        if self.root is None:
            self.root = element
        if not self._cut_depth and tag in self._heads:
            self._finished.append(element)

    def _end(self, name: str) -> None:
        if self._skipped_depth:
            self._skipped_depth -= 1
            if not self._skipped_depth:
                self._parser.CharacterDataHandler = self._builder.data
            return
        tag = self._tags[name]
        self._builder.end(tag)
        if tag == self._cut:
            self._cut_depth -= 1
            if not self._cut_depth:
                self._finished.append(self._builder.close())
                self._builder = self._outer_builder
                self._parser.CharacterDataHandler = self._builder.data

    def _refuse_entity(self, *_: object) -> None:
        raise ForbiddenXml


def _clean_chunks(stream: IO[bytes]) -> Iterator[bytes]:
    """Yield the stream without characters that XML forbids: other programs read on, and so does this one."""
    kept = b""
    is_wide = None
    while chunk := stream.read(_CHUNK_BYTES):
        if is_wide is None:
            is_wide = b"\0" in chunk[:4] or chunk.startswith((b"\xff\xfe", b"\xfe\xff"))
        if is_wide:
            yield chunk
            continue
        chunk = kept + chunk.translate(None, _FORBIDDEN)
        reference = chunk.rfind(b"&", -_REFERENCE_BYTES)
        end = reference if reference >= 0 else len(chunk)
        chunk, kept = chunk[:end], chunk[end:]
        yield _FORBIDDEN_REFERENCE.sub(b"", chunk) if b"&#" in chunk else chunk
    yield _FORBIDDEN_REFERENCE.sub(b"", kept)
