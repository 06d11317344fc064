"""A guess at the encoding of a text that does not say it, and how sure it is.

What stays true: candidates are ranked by a detector that knows the letters of languages, and by what their
texts look like: a letter of another alphabet within a word, a capital at its end and a box beside it are what
wrong encodings make. The confidence is the distance to the best guess that reads another text, so that a
choice between two encodings that say the same is none. Time is bounded, whatever the bytes are.
"""

import codecs
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

#: Encodings that people's programs write or wrote, and how much of what is seen of each is believed: what few
#: programs write has to be plainer to see. Where one encoding holds another, the larger one stands for both.
_CANDIDATES = {
    "cp1252": 1.0,
    **dict.fromkeys(("gb18030", "big5hkscs", "cp932", "euc_jis_2004", "cp949", "johab"), 1.0),
    **dict.fromkeys(("cp1250", "cp1251", "cp1253", "cp1254", "cp1255", "cp1256", "cp1257", "cp874"), 0.95),
    **dict.fromkeys(("koi8-r", "koi8-u", "iso8859-2", "iso8859-5", "iso8859-6", "iso8859-7", "iso8859-15"), 0.9),
    **dict.fromkeys(("iso8859-13", "iso8859-16", "cp1258"), 0.7),
    **dict.fromkeys(("cp850", "cp852", "cp866", "cp437", "cp1125", "cp737", "cp775", "cp855", "cp857"), 0.75),
    **dict.fromkeys(("cp860", "cp862", "cp865", "cp720"), 0.75),
    **dict.fromkeys(("mac-roman", "mac-greek", "mac-turkish"), 0.7),
    **dict.fromkeys(("mac-cyrillic", "mac-latin2"), 0.5),
}
#: Bytes that a guess is made of: more do not make it better.
_EVIDENCE_MAX_BYTES = 8 * 1024
#: Guesses of the detector that are looked at: what it ranks behind them was never right.
_TRIES = 12
#: How much of a long line is taken, on each side of what is not ASCII.
_AROUND_BYTES = 200
#: Of the beginning of a text in a wide encoding.
_WIDE_EVIDENCE_BYTES = 4 * 1024
#: Below this, the best reading of bytes is no text: they are in an encoding that is not known here, or in none.
_MIN_PLAUSIBILITY = 0.2
#: Characters by which a text without zeros is known to be in a wide encoding.
_WIDE_MIN_CHARS = 6
_CONTROLS = re.compile(rb"[\x01-\x06\x0e-\x19\x1c-\x1f]")
_NOT_ASCII = re.compile(rb"[\x80-\xff]")
#: Words that are not ASCII alone, with their neighbours.
_WORDS = re.compile(
    rb"(?:[!-~]{1,40}[ \t])?\S{0,40}[\x80-\xff]\S{0,200}(?:[ \t]\S{0,40}[\x80-\xff]\S{0,200})*(?:[ \t][!-~]{1,40})?"
)
_RUSSIAN = "абвгдеёжзийклмнопрстуфхцчшщъыьэюя"
_CYRILLIC_ALPHABETS = tuple(
    frozenset(letters)
    for letters in (
        *(_RUSSIAN, "абвгґдеєжзиіїйклмнопрстуфхцчшщьюя", "абвгдеёжзійклмнопрстуўфхцчшыьэюя"),
        *("абвгдђежзијклљмнњопрстћуфхцчџш", "абвгдѓежзијклљмнњопрстќуфхцчџш"),
    )
)


def _char_class(first: int, last: int, test: str) -> str:
    return "".join(char for char in map(chr, range(first, last)) if getattr(char, test)())


