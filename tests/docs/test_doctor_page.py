"""The page about `threadmill doctor` tells every check."""

import re

from store.doctor import CHECKS
from tests.docs.pages import ROOT


def test_every_check_is_told_in_its_order_with_its_words() -> None:
    text = (ROOT / "docs" / "how-to" / "find-and-repair.md").read_text()
    rows = re.findall(r"^\| `([a-z-]+)` \| .* \| (.*) \|$", text, re.MULTILINE)

    assert [name for name, _ in rows] == [check.name for check in CHECKS]
    # What has no repair says so.
    assert [name for name, does in rows if does.startswith("nothing")] == [
        check.name for check in CHECKS if check.repair is None
    ]
