"""Finding what a summary must not lose: ids, dates and amounts, and the sentences that matter with them.

What stays true: all of it is found by pattern, so that equal text gives equal finds, whatever model
wrote the summary. Patterns know English; ids, dates and amounts look alike in most languages. The time grows as the
text does, whatever is in it.
"""

import re
from collections.abc import Iterable, Iterator

from conversation.long_text import find_matches, has_match

#: Characters of a sentence that is repeated. A longer one is pasted material: half of it could say
#: the opposite.
SENTENCE_MAX_CHARS = 500

_UUID = r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
# From its first character alone: else a word of a million letters is read anew from each of them.
_EMAIL = r"(?<![\w.+-])[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}"
_ORDER = r"#?\b[A-Z]{1,5}-?\d{3,12}\b|#\w*\d\w*"
_MONTH = r"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]*"
_DATE = (
    r"\d{4}-\d{2}-\d{2}(?:[T ]\d{2}:\d{2})?|\d{1,2}[./]\d{1,2}[./]\d{2,4}"
    rf"|\d{{1,2}}(?:st|nd|rd|th)? {_MONTH}(?: \d{{4}})?|{_MONTH} \d{{1,2}}(?:st|nd|rd|th)?(?:,? \d{{4}})?"
)
_FIGURE = r"\d[\d,.]{0,30}"
# From its first digit alone, as an address.
_WHOLE_FIGURE = rf"(?<!\d)(?<!\d[,.]){_FIGURE}"
_AMOUNT = (
    rf"[$€£¥]\s?{_FIGURE}(?<=\d)"
    rf"|{_WHOLE_FIGURE}\s?(?:[€£¥$]|(?:USD|EUR|GBP|CHF|JPY|dollars|euros?)\b)"
    rf"|(?:USD|EUR|GBP|CHF|JPY)\s?{_FIGURE}(?<=\d)"
)
#: What identifies something: nothing else can stand for it.
_IDS = re.compile("|".join((_UUID, _EMAIL, _ORDER)))
#: What is worth a sentence of its own in a summary.
_STRONG = re.compile("|".join((_UUID, _EMAIL, _DATE, _AMOUNT, _ORDER)))
_NUMBER = re.compile(r"\d+(?:[.,:]\d+)*")
#: A capitalized word that does not begin its sentence.
_NAME = re.compile(r"(?<=[\w,;:'\"(] )[A-Z][a-z]{2,}|(?<=[\w,;:] \()[A-Z][a-z]{2,}")
_CLOSED_REQUEST = re.compile(r"(?:done|closed|finished): (.+)", re.IGNORECASE)
_WORD = re.compile(r"[^\W\d_]+")
#: Letters of Thai, Lao, Japanese and Chinese, where nothing stands between words.
_UNSPACED_SCRIPT = re.compile("[\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff]")
#: Characters of a word that tells what a sentence is about, at least.
_CONTENT_CHARS = 4
#: Longer words that do not, for many requests and preferences are made with them.
_COMMON_WORDS = frozenset(
    _WORD.findall(
        "about after again always been before call could does every follow from have here into just "
        "like likes love make more must need needs never open order other please prefer prefers "
        "remember remind send should some still sure than thanks that their them then there they "
        "this wants want were what when where which will with would your"
    )
)
_SENTENCE_END = re.compile(r"(?<=[.!?…])\s+|\n+")
_TASK = re.compile(
    r"\b(?:to-?do|remind me|don't forget|do not forget|remember to|follow up|still (?:need|have|has) to|"
    r"(?:still|remains?) open|open task|action item|needs? to be|by (?:monday|tuesday|wednesday|thursday|"
    r"friday|saturday|sunday|tomorrow)|deadline|is pending|please (?:send|book|call|order|refund|cancel|"
    r"check|ship|schedule|exchange|return|change))\b",
    re.IGNORECASE,
)
_PREFERENCE = re.compile(
    r"\b(?:i|we) (?:\w+ )?(?:prefer|like|love|hate|dislike|don't like|do not like|don't want|do not want)\b"
    r"|\bcall me\b|\bmy name is\b|\balways\b|\bnever\b|\bfrom now on\b|\bi am allergic\b|\bi'm allergic\b"
    r"|\bprefers?\b|\bpreferences?\b",
    re.IGNORECASE,
)
_DECISION = re.compile(
    r"\b(?:we|i|you)(?:'ve| have)? (?:\w+ )?(?:decided?|agreed?|settled|chose|choose|opted)\b|\bdecision\b"
    r"|\blet's (?:go with|take|use)\b|\b(?:i|we)(?:'ll| will) (?:take|go with)\b"
    r"|\bit is (?:settled|agreed)\b",
    re.IGNORECASE,
)
_NAMING = re.compile(
    r"\b(?:named?|called|surname|nickname|my (?:wife|husband|partner|son|daughter|mother|father|sister|"
    r"brother|boss|colleague|doctor|lawyer|neighbou?r|friend|cat|dog)|our (?:client|team|company))\b",
    re.IGNORECASE,
)
_COUNTING = re.compile(
    r"\b(?:numbers?|code|pin|room|seat|gate|flight|size|version|account|phone|extension|age|floor|"
    r"budget|weighs?|measures?|height|width|length)\b|\d ?(?:kg|g|km|m|cm|mm|l|ml|°C|°F|%|years?|months?|"
    r"weeks?|days?|hours?|minutes?|people|persons|nights?|pieces|seats|rooms)\b",
    re.IGNORECASE,
)


