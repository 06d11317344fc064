"""The web tools as a model calls them: pages to read, files to keep, and what is told of it."""

import asyncio
import gzip
import json
import logging
import subprocess
import sys
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from agent.web import WEB_TOOLS, WebLimits, web_tools
from agent.web import page as page_module
from tests.integration.agent.web.site import Site, answer, call, endless, fetched

pytestmark = pytest.mark.soak

PAGE = """<!doctype html><html><head><title> The  Mill </title>
<script>var hidden = 1</script><style>p{}</style></head>
<body><nav><a href="/home">Home</a> <a href="/shop">Shop</a></nav>
<article><h1>How a mill works</h1><p>The river turns the <b>wheel</b>, and the wheel turns the stone, which
grinds the corn: see <a href="wheel?size=2">the wheel</a> for more of it. Größe: ü.</p>
<ul><li>wheel</li><li>stone</li></ul></article>
<script>alert("hidden")</script><footer>Copyright notice of the owner</footer></body></html>"""


async def test_a_page_is_cut_down_to_its_text(site: Site) -> None:
    site.routes["/a/page"] = answer(PAGE, kind="text/html; charset=utf-8")

    page = await fetched(site, "/a/page?token=hush")

    assert page["title"] == "The Mill"
    assert page["url"] == site.url("/a/page?…")
    assert "# How a mill works" in page["content"]
    assert f"[the wheel]({site.url('/a/wheel?size=2')})" in page["content"]
    assert "- wheel" in page["content"]
    for unwanted in ("hidden", "Shop", "Copyright", "<"):
        assert unwanted not in page["content"]
    assert "note" not in page


async def test_plain_text_of_a_page_has_no_marks(site: Site) -> None:
    site.routes["/"] = answer(PAGE, kind="text/html; charset=utf-8")

    page = await fetched(site, "/", format="text")

    assert "How a mill works" in page["content"]
    assert not {"#", "*", "["} & set(page["content"])


@pytest.mark.parametrize(
    ("head", "encoding", "kind"),
    [
        ("", "iso-8859-1", "text/html; charset=ISO-8859-1"),
        ("<meta charset=iso-8859-1>", "iso-8859-1", "text/html"),
        ("<meta charset=iso-8859-1>", "utf-8", 'text/html; charset="utf-8"'),
        ("", "utf-16", "text/html"),
        ('<?xml version="1.0" encoding="iso-8859-1"?>', "iso-8859-1", "application/xhtml+xml"),
    ],
)
async def test_a_page_is_read_in_its_own_encoding(site: Site, head: str, encoding: str, kind: str) -> None:
    site.routes["/"] = answer((head + PAGE).encode(encoding), kind=kind)

    assert "Größe: ü." in (await fetched(site, "/"))["content"]


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/json", '{"a": "<b>"}'),
        ("application/ld+json; charset=utf-8", "{}"),
        ("text/markdown", "# Head\n\n*text*"),
        ("application/rss+xml", "<rss><item>news</item></rss>"),
        ("TEXT/CSV", "a,b"),
    ],
)
async def test_what_is_no_html_is_read_as_it_is(site: Site, kind: str, body: str) -> None:
    site.routes["/"] = answer(body, kind=kind)

    assert (await fetched(site, "/"))["content"] == body


@pytest.mark.parametrize("kind", ["image/png", "application/pdf", "application/octet-stream", "x", None])
async def test_what_is_no_page_is_refused_before_its_body_is_read(site: Site, kind: str | None) -> None:
    site.routes["/"] = endless(answer(b"", kind=kind).replace(b"Content-Length: 0\r\n", b""), bytes(65_536))

    error = (await fetched(site, "/"))["error"]

    assert error["type"] == "AnswerRejected"
    assert "download_file attaches it" in error["message"]


async def test_a_page_filled_in_by_scripts_says_that_it_has_no_text(site: Site) -> None:
    site.routes["/"] = answer("<title>App</title><body><script>start()</script></body>", kind="text/html")

    page = await fetched(site, "/")

    assert (page["title"], page["content"]) == ("App", "")
    assert "no readable text" in page["note"]


async def test_a_long_page_is_cut_and_says_so(site: Site) -> None:
    paragraphs = "".join(f"<p>Paragraph {n} of a page that does not end soon.</p>" for n in range(2_000))
    site.routes["/"] = answer(f"<article>{paragraphs}</article>", kind="text/html")
    site.routes["/text"] = answer("word " * 20_000)

    for path in ("/", "/text"):
        page = await fetched(site, path)

        assert len(page["content"]) == page_module.PAGE_MAX_CHARS
        assert "the page goes on" in page["note"]


