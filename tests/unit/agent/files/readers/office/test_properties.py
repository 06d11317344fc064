"""Properties of office documents: what people wrote, and nothing that programs did."""

import time
from xml.etree import ElementTree as ET

import pytest

from agent.files.readers.office.properties import PROPERTY_MAX_CHARS, describe_open_properties, describe_properties
from agent.files.readers.sections import TextSections


@pytest.mark.parametrize(
    ("properties", "lines"),
    [
        ("<title> The\n plan </title><creator>Ann</creator><revision>7</revision>", ["Title: The plan", "Author: Ann"]),
        ("<title>PowerPoint Presentation</title><creator>python-docx</creator><creator>openpyxl</creator>", []),
        ("<property name='Client'><lpwstr>Acme</lpwstr></property>", ["Client: Acme"]),
    ],
)
def test_what_people_wrote_is_a_line_each(properties: str, lines: list[str]) -> None:
    sections = TextSections(time.monotonic() + 60, 1000)

    assert list(describe_properties(ET.fromstring(f"<p>{properties}</p>"), sections)) == lines


def test_the_creator_of_an_open_document_is_who_saved_it_last() -> None:
    sections = TextSections(time.monotonic() + 60, 1000)
    meta = ET.fromstring(
        "<m><meta><initial-creator>Ann</initial-creator><creator>Bob</creator>"
        f"<user-defined>{'x' * (PROPERTY_MAX_CHARS + 1)}</user-defined></meta></m>"
    )

    assert list(describe_open_properties(meta, sections)) == ["Author: Ann", "Last saved by: Bob"]
    assert sections.result()["left_out"] == {"custom property": 1}