_LETTER = r"[^\W\d_]"
_LOWER = _char_class(0x80, 0x530, "islower").replace("ª", "").replace("º", "")
_UPPER = _char_class(0x80, 0x530, "isupper")
_OTHER_SCRIPT = "\u0370-\u06ff\u0e00-\u0e7f\uff61-\uff9f"
_SIGNS = "¢-¦¨¬¯±´¶¸¹¼-¾×÷˘-˝ˆ˜†-‡‰\u2190-\u24ff\u2580-\u2bff"
_IN_WORDS = "’‐‑–—…\xad\u0300-\u036f\u0590-\u065f\u0e00-\u0e7f\u200c-\u200f\u3000-\u30ff\uff00-\uff60"
#: What hardly anybody writes, and wrong encodings are full of.
_ODD = re.compile(
    "|".join([
        rf"(?<={_LETTER})(?:[^\x00-\x7f\w\s{_IN_WORDS}]|[ªº])(?={_LETTER})",
        rf"(?<={_LETTER})[{_SIGNS}„‚¿¡‘©]|[{_SIGNS}](?={_LETTER})",
        rf"(?<=[A-Za-z])[{_OTHER_SCRIPT}]|[{_OTHER_SCRIPT}](?=[A-Za-z])",
        rf"(?<![{_OTHER_SCRIPT}])[{_OTHER_SCRIPT}](?![{_OTHER_SCRIPT}])",
        rf"(?<=[a-z{_LOWER}])[{_UPPER}]|[{_LOWER}](?=[A-Z])|(?<=[A-Z])[{_LOWER}](?=[A-Z{_UPPER}])",
        rf"(?<=[A-Z{_UPPER}])[{_UPPER}](?=[a-z{_LOWER}])",
        r"(?<=[a-z])[\u3400-\u9fff\uac00-\ud7a3\U00020000-\U0003ffff]",
        rf"(?<!\w)[®¯]|(?:(?<=\d)|(?<=\d ))[{_UPPER}](?!\w)|(?<!\w)[{_UPPER}](?= ?\d)",
        r"[\u3040-\u30ff\u4e00-\u9fff](?=[가-힣])|(?<=[가-힣])[\u3040-\u30ff\u4e00-\u9fff]",
        r"[ﬁﬂ]|ς(?=[α-ω])|(?<![\w\u0300-\u036f])[\u0300-\u036f]|(?<![\u0590-\u05ff])[\u05b0-\u05c2]",
        r"(?<=[^\x00-\x7f])@|@(?=[^\x00-\x7f])|”(?=[а-я])",
        r"(?<=[b-df-hj-np-tvwxz])[\u0300-\u036f]",
    ])
)  # fmt: skip
#: The letters beyond ASCII of languages in Latin letters. Of those in the second group, a text of some length has
#: several: one that has a single one of them is in another language.
_ALPHABETS = tuple(
    frozenset(letters)
    for letters in (
        *(
            "àâæçéèêëîïôœùûü",
            "äöüßé",
            "áéíñóúüªº",
            "áâãàçéêíóôõúüªº",
            "àèéìíîòóùú",
            "áéëïóöüèê",
            "æøåéäöüó",
            "åäöéàüšž",
        ),
        *("çë", "äöõüšž", "éèêëïöüçñâàôäæœåøî", "àçèéíïòóúü", "áéíóú", "ŵŷâêîôû", "ċġħż", "ĉĝĥĵŝŭ"),
    )
)
_DIVERSE_ALPHABETS = tuple(
    frozenset(letters)
    for letters in (
        *("áéíóúýþæöð", "áčďéěíňóřšťúůýž", "ąćęłńóśźż", "áéíóöőúüű", "áäčďéíĺľňóôŕšťúýž", "čćđšž", "ăâîșțşţ"),
        *("çğıi̇öşüâîû", "āčēģīķļņšūž", "ąčęėįšųūž", "ạảãàáăâđèéêìíòóôơùúưýẽĩũ"),
    )
)
_IMPOSSIBLE = re.compile("[\x7f-\x84\x86-\x9f\ue000-\uf8ff\ufffd]")
#: Letters that stand for each other in Romanian: fonts, keyboards and encodings have either.
_SAME = str.maketrans("şţŞŢ", "șțȘȚ")
_OTHER_THAN_ASCII = re.compile("[^\x00-\x7f]")


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
    evidence = min(1, (len(set(_OTHER_THAN_ASCII.findall(best.text))) + 1) / 4)
    return Guess(best.names[0], (1 - rival_score / best.score) * evidence)


def guess_wide(content: bytes) -> Guess | None:
    """Guess the wide encoding, of two or four bytes a character, of a text without a mark; None for other bytes."""
    has_zeros, head = b"\x00" in content, content[:_WIDE_EVIDENCE_BYTES]
    # A zero in nearly every character shows it, and control characters make it likelier.
    min_chars = 3 if _CONTROLS.search(content) else 1 if head.count(0) * 3 > len(head) else _WIDE_MIN_CHARS
    if len(content) < 2 * min_chars or (not has_zeros and len(content) % 2):
        return None
    names = ("utf-32-le", "utf-32-be", "utf-16-le", "utf-16-be") if has_zeros else ("utf-16-le", "utf-16-be")
    (share, name), (other_share, _) = sorted(((_share_of_common(head, name), name) for name in names), reverse=True)[:2]
    return Guess(name, share - other_share) if share > 0.9 and share - other_share > 0.3 else None


