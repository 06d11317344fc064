"""Questions that a tool asks the user in the middle of a call.

What stays true: a question that nobody has answered yet ends the call; once it is answered, the tool begins anew, and
its questions get their answers in the order of asking. What a tool does before it asks is done again.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from conversation.arguments import take_items
from conversation.errors import InvalidInput
from conversation.pending_call import Decision, DecisionKind
from conversation.quotation import quote
from conversation.validation import check_metadata, check_text

#: Characters of a question.
QUESTION_MAX_CHARS = 4_000
CHOICES_MAX = 100
#: Errors of a group that are looked at: tools raise what they like.
ERRORS_MAX = 1_000


class AnswerNeeded(BaseException):
    """A question without an answer: the call stops here, and the turn waits."""

    def __init__(self, question: "Question") -> None:
        super().__init__("a question waits for its answer")
        self.question = question


class QuestionDeclined(Exception):
    """The user would not answer. A tool that lets it pass reports it to the model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A question to the user."""

    #: Its place among the questions of its call, from 0.
    position: int
    text: str
    choices: Sequence[Any] | None = None
    #: The JSON schema of the answer.
    schema: Mapping[str, Any] | None = None


@dataclass(slots=True)
class CallQuestions:
    """The questions of one call, with the answers that there are."""

    answers: Mapping[int, Decision] = field(default_factory=dict)
    _asked: int = 0

    def ask(self, text: str, *, type: Any = str, choices: Sequence[Any] | None = None) -> Any:  # noqa: A002
        """The answer to the next question. Raises `AnswerNeeded` where there is none yet, and `QuestionDeclined`."""
        if not check_text("question", text, max_chars=QUESTION_MAX_CHARS).strip():
            raise InvalidInput("question", "is empty", "ask something")
        listed = None if choices is None else _check_choices(choices, type)
        position, self._asked = self._asked, self._asked + 1
        decision = self.answers.get(position)
        if decision is None:
            schema = _adapter_of(type).json_schema()
            raise AnswerNeeded(Question(position=position, text=text, choices=listed, schema=schema))
        if decision.kind is DecisionKind.DENY:
            raise QuestionDeclined(decision.reason or "the user did not want to answer")
        return _adapter_of(type).validate_python(decision.value)


def _check_choices(choices: Sequence[Any], type: Any) -> list[Any]:  # noqa: A002
    """The choices as JSON: one of another type than the answer's could be chosen by nobody."""
    listed: list[Any] = check_metadata("choices", {"choices": take_items("choices", choices, CHOICES_MAX)})["choices"]
    if not listed:
        raise InvalidInput("choices", "are none", f"pass 1 to {CHOICES_MAX}, or None")
    for choice in listed:
        try:
            _adapter_of(type).validate_json(json.dumps(choice), strict=True)
        except ValueError:
            raise InvalidInput("choices", f"hold {quote(choice)}", "pass choices of the answer's type") from None
    return listed


@lru_cache(maxsize=256)
def _adapter_of(type: Any) -> Any:  # noqa: A002
    from pydantic import TypeAdapter

    return TypeAdapter(type)


def find_question(error: BaseException | None) -> Question | None:
    """The question with which a call stopped, within a group of errors, too; None of any other error."""
    errors, seen = [error], 0
    while errors and seen < ERRORS_MAX:
        one, seen = errors.pop(), seen + 1
        if isinstance(one, AnswerNeeded):
            return one.question
        if isinstance(one, BaseExceptionGroup):
            # The group's own list: a class of a tool's may have made another of it.
            errors += BaseExceptionGroup.exceptions.__get__(one)
    return None
