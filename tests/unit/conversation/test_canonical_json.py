"""Equal values have one text, whatever language wrote them."""

from typing import Any

import pytest

from conversation.canonical_json import canonical_json


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"b": [1, True, None], "a": {}, "": []}, '{"":[],"a":{},"b":[1,true,null]}'),
        ({"z": 1, "ä": "\n\x1f\"\\é/"}, '{"z":1,"ä":"\\n\\u001f\\"\\\\é/"}'),
        (1.0, "1"),
        (2.50, "2.5"),
        (1e-7, "0.0000001"),
        (-0.0, "0"),
        (-1.25, "-1.25"),
        (10.0, "10"),
        (10**30, "1" + "0" * 30),
    ],
)  # fmt: skip
def test_a_value_has_one_text(value: Any, text: str) -> None:
    assert canonical_json(value) == text
