"""A guess at the encoding of a text that does not say it, and how sure it is.

What stays true: candidates are ranked by a detector that knows the letters of languages, and by what their
texts look like: a letter of another alphabet within a word, a capital at its end and a box beside it are what
wrong encodings make. The confidence is the distance to the best guess that reads another text, so that a
choice between two encodings that say the same is none. Time is bounded, whatever the bytes are.
"""

import codecs
import re
from collections.abc import Sequence
from dataclasses import dataclass

from conversation.plausible_text import find_others, is_possible, is_typography, measure_plausibility

#: Encodings that people's programs write or wrote, and how much of what is seen of each is believed: what few
#: programs write has to be plainer to see. Where one encoding holds another, the larger one stands for both.
_CANDIDATES = {
    "cp1252": 1.0,
    **dict.fromkeys(("gb18030", "big5hkscs", "cp932", "euc_jis_2004", "cp949", "johab"), 1.0),
    **dict.fromkeys(("cp1250", "cp1251", "cp1253", "cp1254", "cp1255", "cp1256", "cp1257", "cp874"), 0.85),
    **dict.fromkeys(("koi8-r", "koi8-u", "iso8859-2", "iso8859-5", "iso8859-6", "iso8859-7", "iso8859-15"), 0.8),
    **dict.fromkeys(("iso8859-13", "iso8859-16", "cp1258"), 0.7),
    **dict.fromkeys(("cp850", "cp852", "cp866", "cp437", "cp1125", "cp737", "cp775", "cp855", "cp857"), 0.75),
    **dict.fromkeys(("cp860", "cp862", "cp865", "cp720"), 0.75),
    "mac-roman": 0.7,
    **dict.fromkeys(("mac-cyrillic", "mac-latin2", "mac-greek"), 0.5),
    "mac-turkish": 0.3,
}
#: The encoding that is tried whatever the detector says, which knows few signs.
_USUAL = "cp1252"
#: How much likelier a text is than the detector says, that has signs of typography alone: it knows letters.
_TYPOGRAPHY_WEIGHT = 3.0
#: Bytes that a guess is made of: more do not make it better.
_EVIDENCE_MAX_BYTES = 8 * 1024
#: Guesses of the detector that are looked at: what it ranks behind them was never right.
_TRIES = 12
#: How much of a long line is taken, on each side of what is not ASCII.
_AROUND_BYTES = 200
#: Below this, the best reading of bytes is no text: they are in an encoding that is not known here, or in none.
_MIN_PLAUSIBILITY = 0.2
#: A pair of bytes of Asia, by the row of its character.
_PAIR = re.compile(rb"([\xa1-\xfe])[\xa1-\xfe]")
_NOT_ASCII = re.compile(rb"[\x80-\xff]")
#: From a byte to the end of the character that it is in, of two bytes or four: the last may be ASCII.
_CHARACTER_END = re.compile(rb"[\x00-\x7f]|[\x80-\xff]{1,400}[\x00-\x7f]?")
#: Words that are not ASCII alone, with their neighbours.
_WORDS = re.compile(
    rb"(?:[!-~]{1,40}[ \t])?\S{0,40}[\x80-\xff]\S{0,200}(?:[ \t]\S{0,40}[\x80-\xff]\S{0,200})*(?:[ \t][!-~]{1,40})?"
)
#: Letters that stand for each other in Romanian: fonts, keyboards and encodings have either.
_SAME = str.maketrans("şţŞŢ", "șțȘȚ")


@dataclass(frozen=True, slots=True)
class Guess:
    """An encoding that a text may have."""

    #: Of Python's codec.
    name: str
    #: From 0 to 1: how far the best guess is that reads another text, by how much the text shows.
    confidence: float


def guess_encoding(content: bytes) -> Guess | None:
    """Guess the encoding of a text; None where no encoding gives a text at all."""
    readings = rank(content)
    if not readings or readings[0].plausibility < _MIN_PLAUSIBILITY:
        return None
    best = readings[0]
    rival_score = readings[1].score if len(readings) > 1 else 0.0
    # A single letter says little, however well it fits.
    evidence = min(1, (len(set(find_others(best.text))) + 1) / 4)
    return Guess(best.names[0], (1 - rival_score / best.score) * evidence)


