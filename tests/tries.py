"""What tests tried as an enemy would, and how often it succeeded: a table of the page on security.

`WRITE_PAGES=1` has each test write its row; without it, the test's figures and those of the page have to be the same.
"""

import os
from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs/explanation/security.md"
HEAD = "| what is tried | tries | successes |\n|---|---|---|\n"


def check_tries(group: str, *, tries: int, successes: int) -> None:
    """Hold a group's figures against its row of the page, or write the row. A success is an enemy's."""
    row = f"| {group} | {tries:,} | {successes} |"
    before, _, behind = PAGE.read_text().partition(HEAD)
    table, _, rest = behind.partition("\n\n")
    if not os.environ.get("WRITE_PAGES"):
        assert row in table.splitlines(), f"WRITE_PAGES=1 writes into {PAGE.name}: {row}"
        return
    rows = {line.split(" | ")[0]: line for line in table.splitlines()}
    rows[f"| {group}"] = row
    PAGE.write_text(before + HEAD + "\n".join(rows.values()) + "\n\n" + rest)
