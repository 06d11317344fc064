"""A program that reads one HTML page from stdin, under limits, and writes its text as JSON to stdout.

What stays true: it runs alone, fetches nothing, writes no file, and is dead after its limits of
time, whether or not its parent is left to kill it. It is started by its path: see `page.py`.
"""

import json
import sys
from pathlib import Path
from typing import Any

#: Of a title: the rest says nothing new.
TITLE_MAX_CHARS = 300


def main() -> None:
    """Read a page from standard input, and write its text."""
    # Started by its path, the program does not know yet where its own packages are.
    sys.path.append(str(Path(__file__).resolve().parents[2]))
    import threadmill_packages

    threadmill_packages.pin()
    from agent.files.extract_worker import restrain

    options = json.loads(sys.argv[1])
    restrain(options)
    html = sys.stdin.buffer.read().decode()
    sys.stdout.write(json.dumps(read(html, options["url"], options["format"], options["max_chars"])))


def read(html: str, url: str, page_format: str, max_chars: int) -> dict[str, Any]:
    """Read title and text; both are empty where there is no page in the bytes."""
    from trafilatura import extract, html2txt, load_html

    tree = load_html(html)
    if tree is None:
        return {"title": "", "text": ""}
    title = " ".join((tree.findtext(".//title") or "").split())
    is_markdown = page_format == "markdown"
    # The extractor would take every relative link as one from the root.
    tree.make_links_absolute(url, handle_failures="ignore")
    text = extract(
        tree,
        url=url,
        output_format="markdown" if is_markdown else "txt",
        include_links=is_markdown,
        include_comments=False,
    )
    # Where no article is found, all text is better than none.
    text = (text or html2txt(html)).strip()
    return {"title": title[:TITLE_MAX_CHARS], "text": text[:max_chars]}


if __name__ == "__main__":
    main()
