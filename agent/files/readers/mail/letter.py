"""The parts of one mail, sorted into its text, its files and the mails within it.

What stays true: no part is forgotten: it is text, a file, a mail, or counted; a mail of any number of parts, however
deep, is sorted in bounded time.
"""

import re
from collections.abc import Callable, Sequence

from agent.files.readers.attached import AttachedFile
from agent.files.readers.decode import decode
from agent.files.readers.mail.invitation import render_calendar, render_card
from agent.files.readers.mail.mime_part import MimePart, decode_uu
from agent.files.readers.page.html import render as render_page
from agent.files.readers.rich_text import render as render_rich_text
from agent.files.readers.sections import TextSections

#: Parts of one mail that are looked at.
_PARTS_MAX = 300
#: Parts within parts.
_DEPTH_MAX = 20

#: Fields of a part that are shown, or say how it is written.
_PART_FIELDS = {
    "content-type", "content-transfer-encoding", "content-disposition", "content-id", "content-description",
    "content-length", "mime-version", "x-attachment-id",
}  # fmt: skip
#: What belongs to a page that was saved with all that it needs.
_OF_PAGES = {
    "text/css": "style sheet", "text/javascript": "script", "application/javascript": "script",
    "application/x-javascript": "script",
}  # fmt: skip
_MAILS = ("message/rfc822", "message/global", "message/news")
_UU_BEGIN = re.compile(r"^begin [0-7]{3,4} ([^\r\n]+)\r?\n", re.MULTILINE)
_UU_END = re.compile(r"^end[ \t]*\r?$", re.MULTILINE)
_PGP = re.compile(r"^-----BEGIN PGP MESSAGE-----.*?(?:^-----END PGP MESSAGE-----|\Z)", re.MULTILINE | re.DOTALL)
_ENCRYPTED = "The mail is encrypted, wholly or in part; only who has the key can read it."


