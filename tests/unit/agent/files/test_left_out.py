"""What a file's text does not show is said in a sentence, by its kinds and how many of each."""

import time

import pytest

from agent.files import prepare
from agent.files.extract import Extracted
from agent.files.prepare import prepare_file
from agent.files.readers.sections import TextSections


@pytest.mark.parametrize(
    ("extracted", "note"),
    [
        (Extracted("text"), None),
        (Extracted("text", left_out={"chart": 1, "embedded file": 2}), "Not shown: 1 chart, 2 embedded files."),
        (Extracted("text", left_out={"entry": 2, "key": 3}), "Not shown: 2 entries, 3 keys."),
        (
            Extracted("", problem="It is a scan.", remarks=("It was guessed.",), left_out={"picture": 1}),
            "It is a scan. It was guessed. Not shown: 1 picture.",
        ),
    ],
)
async def test_the_note_says_what_is_missing(
    extracted: Extracted, note: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def extract(_content: bytes, _media_type: str, **_options: str) -> Extracted:
        return extracted

    monkeypatch.setattr(prepare, "extract_text", extract)

    prepared = await prepare_file(b"", "text/plain")

    assert (prepared.note, prepared.left_out) == (note, extracted.left_out)


def test_sections_count_what_is_left_out_and_say_a_remark_once() -> None:
    sections = TextSections(time.monotonic() + 60, max_chars=100)

    for _ in range(2):
        sections.leave_out("picture")
        sections.remark("Changes are shown as accepted.")
    sections.leave_out("chart", 0)

    result = sections.result()
    assert (result["left_out"], result["remarks"]) == ({"picture": 2}, ["Changes are shown as accepted."])