@pytest.mark.parametrize(
    "body", ["", "<", "\x00" * 100, "<div>" * 50_000, "<a" * 50_000, "&#0;&#xd800;", "<html></html>", "<!--"]
)
async def test_a_broken_page_is_read_as_far_as_it_goes_or_refused(site: Site, body: str) -> None:
    site.routes["/"] = answer(body, kind="text/html")

    page = await fetched(site, "/")

    assert "content" in page or page["error"]["type"] == "AnswerRejected"


async def test_a_reader_that_hangs_or_dies_is_told_as_a_page_that_cannot_be_read(
    site: Site, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    site.routes["/"] = answer(PAGE, kind="text/html")
    program = tmp_path / "reader.py"
    monkeypatch.setattr(page_module, "_WORKER", program)

    program.write_text("import time; time.sleep(60)")
    with monkeypatch.context() as impatience:
        impatience.setattr(page_module, "READ_SECONDS", 0.5)
        slow = await fetched(site, "/")
    program.write_text("import os; os.abort()")
    with capture_logs() as logs:
        dead = await fetched(site, "/")

    assert "takes too much time to read" in slow["error"]["message"]
    assert "cannot be read" in dead["error"]["message"]
    assert logs[0] == {"event": "page_reader_failed", "log_level": "warning", "returncode": -6}


async def test_a_download_is_attached_and_described(site: Site) -> None:
    picture = b"\x89PNG\r\n\x1a\n\xff\x00"
    site.routes["/x"] = answer(
        picture, 'Content-Disposition: attachment; filename="../../a\\b/chart.png"', kind="image/png; q=1"
    )

    result = await call(web_tools(site.client()), "download_file", url=site.url("/x"))

    (file,) = result.files
    assert (file.filename, file.content, file.media_type) == ("chart.png", picture, "image/png")
    assert json.loads(result.content) == {
        "attached": "chart.png",
        "media_type": "image/png",
        "size_bytes": 10,
        "sha256": file.sha256,
    }


async def test_a_download_may_be_given_a_name(site: Site) -> None:
    site.routes["/x"] = answer(gzip.compress(b"a,b"), "Content-Encoding: gzip", kind="text/csv")

    result = await call(web_tools(site.client()), "download_file", url=site.url("/x"), filename="/etc/rows")

    assert [(file.filename, file.content) for file in result.files] == [("rows.csv", b"a,b")]


async def test_an_empty_or_too_large_download_is_an_error(site: Site) -> None:
    site.routes["/empty"] = answer(b"")
    site.routes["/large"] = answer(b"x" * 101)
    tools = web_tools(site.client(), download=WebLimits(received_max_bytes=100))

    empty = await call(tools, "download_file", url=site.url("/empty"))
    large = await call(tools, "download_file", url=site.url("/large"))

    assert "is empty" in empty.content
    assert "more than 100 bytes" in large.content
    assert empty.files == large.files == ()


async def test_a_secret_in_a_url_is_neither_in_an_error_nor_in_a_log(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    site.routes["/page"] = answer("the text that was said")

    with capture_logs() as logs:
        errors = [
            await fetched(site, "/none?token=hush"),
            await fetched(site, "/none?token=hush#hush"),
            json.loads((await call(WEB_TOOLS, "fetch_page", url="http://127.0.0.1/?token=hush")).content),
        ]
        await fetched(site, "/page?token=hush")

    assert "GET /page?token=hush" in site.requests[-1]
    assert errors[0]["error"] == {"type": "AnswerRejected", "message": f"{site.url('/none')}?… answered 404 Not Found"}
    for told in (json.dumps(errors), caplog.text, str(logs)):
        assert "hush" not in told
        assert "the text that was said" not in told


async def test_a_cancelled_fetch_ends_at_once(site: Site) -> None:
    asked = asyncio.Event()

    async def silent(writer: asyncio.StreamWriter) -> None:
        asked.set()
        await asyncio.sleep(3)

    site.routes["/"] = silent
    fetching = asyncio.create_task(site.get(limits=WebLimits()))
    await asked.wait()

    fetching.cancel()

    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(fetching, 1)


def test_importing_the_tools_loads_no_client_and_no_reader() -> None:
    program = "import agent.web, sys; print({'httpx', 'httpcore', 'trafilatura', 'lxml'} & {*sys.modules})"

    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert found.stdout.strip() == "set()"
