"""The picture of `make demo` in README: a recording of a real run, and its drawing.

    python docs/pictures/make_demo.py --record    runs `make demo` in a terminal, and keeps what it wrote, and when
    python docs/pictures/make_demo.py --write     draws the recording

What stays true: nothing on the picture was typed by hand, and the password of the demo's Flower is not on it; it needs
no network, neither to be drawn nor to be looked at; who asks for no motion, and every program that does not know any,
sees the whole of it.
"""

import itertools
import json
import os
import pty
import re
import subprocess
import sys
import time
from codecs import getincrementaldecoder
from collections.abc import Iterator
from html import escape
from pathlib import Path

from rich.text import Text

ROOT = Path(__file__).parents[2]
#: In the form of asciinema, version 2: a header, then a line of JSON for each piece of output.
RECORDING = Path(__file__).with_name("demo.cast")
PICTURE = Path(__file__).with_name("demo.svg")
COMMAND = "make demo"
COLUMNS = 132
#: Seconds that a pause of the recording takes in the picture, at most: nobody waits for a server's start.
PAUSE_MAX = 0.7
CHAR_WIDTH, LINE_HEIGHT, MARGIN, TITLE_HEIGHT = 7.3, 18, 16, 34
FOREGROUND, BACKGROUND = "#d7dae0", "#1b1f27"
COLORS = {
    "green": "#98c379",
    "red": "#e06c75",
    "yellow": "#e5c07b",
    "cyan": "#56b6c2",
    "blue": "#61afef",
    "magenta": "#c678dd",
}
#: A line is hidden until its time; without motion, all of them are shown.
STYLE = f"""
text {{ font: 12px ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace }}
text {{ fill: {FOREGROUND}; white-space: pre }}
@keyframes appear {{ from {{ visibility: hidden }} }}
@media (prefers-reduced-motion: no-preference) {{ .line {{ animation: appear 1ms backwards }} }}
"""


def record() -> None:
    """Run the command in a terminal of its own."""
    leader, follower = pty.openpty()
    size = {"COLUMNS": str(COLUMNS), "LINES": "50", "TERM": "xterm-256color"}
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("THREADMILL_", "CELERY_"))}
    process = subprocess.Popen(  # noqa: S603 - the command above, of this project
        COMMAND.split(), cwd=ROOT, env=clean | size, stdin=follower, stdout=follower, stderr=follower
    )
    os.close(follower)
    started, lines = time.monotonic(), [json.dumps({"version": 2, "width": COLUMNS, "height": 50, "title": COMMAND})]
    # A piece may end in the middle of a character.
    decoder = getincrementaldecoder("utf-8")()
    while chunk := _read(leader):
        said = re.sub(r"password \S+", "password ********", decoder.decode(chunk))
        lines.append(json.dumps([round(time.monotonic() - started, 3), "o", said], ensure_ascii=False))
    if process.wait() != 0:
        raise SystemExit(f"{COMMAND} ended with {process.returncode}")
    RECORDING.write_text("\n".join(lines) + "\n")


def _read(leader: int) -> bytes:
    try:
        return os.read(leader, 65536)
    except OSError:  # Linux says so that the other end was closed.
        return b""


def read_lines() -> Iterator[tuple[float, Text]]:
    """The lines of the recording, each with the second of the picture at which it is complete."""
    _, *pieces = [json.loads(line) for line in RECORDING.read_text().splitlines()]
    at, before, rest = 0.0, 0.0, ""
    for moment, _, said in pieces:
        at, before = at + min(moment - before, PAUSE_MAX), moment
        *complete, rest = (rest + said).replace("\r\n", "\n").split("\n")
        for line in complete:
            # What a carriage return overwrote was there for a moment only.
            text = Text.from_ansi(line.rpartition("\r")[2])
            for part in text.divide(range(COLUMNS, len(text), COLUMNS)):
                yield at, part


def draw() -> str:
    """Draw the recording, line after line at its time."""
    lines = [(0.0, Text(f"$ {COMMAND}", style="bold")), *read_lines()]
    width, height = round(COLUMNS * CHAR_WIDTH + 2 * MARGIN), TITLE_HEIGHT + len(lines) * LINE_HEIGHT + 2 * MARGIN
    buttons = "".join(
        f'<circle cx="{20 + 18 * place}" cy="18" r="5" fill="{COLORS[color]}"/>'
        for place, color in enumerate(("red", "yellow", "green"))
    )
    rows = [_draw_line(row, at, text) for row, (at, text) in enumerate(lines)]
    return f"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" aria-label="{COMMAND}">
<title>{COMMAND}: recorded by docs/pictures/make_demo.py</title>
<style>{STYLE}</style>
<rect width="{width}" height="{height}" rx="8" fill="{BACKGROUND}"/>
{buttons}
{"".join(rows)}</svg>
"""


def _draw_line(row: int, at: float, text: Text) -> str:
    if not text.plain.strip():
        return ""
    y = TITLE_HEIGHT + MARGIN + row * LINE_HEIGHT
    parts = "".join(_draw_part(text, start, end) for start, end in _runs(text))
    return f'<text class="line" x="{MARGIN}" y="{y}" style="animation-delay:{at:.2f}s">{parts}</text>\n'


def _runs(text: Text) -> Iterator[tuple[int, int]]:
    """The pieces of a line within which its style stays the same."""
    edges = sorted({0, len(text.plain), *(edge for span in text.spans for edge in (span.start, span.end))})
    return ((start, end) for start, end in itertools.pairwise(edges) if start < end)


def _draw_part(text: Text, start: int, end: int) -> str:
    from rich.console import Console

    style = text.get_style_at_offset(Console(), start)
    said = escape(text.plain[start:end], quote=False)
    color = COLORS.get(style.color.name.removeprefix("bright_")) if style.color else None
    looks = f' fill="{color}"' if color else ""
    looks += ' font-weight="bold"' if style.bold else ""
    looks += ' opacity="0.6"' if style.dim else ""
    return f"<tspan{looks}>{said}</tspan>" if looks else said


if __name__ == "__main__":
    if "--record" in sys.argv:
        record()
    if "--write" in sys.argv:
        PICTURE.write_text(draw())
    else:
        print(draw())
