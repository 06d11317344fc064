"""The lines of a document, as far as its time goes."""

import time

from agent.files.readers.office.pages import Pages
from agent.files.readers.sections import TextSections


def test_a_document_of_which_only_a_beginning_was_read_is_not_said_to_hold_no_text() -> None:
    pages = Pages(TextSections(time.monotonic() - 1, 1000))

    pages.fill(["", ""])

    result = pages.result()
    assert "it takes too much time" in result["problem"]
    assert result["remarks"] == []