def _share_of_common(content: bytes, encoding: str) -> float:
    """The share of characters that texts are full of; 0 for what is no text."""
    try:
        text = codecs.getincrementaldecoder(encoding)("strict").decode(content)
    except UnicodeDecodeError:
        return 0.0
    # Every text has some of them. Other bytes have none.
    return sum(char in _common_chars() for char in text) / (len(text) or 1)


@cache
def _common_chars() -> frozenset[str]:
    """The letters of alphabets, and the more common half of the characters of Asia, as their standards have it."""
    chars = {chr(code) for code in (9, 10, 12, 13, *range(0x20, 0x7F), *range(0xA0, 0x530), *range(0x5D0, 0x660))}
    chars |= {chr(code) for code in (*range(0xE00, 0xE60), *range(0x1EA0, 0x1EFA), *range(0x2010, 0x2030), 0x20AC)}
    chars |= {chr(code) for code in (*range(0x3000, 0x3100), *range(0xFF01, 0xFF60), *range(0x1F300, 0x1FB00))}
    for encoding, first, last in (
        ("gb2312", 0xB0, 0xD7),
        ("euc_jp", 0xB0, 0xCF),
        ("euc_kr", 0xB0, 0xC8),
        ("big5", 0xA4, 0xC6),
    ):
        for lead in range(first, last + 1):
            row = b"".join(bytes((lead, trail)) for trail in range(0xA1, 0xFF))
            if encoding == "big5":
                row += b"".join(bytes((lead, trail)) for trail in range(0x40, 0x7F))
            chars.update(row.decode(encoding, "ignore"))
    return frozenset(chars)


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
    tries = {*list(by_lines)[:_TRIES], *list(by_words)[:_TRIES]}
    readings: dict[str, Reading] = {}
    for name in filter(tries.__contains__, _CANDIDATES):
        text = _read(lines, name)
        if text is not None:
            folded_text = text.translate(_SAME)
            if folded_text not in readings:
                readings[folded_text] = Reading(text, plausibility=_plausibility(text))
            reading = readings[folded_text]
            likeness = (by_lines.get(name, 0.001) * by_words.get(name, 0.001)) ** 0.5
            reading.score = max(reading.score, likeness * reading.plausibility * _CANDIDATES[name] ** _doubt(text))
            reading.names = (*reading.names, name)
    return sorted(readings.values(), key=lambda reading: -reading.score)


def _gather_evidence(content: bytes) -> bytes:
    """The lines that are not ASCII alone, as many as are of use; of long lines the part around that."""
    pieces, size, at = [], 0, 0
    while size < _EVIDENCE_MAX_BYTES and (match := _NOT_ASCII.search(content, at)):
        start = max(at, match.start() - _AROUND_BYTES)
        start = max(
            start, content.rfind(b"\n", start, match.start()) + 1, content.rfind(b"\r", start, match.start()) + 1
        )
        end = content.find(b"\n", match.start(), match.start() + _AROUND_BYTES) + 1
        at = end or match.start() + _AROUND_BYTES
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
    if _IMPOSSIBLE.search(text) or (is_cut_off and len(_OTHER_THAN_ASCII.findall(text)) < 3):
        return None
    return text


def _plausibility(text: str) -> float:
    chars = _OTHER_THAN_ASCII.findall(text)
    oddities = len(_ODD.findall(text))
    oddness = max(0.01, 1 - 2 * oddities / (len(chars) or 1)) * max(0.4, 0.8**oddities)
    return oddness * _coherence(chars)


def _doubt(text: str) -> float:
    """The weight of what is usual, from 1 where a text shows next to nothing."""
    return min(1, 4 / (len(set(_OTHER_THAN_ASCII.findall(text))) or 1))


def _coherence(chars: Sequence[str]) -> float:
    """How much of a text's letters one language has; of Cyrillic, all letters count, so that few others say much."""
    counts = Counter(char for char in "".join(chars).lower() if char.isalpha())
    latin = Counter({char: count for char, count in counts.items() if "ª" <= char <= "ɏ"})
    cyrillic = Counter({char: count for char, count in counts.items() if "Ѐ" <= char <= "ԯ"})
    is_monotonous = (len(latin) == 1 and latin.total() > 3) or (
        latin.total() > 9 and max(latin.values()) > latin.total() * 0.85
    )
    alphabets = _ALPHABETS if is_monotonous else _ALPHABETS + _DIVERSE_ALPHABETS
    return _share(latin, alphabets) ** 4 * _share(cyrillic, _CYRILLIC_ALPHABETS) ** 12


def _share(counts: Counter[str], alphabets: Sequence[frozenset[str]]) -> float:
    size = counts.total()
    return max(sum(counts[letter] for letter in alphabet) for alphabet in alphabets) / size if size else 1.0
