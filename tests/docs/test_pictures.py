"""Pictures on the pages are what their programs draw, small, and whole without a network."""

import json
import re
import runpy
from xml.etree import ElementTree as ET

from tests.docs.pages import ROOT, pages

PICTURES = ROOT / "docs" / "pictures"
#: Bytes of a picture: a page with it is to open at once.
SIZE_MAX = 150_000


def test_the_picture_of_the_demo_is_drawn_from_its_recording() -> None:
    program = runpy.run_path(str(PICTURES / "make_demo.py"))
    drawn = (PICTURES / "demo.svg").read_text("utf-8")
    header, *pieces = [json.loads(line) for line in (PICTURES / "demo.cast").read_text("utf-8").splitlines()]

    assert drawn == program["draw"](), "run: python docs/pictures/make_demo.py --write"
    assert (header["title"], pieces[-1][1]) == ("make demo", "o")
    said = "".join(ET.fromstring(drawn).itertext())
    assert "killed" in said
    assert "Traceback" not in said
    assert set(re.findall(r"https?://[\w.]+", drawn)) <= {"http://www.w3.org", "http://127.0.0.1"}
    assert len(drawn.encode()) <= SIZE_MAX


def test_pictures_on_pages_are_there() -> None:
    missing = [
        f"{page.name}: {path}"
        for page in pages()
        for path in re.findall(r"!\[[^\]]*\]\(([^)\s]+)\)", page.read_text("utf-8"))
        if not (page.parent / path).is_file()
    ]

    assert missing == []
