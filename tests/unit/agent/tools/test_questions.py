"""Questions of tools: what nobody could answer is refused where it is asked."""

from datetime import date
from itertools import count
from typing import Any, Literal

import pytest

from agent.tools.questions import AnswerNeeded, CallQuestions
from conversation.errors import InvalidInput


@pytest.mark.parametrize(
    ("type", "choices"),
    [
        (str, ["single", "double"]),
        (int, [1, 2]),
        (float, (1, 2.5)),
        (bool, [True]),
        (Literal["a", "b"], ["a"]),
        (date, ["2030-01-31"]),
        (list[int], [[1], [2, 3]]),
        (str, [str(number) for number in range(100)]),
    ],
)
def test_choices_are_of_the_type_of_the_answer(type: Any, choices: Any) -> None:  # noqa: A002
    with pytest.raises(AnswerNeeded) as asked:
        CallQuestions().ask("Which?", type=type, choices=choices)

    assert asked.value.question.choices == list(choices)


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"text": ""}, "question"),
        ({"text": " \n"}, "question"),
        ({"text": 5}, "question"),
        ({"choices": "abc"}, "choices"),
        ({"choices": []}, "choices"),
        ({"choices": 5}, "choices"),
        ({"choices": ["a"] * 101}, "choices"),
        ({"choices": (str(number) for number in count())}, "choices"),
        ({"choices": [object()]}, "choices"),
        ({"choices": [1, 2]}, "choices"),
        ({"choices": ["1"], "type": float}, "choices"),
        ({"choices": ["c"], "type": Literal["a", "b"]}, "choices"),
    ],
)
def test_what_nobody_could_answer_is_refused(values: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput, match=f"^{field}: "):
        CallQuestions().ask(**{"text": "Which?"} | values)
