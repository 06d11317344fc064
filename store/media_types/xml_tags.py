"""Tags of XML that others wrote, searched by a parser: prefixes, encodings and references hide nothing from it.

What stays true: nothing is built in memory, no entity is expanded, and the number of tags is bounded.
"""

import codecs
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from itertools import chain
from xml.parsers import expat

from conversation.charset import split_byte_order_mark
from conversation.charset_labels import find_codec
from store.media_types.zip_parts import UnreadableParts

#: Tags that are looked at, at most: a second. A long novel has a tenth.
TAGS_MAX = 1_000_000

#: A tag's name and its attributes, each without its prefix; the names in lower case.
TagTest = Callable[[str, Mapping[str, str]], bool]

_ENCODING = re.compile(rb"""encoding\s*=\s*["']([\w.:-]+)""")
_WORD_MAX_BYTES = 40
#: Bytes in which the declaration ends.
_HEAD_BYTES = 4 * 1024
#: Encodings in which ASCII is what it looks like.
_PLAIN_ENCODING = re.compile(rb"utf-?8|utf-?16(le|be)?|us-ascii|iso-?8859-\d+|windows-\d+", re.IGNORECASE)


class _TagFound(Exception):
    """The end of a search: there is such a tag."""


class _OtherRoot(Exception):
    """The end of a search: this is no XML of the kind that is searched."""


class TagSearch:
    """A search for tags, which is fed piece by piece."""

    def __init__(self, is_searched: TagTest, *, roots: Collection[str] = (), takes_entities: bool = False) -> None:
        """With `roots`, XML whose first tag has another name has none; with `takes_entities`, XML that has entities."""
        self._takes_entities = takes_entities
        self._is_searched = is_searched
        self._roots = roots
        self._tags = 0
        self._parser = expat.ParserCreate()
        self._parser.StartElementHandler = self._look_at
        self._parser.EntityDeclHandler = self._refuse_entity

    def run(self, pieces: Iterable[bytes], *, is_lenient: bool = False) -> bool:
        """Whether there is such a tag. A lenient search takes what breaks off, or is no XML, for having none.

        Raises `UnreadableParts`.
        """
        try:
            for piece in _decode(pieces):
                self._parser.Parse(piece)
            self._parser.Parse(b"", True)  # noqa: FBT003 - the parser's own way to say that this is all
        except _TagFound:
            return True
        except _OtherRoot:
            return False
        except (expat.ExpatError, ValueError, LookupError) as error:
            if is_lenient:
                return False
            raise UnreadableParts("is damaged: a part of it is no XML; save it again") from error
        return False

    @property
    def has_begun(self) -> bool:
        """Whether a first tag was read."""
        return bool(self._tags)

    def _look_at(self, name: str, attributes: Mapping[str, str]) -> None:
        self._tags += 1
        if self._tags > TAGS_MAX:
            raise UnreadableParts(f"has more than {TAGS_MAX} tags; send it with less in it")
        if self._tags == 1 and self._roots and _without_prefix(name) not in self._roots:
            raise _OtherRoot
        plain = {_without_prefix(attribute): value for attribute, value in attributes.items()}
        if self._is_searched(_without_prefix(name), plain):
            raise _TagFound

    def _refuse_entity(self, *_: object) -> None:
        if self._takes_entities:
            raise _OtherRoot
        raise UnreadableParts("defines entities of its own, as no office program does; save it again")


def may_hold(words: Collection[bytes], pieces: Iterable[bytes], *, by_reference: bool = True) -> bool:
    """Whether XML may hold one of the words, which are in lower case, or hide it in references.

    It does without a parser, as most XML holds none.
    """
    behind: bytes | None = None
    for piece in _decode(pieces):
        content = piece.encode() if isinstance(piece, str) else piece
        if behind is None and content is piece and not _is_plain(content):
            return True
        plain = (behind or b"") + content.replace(b"\0", b"").lower()
        if (by_reference and b"&#" in plain) or any(word in plain for word in words):
            return True
        behind = plain[-_WORD_MAX_BYTES:]
    return False


def _is_plain(piece: bytes) -> bool:
    """Whether XML that begins like this is in an encoding in which ASCII is what it looks like."""
    head, encoding = _read_head(piece)
    return head.startswith(b"<") and (encoding is None or bool(_PLAIN_ENCODING.fullmatch(encoding)))


def _read_head(piece: bytes) -> tuple[bytes, bytes | None]:
    """Read the beginning of XML, and the encoding that it declares."""
    head = piece[:_HEAD_BYTES].replace(b"\0", b"").lstrip(b"\xef\xbb\xbf\xff\xfe").lstrip()
    encoding = _ENCODING.search(head.partition(b">")[0])
    return head, encoding and encoding[1]


def _decode(pieces: Iterable[bytes]) -> Iterator[bytes | str]:
    """Decode XML in an encoding that the parser does not know; other XML stays as it is."""
    remaining = iter(pieces)
    first = next(remaining, b"")
    codec = _find_codec(first)
    every = chain((first,), remaining)
    yield from every if codec is None else codecs.iterdecode(every, codec, "replace")


def _find_codec(piece: bytes) -> str | None:
    """The codec of XML that is in an encoding of East Asia, or in UTF-32."""
    mark, _ = split_byte_order_mark(piece)
    if mark is not None:
        return "utf-32" if mark.startswith("utf-32") else None
    _, encoding = _read_head(piece)
    if encoding is None or _PLAIN_ENCODING.fullmatch(encoding):
        return None
    name = encoding.decode().lower()
    if name.endswith("utf-7"):
        # A character of it may have no end, which a decoder reads anew with each piece.
        raise UnreadableParts("is in UTF-7, as no program writes XML; save it as UTF-8")
    return find_codec(name)


def _without_prefix(name: str) -> str:
    return name.rpartition(":")[2].lower()