@dataclass(slots=True)
class Reading:
    """A text that the bytes may stand for."""

    text: str
    score: float = 0.0
    #: How much the text looks like one, from 0 to 1, whatever the detector says.
    plausibility: float = 0.0
    #: The encodings that read it so, the most usual one first.
    names: Sequence[str] = ()


def rank(content: bytes) -> Sequence[Reading]:
    """The texts that bytes may stand for, the likeliest first."""
    lines = _gather_evidence(content)
    words = b" ".join(_WORDS.findall(lines))
    by_lines, by_words = _detect(lines), _detect(words)
    tries = {*list(by_lines)[:_TRIES], *list(by_words)[:_TRIES], _USUAL}
    readings: dict[str, Reading] = {}
    for name in filter(tries.__contains__, _CANDIDATES):
        text = _read(lines, name)
        if text is not None:
            folded_text = text.translate(_SAME)
            if folded_text not in readings:
                readings[folded_text] = Reading(text, plausibility=measure_plausibility(text))
            reading = readings[folded_text]
            weight = _TYPOGRAPHY_WEIGHT if is_typography(text) else _weigh_rows(name, lines)
            likeness = weight * (by_lines.get(name, 0.001) * by_words.get(name, 0.001)) ** 0.5
            reading.score = max(reading.score, likeness * reading.plausibility * _CANDIDATES[name] ** _doubt(text))
            reading.names = (*reading.names, name)
    return sorted(readings.values(), key=lambda reading: -reading.score)


def _gather_evidence(content: bytes) -> bytes:
    """The lines that are not ASCII alone, as many as are of use; of long lines the part around that."""
    pieces, size, at = [], 0, 0
    while size < _EVIDENCE_MAX_BYTES and (match := _NOT_ASCII.search(content, at)):
        first = match.start()
        start = max(at, first - _AROUND_BYTES)
        start = max(start, content.rfind(b"\n", start, first) + 1, content.rfind(b"\r", start, first) + 1)
        end = content.find(b"\n", first, first + _AROUND_BYTES) + 1 or first + _AROUND_BYTES
        at = _CHARACTER_END.match(content, min(end, len(content)) - 1).end()  # type: ignore[union-attr]
        pieces.append(content[start:at])
        size += at - start
    return b"".join(pieces)


def _detect(content: bytes) -> dict[str, float]:
    import chardet

    results = chardet.detect_all(
        content, ignore_threshold=True, compat_names=False, include_encodings=_CANDIDATES, max_bytes=len(content)
    )
    return {result["encoding"]: result["confidence"] for result in results if result["encoding"] in _CANDIDATES}


def _read(content: bytes, encoding: str) -> str | None:
    """Decode all of it but a last character that is cut off; None for what is no text."""
    decoder = codecs.getincrementaldecoder(encoding)("strict")
    try:
        text = decoder.decode(content)
    except UnicodeDecodeError:
        return None
    is_cut_off = bool(decoder.getstate()[0])
    if not is_possible(text) or (is_cut_off and len(find_others(text)) < 3):
        return None
    return text


def _weigh_rows(encoding: str, content: bytes) -> float:
    """Weigh what the detector cannot tell in names and addresses: Chinese has common characters in later rows."""
    rows = [pair[0] for pair in _PAIR.findall(content) if pair[0] >= 0xB0]
    if encoding not in ("gb18030", "euc_jis_2004") or len(rows) < 12:
        return 1.0
    late_share = sum(row >= 0xD0 for row in rows) / len(rows)
    is_unlikely = late_share < 0.05 if encoding == "gb18030" else late_share > 0.25
    return 0.4 if is_unlikely else 1.0


def _doubt(text: str) -> float:
    """The weight of what is usual, the more the less a text shows."""
    return min(1, 4 / (len(set(find_others(text))) or 1))