class Letter:
    """The texts, files and mails that are in one mail."""

    def __init__(self, sections: TextSections) -> None:
        self._sections = sections
        self.texts: list[str] = []
        self.files: list[AttachedFile] = []
        #: Each with the name that it has as a file.
        self.mails: list[tuple[str, MimePart]] = []
        self._parts = 0
        #: The markup of the mail, which shows some of its pictures.
        self._markups: list[str] = []

    def add(self, part: MimePart, depth: int = 0) -> None:
        """Add a part, with all that is within it."""
        self._parts += 1
        if self._parts > _PARTS_MAX or depth > _DEPTH_MAX:
            self._leave_out_parts(1)
            return
        kind = part.media_type
        if depth:
            self._count_fields(part)
        is_file = not kind.startswith(("multipart/", "text/")) or part.is_attachment
        if depth and not is_file and part.field("Content-Description"):
            self.texts.append(f"[{part.field('Content-Description')}]")
        if kind.startswith("multipart/"):
            self._add_several(part, depth)
        elif kind in _MAILS:
            self.mails.append((part.filename, MimePart(part.content)))
        elif not self._count_special(part):
            self._add_text_or_file(part)

    def _add_text_or_file(self, part: MimePart) -> None:
        if self._is_text(part):
            self.texts.append(self._render(part))
        else:
            self._add_file(part)

    def _count_special(self, part: MimePart) -> bool:
        """Count a part that is neither text nor a file to people; whether it is one."""
        kind = part.media_type
        if kind in ("application/pkcs7-mime", "application/x-pkcs7-mime"):
            is_signed = "signed" in part.parameter("smime-type")
            self._sections.remark("The mail is signed in a form that hides its text." if is_signed else _ENCRYPTED)
            self._sections.leave_out("signed part" if is_signed else "encrypted part")
        elif kind in ("application/pkcs7-signature", "application/x-pkcs7-signature", "application/pgp-signature"):
            self._sections.leave_out("signature")
        elif kind == "application/ms-tnef" or part.filename.lower() == "winmail.dat":
            self._sections.remark("Outlook packed text or files of the mail into winmail.dat, which is not read.")
            self._sections.leave_out("winmail.dat file")
        elif kind in _OF_PAGES and not part.is_attachment:
            self._sections.leave_out(_OF_PAGES[kind])
        elif kind == "message/external-body":
            self.texts.append(f"[A file that is kept elsewhere: {' '.join(part.field('Content-Type').split())}]")
            self._sections.leave_out("external file")
        else:
            return False
        return True

    def _count_fields(self, part: MimePart) -> None:
        names = (name.lower() for name, _ in part.fields)
        self._sections.leave_out("header field", sum(name not in _PART_FIELDS for name in names))

    def _is_text(self, part: MimePart) -> bool:
        if part.is_attachment:
            return False
        is_body = part.media_type.startswith(("text/", "message/")) or part.media_type == "application/xhtml+xml"
        # A file that a program shows within the text is a file none the less.
        return is_body and (not part.filename or part.media_type in ("text/calendar", "text/html"))

    def _leave_out_parts(self, count: int) -> None:
        self._sections.leave_out("part", count)
        self._sections.remark(f"The mail has more than {_PARTS_MAX} parts, or parts nested too deep.")

    def _add_several(self, part: MimePart, depth: int) -> None:
        parts, beyond, has_text_around = part.split(_PARTS_MAX)
        if beyond:
            self._leave_out_parts(beyond)
        self._sections.leave_out("stray text", has_text_around)
        if not parts:
            self._sections.remark("The parts of the mail cannot be told apart; it is shown as it was sent.")
            self.texts.append(part.read_text(self._sections).strip())
            return
        kind = part.media_type
        if kind == "multipart/alternative":
            self._add_best(parts, depth + 1)
            return
        if kind == "multipart/encrypted":
            self._sections.remark(_ENCRYPTED)
            self._sections.leave_out("encrypted part", len(parts))
            return
        if kind == "multipart/signed":
            self._sections.remark("The mail is signed; whether rightly was not checked.")
        for inner in _root_first(part, parts) if kind == "multipart/related" else parts:
            self.add(inner, depth + 1)

    def _add_best(self, versions: Sequence[MimePart], depth: int) -> None:
        """Add the version of a text that a person sees, and whatever is more than a version."""
        texts = [version for version in versions if version.media_type in ("text/plain", "text/enriched")]
        beside = [version for version in versions if version.media_type in ("text/calendar", "text/vcard")]
        rich = [version for version in versions if version not in texts and version not in beside]
        shown = ""
        # Programs show the last that they can; those for watches and scripts stand before the one for all.
        for version in [*_richest_first(rich), *reversed(texts)]:
            if shown:
                other = Letter(self._sections.open_inner())
                other.add(version)
                self._sections.leave_out("other version", bool(words_of("\n".join(other.texts)) - words_of(shown)))
                self._sections.leave_out("attachment", len(other.files) + len(other.mails))
                continue
            before = len(self.texts)
            self.add(version, depth)
            shown = "\n".join(self.texts[before:])
        for version in beside:
            self.add(version, depth)

    def _render(self, part: MimePart) -> str:
        kind = part.media_type
        if kind in ("text/html", "application/xhtml+xml", "text/x-amp-html", "text/watch-html"):
            charset = part.parameter("charset")
            markup = part.read_text(self._sections) if charset else decode(part.content, sections=self._sections)
            self._markups.append(markup)
            return render_page(markup, self._sections)
        text = part.read_text(self._sections)
        renderers: dict[str, Callable[[str, TextSections], str]] = {
            "text/calendar": render_calendar, "text/vcard": render_card, "text/x-vcard": render_card,
            "text/directory": render_card, "text/rtf": render_rich_text,
        }  # fmt: skip
        if kind in renderers:
            return renderers[kind](text, self._sections) or text
        if kind in ("text/enriched", "text/richtext"):
            return re.sub(r"(?<!<)<(?!<)[^<>]*>", "", text).replace("<<", "<").strip()
        if part.parameter("format").lower() == "flowed":
            text = _unflow(text, deletes_space=part.parameter("delsp").lower() == "yes")
        return self._take_inline_files(text).strip()

    def _take_inline_files(self, text: str) -> str:
        """Take the files of old programs out of a text, and what is encrypted in it."""
        if "\nbegin " in f"\n{text}":
            text = self._take_uu_files(text)
        if "-----BEGIN PGP MESSAGE-----" in text:
            text, count = _PGP.subn("[Encrypted text]", text)
            self._sections.remark(_ENCRYPTED)
            self._sections.leave_out("encrypted part", count)
        return text

    def _take_uu_files(self, text: str) -> str:
        pieces, at = [], 0
        # One after the other: a file without an end would be read anew from each line that begins one.
        while (begin := _UU_BEGIN.search(text, at)) and (end := _UU_END.search(text, begin.end())):
            content = decode_uu(text[begin.end() : end.start()].encode("latin-1", "replace"))
            self.files.append(AttachedFile(begin[1].strip(), "application/octet-stream", content))
            pieces.append(text[at : begin.start()])
            at = end.end()
        return "".join((*pieces, text[at:]))

    def _add_file(self, part: MimePart) -> None:
        content_id, location = part.field("Content-ID").strip("<> "), part.field("Content-Location").strip()
        names = filter(None, [content_id and f"cid:{content_id}", location])
        is_shown = any(name in markup for name in names for markup in self._markups)
        if is_shown and part.media_type.startswith("image/"):
            return  # counted where it stands
        description = part.field("Content-Description")
        self.files.append(AttachedFile(part.filename, part.media_type, part.content, description))


def _root_first(part: MimePart, parts: Sequence[MimePart]) -> Sequence[MimePart]:
    """The parts of a document with its pictures: the document first, wherever it stands."""
    root = part.parameter("start").strip("<>")
    return sorted(parts, key=lambda inner: bool(root) and inner.field("Content-ID").strip("<> ") != root)


def _richest_first(versions: Sequence[MimePart]) -> Sequence[MimePart]:
    extras = ("text/x-amp-html", "text/watch-html")
    last_first = versions[::-1]
    return sorted(last_first, key=lambda version: version.media_type in extras)


def _unflow(text: str, *, deletes_space: bool) -> str:
    """Join the lines of a text that was broken to be sent: those that end with a space."""
    lines, goes_on = list[str](), False
    for line in text.splitlines():
        quotes = re.match("(>*) ?", line)
        depth, words = (quotes[1], line[quotes.end() :]) if quotes else ("", line)
        before = f"{depth} " if depth else ""
        if goes_on and lines[-1].startswith(before) and words != "-- ":
            lines[-1] += words
        else:
            lines.append(before + words)
        goes_on = words.endswith(" ") and words != "-- "
        if goes_on and deletes_space:
            lines[-1] = lines[-1][:-1]
    return "\n".join(lines)


def words_of(text: str) -> set[str]:
    """The words of a text, to tell whether another version of it has more."""
    return set(re.findall(r"[^\W_]{2,}", text.lower()))
