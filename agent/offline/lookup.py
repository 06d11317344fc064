"""Looking up a sentence by the words it shares with a question: all the knowledge of `offline/recall`.

What stays true: equal input, equal answer; of two equally good sentences the later one wins,
because what was said last corrects what was said before.
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

#: Matches that are quoted: the best, and a second opinion.
MATCHES_MAX = 2
#: Characters of one quoted sentence.
SENTENCE_MAX_CHARS = 400
#: Values of one tool result that are scanned.
VALUES_MAX = 500

_SENTENCE_END = re.compile(r"(?<=[.!?…])\s+|\n+")
_WORD = re.compile(r"\w+")
_QUESTION_WORDS = frozenset(
    _WORD.findall(
        "what who whom whose which when where why how is are was were do does did can could will would should"
    )
)
#: Words that say nothing about the subject of a question.
_EMPTY_WORDS = _QUESTION_WORDS | frozenset(
    _WORD.findall(
        "a about an and at be been by for from had has have i in it its me my of on or our please s t tell "
        "that the their them there they this to we with you your"
    )
)


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence that may be quoted."""

    text: str
    #: Where the sentence stands, in words: `message 3`, `attached invoice.pdf`.
    origin: str


def is_question(text: str) -> bool:
    """Whether a text holds a question mark, or begins with a question's first word."""
    first = _WORD.search(text)
    return "?" in text or (first is not None and first[0].casefold() in _QUESTION_WORDS)


def text_sentences(text: str, *, origin: str) -> list[Sentence]:
    """The sentences of a user's text. Questions are left out: they answer nothing."""
    return [Sentence(part, origin) for part in _split(text) if not part.endswith("?")]


def file_sentences(text: str, *, origin: str) -> list[Sentence]:
    """The sentences or lines of a file."""
    return [Sentence(part, origin) for part in _split(text)]


def result_sentences(text: str, *, origin: str) -> list[Sentence]:
    """A tool's JSON as lines of `path: value`; other text as sentences."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return file_sentences(text, origin=origin)
    if isinstance(value, str):
        return file_sentences(value, origin=origin)
    leaves = zip(_leaves(value, ""), range(VALUES_MAX), strict=False)
    return [Sentence(_shorten(leaf), origin) for leaf, _ in leaves]


def best_matches(question: str, sentences: Sequence[Sentence]) -> list[Sentence]:
    """The sentences that share most words with the question, the best first; none if they share no word."""
    question_words = _words(question)
    scored_entries = [
        (len(question_words & _words(sentence.text)), place, sentence) for place, sentence in enumerate(sentences)
    ]
    ranked_entries = sorted((entry for entry in scored_entries if entry[0]), key=lambda entry: entry[:2], reverse=True)
    best_entries = ranked_entries[:1] + [
        entry for entry in ranked_entries[1:MATCHES_MAX] if entry[0] * 2 > ranked_entries[0][0]
    ]
    return [sentence for _score, _place, sentence in best_entries]


def _split(text: str) -> Iterator[str]:
    return (_shorten(part.strip()) for part in _SENTENCE_END.split(text) if part.strip())


def _leaves(value: object, path: str) -> Iterator[str]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _leaves(item, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list):
        for item in value:
            yield from _leaves(item, path)
    else:
        yield f"{path}: {value}" if path else str(value)


def _words(text: str) -> frozenset[str]:
    words = {word.casefold() for word in _WORD.findall(text)} - _EMPTY_WORDS
    return frozenset(_singular(word) for word in words)


def _singular(word: str) -> str:
    return word[:-1] if len(word) > 3 and word.endswith("s") else word


def _shorten(text: str) -> str:
    return text if len(text) <= SENTENCE_MAX_CHARS else text[: SENTENCE_MAX_CHARS - 1] + "…"
