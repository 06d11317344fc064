"""markitdown, the reader of documents that one would take instead, in the baselines' environment.

    .venv/bench/bin/python benchmarks/converter.py .docx < FILE    prints its text
    .venv/bench/bin/python benchmarks/converter.py FOLDER          reads all files in it, and tells how long each took

Nothing of ours is imported here.
"""

import io
import json
import logging
import sys
import time
import warnings
from pathlib import Path

from markitdown import MarkItDown, StreamInfo


def convert(converter: MarkItDown, content: bytes, suffix: str) -> str:
    """The text of a file; "" where it has none, or is not read."""
    try:
        return str(converter.convert_stream(io.BytesIO(content), stream_info=StreamInfo(extension=suffix)).markdown)
    except Exception:  # noqa: BLE001 - what a converter cannot read is counted, whatever it raises
        return ""


def convert_all(folder: Path) -> None:
    """Convert the files of a folder in one process, and print their texts and the milliseconds of each."""
    converter, texts, milliseconds = MarkItDown(), {}, {}
    for path in sorted(folder.iterdir()):
        content, started = path.read_bytes(), time.process_time()
        texts[path.name] = convert(converter, content, path.suffix)
        milliseconds[path.name] = 1000 * (time.process_time() - started)
    print(json.dumps({"texts": texts, "milliseconds": milliseconds}))


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    if sys.argv[1].startswith("."):
        print(convert(MarkItDown(), sys.stdin.buffer.read(), sys.argv[1]))
    else:
        convert_all(Path(sys.argv[1]))
