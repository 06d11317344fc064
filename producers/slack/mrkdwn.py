"""Slack's own markup: what people write in it as plain text, and an agent's Markdown in it.

What stays true: what an agent writes never mentions anybody, whatever it is: of what Slack reads as markup, only links
and the signs of emphasis are made here; a part of a text is good markup by itself.
"""

import re

#: Characters of one message, at most: a block of Slack's takes 3,000.
PART_CHARS = 2900

_CODE_FENCE = "```"
_REFERENCE = re.compile(r"<([^<>\n]{1,3000})>")
_LINK = re.compile(r"!?\[([^\[\]\n]{1,500})\]\(((?:https?://|mailto:)[^\s()<>|]{1,2000})\)")
_BOLD = re.compile(r"(\*\*|__)(?=\S)([^\n]{1,1000}?)(?<=\S)\1")
_ITALIC = re.compile(r"(?<![\w*])\*(?=[^\s*])([^*\n]{1,1000}?)(?<=[^\s*])\*(?![\w*])")
_STRUCK = re.compile(r"~~(?=\S)([^~\n]{1,1000}?)(?<=\S)~~")
_HEADING = re.compile(r" {0,3}#{1,6} +")
_BULLET = re.compile(r"( *)[-*+] +(?=\S)")
#: Stands for the sign of bold text until italic text is made.
_BOLD_SIGN = "\x01"
_ESCAPES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
_WORD_OF_REFERENCE = {"@": "@", "#": "#", "!": "@"}


def escape(text: str) -> str:
    """Text as Slack shows it literally."""
    return re.sub("[&<>]", lambda match: _ESCAPES[match[0]], text)


def read_mrkdwn(text: str, *, bot_user_id: str | None = None) -> str:
    """Read a text of Slack's as plain text; a mention of the agent itself is left out."""
    mention = f"<@{bot_user_id}>" if bot_user_id else None
    without_mention = text.replace(mention, " ") if mention else text
    plain = _REFERENCE.sub(_read_reference, without_mention)
    for sign, escaped in (("<", "&lt;"), (">", "&gt;"), ("&", "&amp;")):
        plain = plain.replace(escaped, sign)
    return plain.strip()


def _read_reference(match: re.Match[str]) -> str:
    target, _, label = match[1].partition("|")
    if sign := _WORD_OF_REFERENCE.get(target[:1]):
        return sign + (label.lstrip("@#") or target[1:].partition("^")[0])
    address = target.removeprefix("mailto:")
    return f"{label} ({address})" if label and label not in (target, address) else address


def to_mrkdwn(markdown: str) -> str:
    """An agent's Markdown in Slack's markup. A code block that has no end yet gets one."""
    lines: list[str] = []
    is_code = False
    for line in markdown.replace("\x01", "").split("\n"):
        if line.lstrip().startswith(_CODE_FENCE):
            is_code = not is_code
            # Slack shows the language as the first line of the code.
            lines.append(_CODE_FENCE)
        else:
            lines.append(escape(line) if is_code else _convert_line(line))
    return "\n".join([*lines, _CODE_FENCE] if is_code else lines)


def _convert_line(line: str) -> str:
    heading = _HEADING.match(line)
    if heading:
        words = line[heading.end() :].rstrip(" #")
        return f"*{_convert_spans(words.replace('**', ''))}*" if words else ""
    bullet = _BULLET.match(line)
    return f"{bullet[1]}• {_convert_spans(line[bullet.end() :])}" if bullet else _convert_spans(line)


def _convert_spans(line: str) -> str:
    """Convert what stands between code; where a sign of code has no other, it is a sign."""
    pieces = line.split("`")
    if len(pieces) % 2 == 0:
        return _convert_text(line)
    return "`".join(escape(piece) if number % 2 else _convert_text(piece) for number, piece in enumerate(pieces))


def _convert_text(text: str) -> str:
    converted = _LINK.sub(_link, escape(text))
    converted = _BOLD.sub(rf"{_BOLD_SIGN}\2{_BOLD_SIGN}", converted)
    converted = _STRUCK.sub(r"~\1~", _ITALIC.sub(r"_\1_", converted))
    return converted.replace(_BOLD_SIGN, "*")


def _link(match: re.Match[str]) -> str:
    return f"<{match[2]}|{match[1].replace('|', '¦')}>"


def split_mrkdwn(text: str, *, max_chars: int = PART_CHARS) -> list[str]:
    """Split a text into parts that each stand for themselves: between paragraphs, lines or words, never in a link.

    While a text grows, all parts but the last stay as they are.
    """
    parts, is_code = [], False
    while text:
        opening = f"{_CODE_FENCE}\n" if is_code else ""
        room = max_chars - 2 * len(f"{_CODE_FENCE}\n")
        place = len(text) if len(text) <= room else _find_place(text, room)
        piece, text = text[:place], text[place:].lstrip("\n")
        is_code ^= piece.count(_CODE_FENCE) % 2 == 1
        parts.append(opening + piece.rstrip("\n") + (f"\n{_CODE_FENCE}" if is_code else ""))
    return parts


def _find_place(text: str, room: int) -> int:
    """The place at which a text that is too long is parted."""
    for separator in ("\n\n", "\n", " "):
        place = text.rfind(separator, room // 2, room)
        if place > 0:
            break
    else:
        place = room
    beginnings = [text.rfind("&", max(0, place - 5), place), text.rfind("<", 0, place)]
    ends = [text.rfind(";", 0, place), text.rfind(">", 0, place)]
    open_places = [begin for begin, end in zip(beginnings, ends, strict=True) if begin > max(end, 0)]
    return min([place, *open_places])
