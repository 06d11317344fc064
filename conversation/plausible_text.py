"""How much a text looks like one that a person wrote, rather than one that was read in a wrong encoding.

What stays true: it knows the letters of languages, and no words. A letter of another alphabet within a word, a
capital at its end and a box beside it are what wrong encodings make; a few of them are in many a good text.
"""

import re
from collections import Counter
from collections.abc import Sequence

#: The letters beyond ASCII of languages in Latin letters. Of those in the second group, a text of some length has
#: several: one that has a single one of them is in another language.
_ALPHABETS = tuple(
    map(
        frozenset,
        (
            *("àâæçéèêëîïôœùûü", "äöüßé", "áéíñóúüªº", "áâãàçéêíóôõúüªº", "àèéìíîòóùú", "áéëïóöüèê", "æøåéäöüó"),
            *("åäöéàüšž", "çë", "äöõüšž", "éèêëïöüçñâàôäæœåøî", "àçèéíïòóúü", "áéíóú", "ŵŷâêîôû", "ċġħż", "ĉĝĥĵŝŭ"),
        ),
    )
)
_DIVERSE_ALPHABETS = tuple(
    map(
        frozenset,
        (
            *("áéíóúýþæöð", "áčďéěíňóřšťúůýž", "ąćęłńóśźż", "áéíóöőúüű", "áäčďéíĺľňóôŕšťúýž", "čćđšž", "ăâîșțşţ"),
            *("çğıi̇öşüâîû", "āčēģīķļņšūž", "ąčęėįšųūž", "ạảãàáăâđèéêìíòóôơùúưýẽĩũ"),
        ),
    )
)
_RUSSIAN = "абвгдеёжзийклмнопрстуфхцчшщъыьэюя"
_CYRILLIC_ALPHABETS = tuple(
    map(
        frozenset,
        (
            *(_RUSSIAN, "абвгґдеєжзиіїйклмнопрстуфхцчшщьюя", "абвгдеёжзійклмнопрстуўфхцчшыьэюя"),
            *("абвгдђежзијклљмнњопрстћуфхцчџш", "абвгдѓежзијклљмнњопрстќуфхцчџш"),
        ),
    )
)
#: More of a text does not make its looks plainer, and takes its time.
_EVIDENCE_CHARS = 2500
#: What no text has, whatever its language.
_IMPOSSIBLE = re.compile("[\x7f-\x84\x86-\x9f\ue000-\uf8ff\ufffd]")
_OTHER_THAN_ASCII = re.compile("[^\x00-\x7f]")


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
        rf"(?<={_LETTER})[{_SIGNS}„‚¿¡‘©•]|[{_SIGNS}](?={_LETTER})",
        rf"[¹²³](?={_LETTER})",
        rf"(?<=[A-Za-z])[{_OTHER_SCRIPT}]|[{_OTHER_SCRIPT}](?=[A-Za-z])",
        rf"(?<![{_OTHER_SCRIPT}])[{_OTHER_SCRIPT}](?![{_OTHER_SCRIPT}])",
        rf"(?<=[a-z{_LOWER}])[{_UPPER}]|[{_LOWER}](?=[A-Z])|(?<=[A-Z])[{_LOWER}](?=[A-Z{_UPPER}])",
        rf"(?<=[A-Z{_UPPER}])[{_UPPER}](?=[a-z{_LOWER}])",
        r"(?<=[a-z])[\u3400-\u9fff\uac00-\ud7a3\U00020000-\U0003ffff]",
        rf"(?<!\w)[®¯]|(?:(?<=\d)|(?<=\d ))[{_UPPER}](?!\w)|(?<!\w)[{_UPPER}](?= ?\d)",
        r"[\u3040-\u30ff\u4e00-\u9fff](?=[가-힣])|(?<=[가-힣])[\u3040-\u30ff\u4e00-\u9fff]",
        r"[ﬁﬂ]|ς(?=[α-ω])|(?<![\w\u0300-\u036f])[\u0300-\u036f]|(?<![\u0590-\u05ff])[\u05b0-\u05c2]",
        r"(?<=[^\x00-\x7f])@|@(?=[^\x00-\x7f])|”(?=[а-я])|(?<!\w)’(?=[α-ω])",
        r"(?<=[b-df-hj-np-tvwxz])[\u0300-\u036f]",
    ])
)  # fmt: skip
#: Signs that typewriters lack and word processors put in.
_TYPOGRAPHY = frozenset("©®™°±×½¼¾…–—‘’“”•€£§µ\xa0")
#: Those that are as likely a letter there.
_MISPLACED = re.compile(
    r"[^\W\d_](?:[©®±×½¼¾…–—‘“•€£§µ°]|[’\xa0](?!(?:s|t|d|m|re|ll|ve)\b)(?=[^\W\d_]))|[©®™±×½¼¾–—”•](?=[^\W\d_])"
)


def is_possible(text: str) -> bool:
    """Whether a text has none of the characters that no text has."""
    return not _IMPOSSIBLE.search(text)


def find_others(text: str) -> Sequence[str]:
    """The characters of a text that are not ASCII."""
    return _OTHER_THAN_ASCII.findall(text)


def is_typography(text: str) -> bool:
    """Whether all that is not ASCII is signs where people write them, as a dash between words or a degree."""
    others = find_others(text)
    return bool(others) and _TYPOGRAPHY.issuperset(others) and not (_MISPLACED.search(text) or _ODD.search(text))


def measure_plausibility(text: str) -> float:
    """Measure from 0 to 1 how much a text looks like one, by its beginning."""
    text = text[:_EVIDENCE_CHARS]
    chars = find_others(text)
    oddities = len(_ODD.findall(text))
    oddness = max(0.01, 1 - 2 * oddities / (len(chars) or 1)) * max(0.4, 0.8**oddities)
    return oddness * _coherence(chars)


def _coherence(chars: Sequence[str]) -> float:
    """How much of a text's letters one language has; of Cyrillic, all letters count, so that few others say much."""
    counts = Counter(char for char in "".join(chars).lower() if char.isalpha() and char != "µ")
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
