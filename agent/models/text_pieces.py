"""Text of an answer, put together from its pieces: what users see, and the reasoning in front of it.

What stays true: the texts that `add` and `end` return are, joined, the text of the answer, and they
are the same however it was cut into pieces.

A model may think aloud between tags at the very beginning; in mid-text such a tag is text.
"""

import re

#: Characters of an answer's text, and of its reasoning, at most: more than any model writes at once.
TEXT_MAX_CHARS = 2_000_000

_OPENING_TAGS = ("<think>", "<thinking>", "<thought>", "<budget:thinking>")
_CLOSING_TAG = re.compile(r"</(?:think|thinking|thought|budget:thinking)>")
_LONGEST_CLOSING_TAG = len("</budget:thinking>")
_HIGH_HALF = re.compile("[\ud800-\udbff]$")
_LONE_HALF = re.compile("[\ud800-\udfff]")


def join_halves(text: str) -> str:
    """The text with characters whose two halves came apart, as servers send them; a lone half is replaced."""
    if not _LONE_HALF.search(text):
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


class TextPieces:
    """Splits the pieces of an answer into its text and its reasoning."""

    def __init__(self) -> None:
        self._shown: list[str] = []
        self._reasoning: list[str] = []
        #: What came and is not decided yet: it may be a tag, space in front of one, or half a character.
        self._pending = ""
        self._is_thinking = False
        self._is_at_beginning = True
        #: Blank lines that separate reasoning from the answer belong to neither.
        self._skips_blank_lines = False
        self.chars = 0

    def add(self, piece: str) -> str:
        """Take a piece of the answer. Returns the text that users see now, perhaps none."""
        self.chars += len(piece)
        self._pending += piece
        half = ""
        if _HIGH_HALF.search(self._pending):
            self._pending, half = self._pending[:-1], self._pending[-1]
        shown_text = self._take_text()
        self._pending += half
        return shown_text

    def add_reasoning(self, piece: str) -> None:
        """Take a piece of the reasoning that came in a field of its own."""
        if not piece:
            return
        self.chars += len(piece)
        self._reasoning.append(piece)
        self._skips_blank_lines = self._skips_blank_lines or not self._shown

    def end(self) -> str:
        """End the answer. Returns the text that was held back."""
        pending, self._pending = self._pending, ""
        if self._is_thinking:
            self._reasoning.append(pending)
            return ""
        return self._show(pending)

    @property
    def text(self) -> str:
        return "".join(self._shown)

    @property
    def reasoning(self) -> str | None:
        return join_halves("".join(self._reasoning)) or None

    def _take_text(self) -> str:
        while self._is_at_beginning:
            if self._is_thinking:
                if not self._take_reasoning():
                    return ""
                continue
            stripped_text = self._pending.lstrip()
            tag = next((tag for tag in _OPENING_TAGS if stripped_text.startswith(tag)), None)
            if tag is not None:
                self._is_thinking = self._skips_blank_lines = True
                self._pending = stripped_text.removeprefix(tag)
                continue
            if any(tag.startswith(stripped_text) for tag in _OPENING_TAGS):
                return ""
            self._is_at_beginning = False
        text, self._pending = self._pending, ""
        return self._show(text)

    def _take_reasoning(self) -> bool:
        """Take reasoning up to its closing tag. Returns whether that came."""
        match = _CLOSING_TAG.search(self._pending)
        if match is None:
            kept_chars = _LONGEST_CLOSING_TAG - 1
            self._reasoning.append(self._pending[:-kept_chars])
            self._pending = self._pending[-kept_chars:]
            return False
        self._reasoning.append(self._pending[: match.start()])
        self._pending = self._pending[match.end() :]
        self._is_thinking = False
        return True

    def _show(self, text: str) -> str:
        if self._skips_blank_lines and not self._shown:
            text = text.lstrip()
        if not text:
            return ""
        text = join_halves(text)
        self._shown.append(text)
        return text