def ids_in(text: str) -> set[str]:
    """Order ids, UUIDs and mail addresses."""
    return {match[0] for match in find_matches(_IDS, text)}


def strong_values_in(text: str) -> set[str]:
    """Ids, and dates and amounts."""
    return {match[0] for match in find_matches(_STRONG, text)}


def values_in(text: str) -> set[str]:
    """Ids, dates, amounts, every other number, and names."""
    values: set[str] = set()
    between: list[str] = []
    end = 0
    for match in find_matches(_STRONG, text):
        values.add(match[0])
        between.append(text[end : match.start()])
        end = match.end()
    remainder = " ".join((*between, text[end:]))
    values.update(match[0] for match in find_matches(_NUMBER, remainder))
    return values | {match[0] for match in find_matches(_NAME, text)}


def words_in(text: str) -> set[str]:
    """All words, of letters alone and in one case."""
    return {match[0].casefold() for match in find_matches(_WORD, text)}


def content_words_in(text: str) -> set[str]:
    """The words that tell what a text is about; the longest that it has where all are short."""
    words = words_in(text) - _COMMON_WORDS or words_in(text)
    min_chars = min(_CONTENT_CHARS, max(map(len, words), default=0))
    return {word for word in words if len(word) >= min_chars}


def has_separable_words(text: str) -> bool:
    """Whether the words of a text can be told apart."""
    return not has_match(_UNSPACED_SCRIPT, text)


def match_closed_request(sentence: str) -> str | None:
    """The request that a sentence says is over: what follows `done: `; None for any other sentence."""
    match = _CLOSED_REQUEST.fullmatch(sentence)
    return match[1] if match else None


def is_task(sentence: str) -> bool:
    """Whether a sentence says that something has to be done."""
    return has_match(_TASK, sentence)


def is_preference(sentence: str) -> bool:
    """Whether a sentence says how a user wants to be treated."""
    return has_match(_PREFERENCE, sentence)


def is_decision(sentence: str) -> bool:
    """Whether a sentence says what was decided."""
    return has_match(_DECISION, sentence)


def is_naming(sentence: str) -> bool:
    """Whether a sentence says who or what is called how."""
    return has_match(_NAMING, sentence) and has_match(_NAME, sentence)


def is_counting(sentence: str) -> bool:
    """Whether a sentence says which number something has."""
    return has_match(_COUNTING, sentence) and has_match(_NUMBER, sentence)


def is_protected(sentence: str) -> bool:
    """Whether a sentence holds anything that a summary must not lose."""
    predicates = (is_task, is_preference, strong_values_in, is_decision, is_naming, is_counting)
    return any(find(sentence) for find in predicates)


def sentences_of(texts: Iterable[str]) -> Iterator[str]:
    """The sentences of texts that can be repeated, each on one line."""
    for text in texts:
        for _, sentence in sentence_ends(text):
            if len(sentence) <= SENTENCE_MAX_CHARS:
                yield sentence


def sentence_ends(text: str) -> Iterator[tuple[int, str]]:
    """The sentences of a text, of any length, each on one line and with the offset where it ends."""
    begin = 0
    for match in (*_SENTENCE_END.finditer(text), None):
        end = len(text) if match is None else match.start()
        if sentence := " ".join(text[begin:end].split()):
            yield end, sentence
        begin = end if match is None else match.end()
