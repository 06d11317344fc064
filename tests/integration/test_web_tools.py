"""The web tools against a server that may do anything: what is refused, what is read, what is kept."""

import asyncio
import datetime as dt
import gzip
import json
import logging
import ssl
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from structlog.testing import capture_logs

from agent.context import RunContext
from agent.tool_result import ToolResult
from agent.tool_threads import ToolThreads
from agent.toolbox import Toolbox
from agent.web import (
    WEB_TOOLS,
    AnswerRefused,
    NotReached,
    TooLarge,
    TooSlow,
    UrlRefused,
    WebClient,
    WebError,
    WebLimits,
    web_tools,
)
from agent.web import page as page_module

CONTEXT = RunContext(tenant="acme", thread_id="t-1", turn_id="turn-1", call_id="call-1")
#: Enough for a server beside us, and soon over where one hangs.
QUICK = WebLimits(connect_seconds=1, read_seconds=1, total_seconds=2)
HOME = "127.0.0.1/32"

Route = bytes | Callable[[asyncio.StreamWriter], Awaitable[None]]


def answer(
    body: bytes | str = b"", *headers: str, status: str = "200 OK", type: str | None = "text/plain"
) -> bytes:
    """A whole HTTP answer."""
    content = body.encode() if isinstance(body, str) else body
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(content)}", "Connection: close", *headers]
    if type is not None:
        lines.append(f"Content-Type: {type}")
    return "\r\n".join([*lines, "", ""]).encode() + content


def redirect(location: str, status: str = "302 Found") -> bytes:
    return answer(b"", f"Location: {location}", status=status, type=None)


class Site:
    """A server on this machine that sends what a test wrote down, and remembers what it was asked."""

    def __init__(self) -> None:
        self.routes: dict[str, Route] = {}
        #: The heads of all requests.
        self.requests: list[str] = []
        #: Requests that came to the address that no test may reach.
        self.trapped: list[str] = []
        self.port = 0

    def url(self, path: str = "/", host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}{path}"

    def client(self, **options: Any) -> WebClient:
        """A client that reaches this server, at 127.0.0.1 and nowhere else."""
        return WebClient(**{"allow_networks": [HOME], "allow_ports": [self.port], **options})

    async def get(self, path: str = "/", *, limits: WebLimits = QUICK, **options: Any) -> Any:
        return await self.client(**options).get(self.url(path), limits=limits)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            local = writer.get_extra_info("sockname")[0]
            (self.requests if local == "127.0.0.1" else self.trapped).append(head)
            path = head.split(" ")[1].partition("?")[0]
            route = self.routes.get(path, answer(b"nothing here", status="404 Not Found"))
            if callable(route):
                await route(writer)
            else:
                writer.write(route)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            pass
        finally:
            writer.close()


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    made = Site()
    async with running(made):
        yield made


@asynccontextmanager
async def running(site: Site, context: ssl.SSLContext | None = None) -> AsyncIterator[None]:
    """Serve on 127.0.0.1, and on 127.0.0.2 under the same port as a trap."""
    home = await asyncio.start_server(site.serve, "127.0.0.1", 0, ssl=context)
    site.port = home.sockets[0].getsockname()[1]
    trap = await asyncio.start_server(site.serve, "127.0.0.2", site.port, ssl=context)
    yield
    for server in (home, trap):
        server.close()


class Names:
    """A resolver that a test writes: each look-up of a name takes its next answer, the last one stays."""

    def __init__(self, **answers: Sequence[Sequence[str]]) -> None:
        self.answers = {name.replace("_", "."): list(found) for name, found in answers.items()}
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append(host)
        left = self.answers[host]
        return left.pop(0) if len(left) > 1 else left[0]


async def call(tools: Any, name: str, **arguments: Any) -> ToolResult:
    return await Toolbox(tools).run(name, json.dumps(arguments), CONTEXT, executor=ToolThreads(1))


async def fetched(site: Site, path: str, **arguments: Any) -> Any:
    result = await call(web_tools(site.client(), page=QUICK), "fetch_page", url=site.url(path), **arguments)
    return json.loads(result.content)


# Where it may not lead


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1", "127.0.0.2", "127.1", "2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1", "017700000001",
        "127。0。0。1", "localhost", "localhost.", "LOCALHOST", "0.0.0.0", "0", "[::1]", "[::]", "[0:0:0:0:0:0:0:1]",
        "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::127.0.0.1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]",
        "10.0.0.1", "192.168.0.1", "172.16.0.1", "100.64.0.1", "169.254.169.254", "[fd00:ec2::254]", "[fe80::1]",
        "224.0.0.1", "255.255.255.255",
    ],
)  # fmt: skip
async def test_no_spelling_of_an_inner_address_is_reached(site: Site, host: str) -> None:
    client = WebClient(allow_ports=[site.port])

    with pytest.raises(UrlRefused, match="only public addresses are fetched"):
        await client.get(site.url("/", host), limits=QUICK)

    assert site.requests == site.trapped == []


async def test_an_address_with_a_zone_is_not_reached(site: Site) -> None:
    for zone in ("%25lo", "%lo"):
        with pytest.raises(WebError):
            await WebClient(allow_ports=[site.port]).get(site.url("/", f"[::1{zone}]"), limits=QUICK)

    assert site.requests == site.trapped == []


@pytest.mark.parametrize(
    "addresses", [["127.0.0.1"], ["169.254.169.254"], ["fd00:ec2::254"], ["8.8.8.8", "127.0.0.1"], ["::1"]]
)
async def test_a_name_is_refused_if_any_of_its_addresses_is_an_inner_one(
    site: Site, addresses: list[str]
) -> None:
    client = WebClient(allow_ports=[site.port], resolve=Names(metadata_google_internal=[addresses]))

    with pytest.raises(UrlRefused, match="http://metadata.google.internal:") as refusal:
        await client.get(site.url("/", "metadata.google.internal"), limits=QUICK)

    assert "127.0.0.1" not in str(refusal.value)
    assert site.requests == site.trapped == []


@pytest.mark.parametrize(
    ("target", "problem"),
    [
        ("http://127.0.0.2:{port}/", "a loopback address"),
        ("//127.0.0.2:{port}/", "a loopback address"),
        ("http://inner.test:{port}/", "a private address"),
        ("http://169.254.169.254:{port}/latest/meta-data", "a cloud metadata service"),
        ("http://127.0.0.1:22/", "a port that is not fetched from"),
        ("file:///etc/passwd", "no web address"),
        ("http://me:hush@127.0.0.1:{port}/", "user name or password"),
    ],
)
@pytest.mark.parametrize(
    "status", ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"]
)
async def test_a_redirect_is_judged_as_a_first_url_is(
    site: Site, target: str, problem: str, status: str
) -> None:
    site.routes["/"] = redirect(target.format(port=site.port), status)

    async def resolve(host: str, port: int) -> Sequence[str]:
        return ["10.0.0.1"] if host == "inner.test" else [host]

    with pytest.raises(UrlRefused, match=problem):
        await site.get(resolve=resolve)

    assert len(site.requests) == 1
    assert site.trapped == []


async def test_the_address_that_was_judged_is_the_one_connected_to(site: Site) -> None:
    names = Names(turning_test=[["127.0.0.1"], ["127.0.0.2"]])
    site.routes["/"] = answer("home")

    got = await site.client(resolve=names).get(site.url("/", "turning.test"), limits=QUICK)

    assert got.body == b"home"
    assert names.asked == ["turning.test"]
    assert f"Host: turning.test:{site.port}\r\n" in site.requests[0]
    assert site.trapped == []


async def test_a_name_that_turns_inwards_between_two_hops_is_refused(site: Site) -> None:
    names = Names(turning_test=[["127.0.0.1"], ["127.0.0.2"]])
    site.routes["/"] = redirect("/again")

    with pytest.raises(UrlRefused, match="a loopback address"):
        await site.client(resolve=names).get(site.url("/", "turning.test"), limits=QUICK)

    assert len(names.asked) == 2
    assert site.trapped == []


async def test_a_proxy_of_the_environment_is_not_asked(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, site.url("", "127.0.0.2"))
    site.routes["/"] = answer("direct")

    assert (await site.get()).body == b"direct"
    assert site.trapped == []


async def test_a_model_has_no_argument_that_widens_its_reach(site: Site) -> None:
    offered = {
        tool.name: set(tool.declaration()["function"]["parameters"]["properties"]) for tool in WEB_TOOLS
    }

    result = await call(WEB_TOOLS, "fetch_page", url=site.url())

    assert offered == {"fetch_page": {"url", "format"}, "download_file": {"url", "filename"}}
    assert all(tool.idempotent for tool in WEB_TOOLS)
    assert "port that is not fetched from" in result.content


# TLS


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A key and a certificate for `named.test` alone."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "named.test")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("named.test")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = tmp_path / "named.pem"
    file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        + made.public_bytes(serialization.Encoding.PEM)
    )
    return file


async def test_the_certificate_and_the_server_name_are_those_of_the_name(certificate: Path) -> None:
    site, asked_for = Site(), []
    site.routes["/"] = answer("private")
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_side.load_cert_chain(certificate)
    server_side.sni_callback = lambda _socket, name, _context: asked_for.append(name)
    names = Names(named_test=[["127.0.0.1"]], other_test=[["127.0.0.1"]])
    async with running(site, server_side):
        client = site.client(resolve=names, ssl_context=ssl.create_default_context(cafile=certificate))

        got = await client.get(f"https://named.test:{site.port}/", limits=QUICK)
        with pytest.raises(NotReached, match="certificate"):
            await client.get(f"https://other.test:{site.port}/", limits=QUICK)
        with pytest.raises(
            NotReached, match="certificate"
        ):  # by the list of authorities that is used by default
            await site.client(resolve=names).get(f"https://named.test:{site.port}/", limits=QUICK)

    assert got.body == b"private"
    assert asked_for == ["named.test", "other.test", "named.test"]
    assert len(site.requests) == 1


# Servers that misbehave


async def test_a_dead_address_leaves_time_for_the_next_one(site: Site) -> None:
    site.routes["/"] = answer("second")
    options = {"allow_networks": ["127.0.0.0/8"], "resolve": Names(two_test=[["127.0.0.3", "127.0.0.1"]])}

    got = await site.client(**options).get(site.url("/", "two.test"), limits=QUICK)

    assert got.body == b"second"


async def test_nobody_there_is_not_reached(site: Site) -> None:
    client = site.client(allow_networks=["127.0.0.0/8"])

    with pytest.raises(NotReached, match="could not be reached"):
        await client.get(site.url("/", "127.0.0.3"), limits=QUICK)
    with pytest.raises(NotReached, match="no such host is known"):
        await client.get(site.url("/", "a" * 70 + ".test"), limits=QUICK)
    with pytest.raises(NotReached, match="has no address"):
        await site.client(resolve=Names(none_test=[[]])).get(site.url("/", "none.test"), limits=QUICK)


async def test_a_resolver_that_hangs_is_too_slow(site: Site) -> None:
    async def never(host: str, port: int) -> Sequence[str]:
        await asyncio.sleep(60)
        return []

    limits = WebLimits(connect_seconds=0.2, total_seconds=5)
    with pytest.raises(TooSlow, match="did not connect within 0.2 s"):
        await site.get(limits=limits, resolve=never)


async def test_a_server_that_falls_silent_is_too_slow(site: Site) -> None:
    async def silent(writer: asyncio.StreamWriter) -> None:
        writer.write(answer("begun").removesuffix(b"begun"))
        await asyncio.sleep(3)

    site.routes["/"] = silent

    with pytest.raises(TooSlow, match="sent nothing for 0.2 s"):
        await site.get(limits=WebLimits(read_seconds=0.2, total_seconds=5))


async def test_a_server_that_drips_is_cut_off_in_total(site: Site) -> None:
    async def drip(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        for _ in range(100):
            writer.write(b".")
            await writer.drain()
            await asyncio.sleep(0.05)

    site.routes["/"] = drip
    began = time.monotonic()

    with pytest.raises(TooSlow, match="was not read within 0.5 s"):
        await site.get(limits=WebLimits(read_seconds=5, total_seconds=0.5))

    assert time.monotonic() - began < 3


async def test_a_body_that_says_it_is_too_large_is_not_read(site: Site) -> None:
    async def large(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 101\r\n\r\n")
        await asyncio.sleep(3)

    site.routes["/"] = large

    with pytest.raises(TooLarge, match="more than 100 bytes"):
        await site.get(limits=WebLimits(received_max_bytes=100, total_seconds=2))


def endless(head: bytes, piece: bytes) -> Callable[[asyncio.StreamWriter], Awaitable[None]]:
    async def send(writer: asyncio.StreamWriter) -> None:
        writer.write(head)
        while True:
            writer.write(piece)
            await writer.drain()

    return send


async def test_a_body_without_an_end_is_cut_off_at_the_limit(site: Site) -> None:
    site.routes["/"] = endless(b"HTTP/1.1 200 OK\r\n\r\n", bytes(65_536))

    with pytest.raises(TooLarge, match="more than 1000000 bytes"):
        await site.get(limits=WebLimits(received_max_bytes=1_000_000, total_seconds=20))


async def test_a_bomb_stops_at_the_limit_long_before_it_is_received(site: Site) -> None:
    bomb = gzip.compress(bytes(200_000_000))
    site.routes["/"] = answer(bomb, "Content-Encoding: gzip")

    with pytest.raises(TooLarge, match="more than 5000 bytes"):
        await site.get(limits=WebLimits(body_max_bytes=5_000, total_seconds=20))


async def test_a_body_of_exactly_the_limit_is_read(site: Site) -> None:
    site.routes["/"] = answer(gzip.compress(b"x" * 5_000), "Content-Encoding: gzip")

    assert (await site.get(limits=WebLimits(body_max_bytes=5_000))).body == b"x" * 5_000


@pytest.mark.parametrize(
    "sent",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\ncut off",
        b"SSH-2.0-OpenSSH_9.9\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"a" * 200_000,
        b"",
        answer(gzip.compress(b"text")[:-4], "Content-Encoding: gzip"),
        answer(b"no gzip", "Content-Encoding: gzip"),
    ],
)
async def test_an_answer_that_breaks_off_or_is_none_is_not_reached(site: Site, sent: bytes) -> None:
    site.routes["/"] = sent

    with pytest.raises(NotReached):
        await site.get()


async def test_redirects_that_go_round_end(site: Site) -> None:
    site.routes["/"] = redirect("/")

    with pytest.raises(AnswerRefused, match="redirects more than 5 times"):
        await site.get()

    assert len(site.requests) == 6


async def test_five_redirects_are_followed_and_carry_no_cookie(site: Site) -> None:
    for step in range(5):
        site.routes[f"/{step}"] = answer(
            b"", f"Location: {step + 1}", "Set-Cookie: a=b", status="302 Found", type=None
        )
    site.routes["/5"] = answer("there")

    got = await site.get("/0")

    assert (got.body, got.shown_url) == (b"there", site.url("/5"))
    assert "cookie" not in "".join(site.requests).lower()


@pytest.mark.parametrize(
    ("sent", "problem"),
    [
        (answer(b"gone", status="404 Not Found"), "answered 404 Not Found"),
        (answer(b"", status="302 Found"), "answered 302 Found"),
        (answer(b"", status="799 Odd"), "answered 799"),
        (answer(b"x", "Content-Encoding: br"), "packed as 'br'"),
        (answer(b"x", "Content-Encoding: gzip, gzip"), "packed as 'gzip, gzip'"),
    ],
)
async def test_an_answer_that_cannot_be_used_is_refused(site: Site, sent: bytes, problem: str) -> None:
    site.routes["/"] = sent

    with pytest.raises(AnswerRefused, match=problem):
        await site.get()


# Pages

PAGE = """<!doctype html><html><head><title> The  Mill </title><script>var hidden = 1</script><style>p{}</style></head>
<body><nav><a href="/home">Home</a> <a href="/shop">Shop</a></nav>
<article><h1>How a mill works</h1><p>The river turns the <b>wheel</b>, and the wheel turns the stone, which
grinds the corn: see <a href="wheel?size=2">the wheel</a> for more of it. Größe: ü.</p>
<ul><li>wheel</li><li>stone</li></ul></article>
<script>alert("hidden")</script><footer>Copyright notice of the owner</footer></body></html>"""


async def test_a_page_is_cut_down_to_its_text(site: Site) -> None:
    site.routes["/a/page"] = answer(PAGE, type="text/html; charset=utf-8")

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
    site.routes["/"] = answer(PAGE, type="text/html; charset=utf-8")

    page = await fetched(site, "/", format="text")

    assert "How a mill works" in page["content"]
    assert not {"#", "*", "["} & set(page["content"])


@pytest.mark.parametrize(
    ("head", "encoding", "type"),
    [
        ("", "iso-8859-1", "text/html; charset=ISO-8859-1"),
        ("<meta charset=iso-8859-1>", "iso-8859-1", "text/html"),
        ("<meta charset=iso-8859-1>", "utf-8", 'text/html; charset="utf-8"'),
        ("", "utf-16", "text/html"),
        ('<?xml version="1.0" encoding="iso-8859-1"?>', "iso-8859-1", "application/xhtml+xml"),
    ],
)
async def test_a_page_is_read_in_its_own_encoding(site: Site, head: str, encoding: str, type: str) -> None:
    site.routes["/"] = answer((head + PAGE).encode(encoding), type=type)

    assert "Größe: ü." in (await fetched(site, "/"))["content"]


@pytest.mark.parametrize(
    ("type", "body"),
    [
        ("application/json", '{"a": "<b>"}'),
        ("application/ld+json; charset=utf-8", "{}"),
        ("text/markdown", "# Head\n\n*text*"),
        ("application/rss+xml", "<rss><item>news</item></rss>"),
        ("TEXT/CSV", "a,b"),
    ],
)
async def test_what_is_no_html_is_read_as_it_is(site: Site, type: str, body: str) -> None:
    site.routes["/"] = answer(body, type=type)

    assert (await fetched(site, "/"))["content"] == body


@pytest.mark.parametrize("type", ["image/png", "application/pdf", "application/octet-stream", "x", None])
async def test_what_is_no_page_is_refused_before_its_body_is_read(site: Site, type: str | None) -> None:
    site.routes["/"] = endless(answer(b"", type=type).replace(b"Content-Length: 0\r\n", b""), bytes(65_536))

    error = (await fetched(site, "/"))["error"]

    assert error["type"] == "AnswerRefused"
    assert "download_file attaches it" in error["message"]


async def test_a_page_filled_in_by_scripts_says_that_it_has_no_text(site: Site) -> None:
    site.routes["/"] = answer("<title>App</title><body><script>start()</script></body>", type="text/html")

    page = await fetched(site, "/")

    assert (page["title"], page["content"]) == ("App", "")
    assert "no readable text" in page["note"]


async def test_a_long_page_is_cut_and_says_so(site: Site) -> None:
    paragraphs = "".join(f"<p>Paragraph {n} of a page that does not end soon.</p>" for n in range(2_000))
    site.routes["/"] = answer(f"<article>{paragraphs}</article>", type="text/html")
    site.routes["/text"] = answer("word " * 20_000)

    for path in ("/", "/text"):
        page = await fetched(site, path)

        assert len(page["content"]) == page_module.PAGE_MAX_CHARS
        assert "the page goes on" in page["note"]


@pytest.mark.parametrize(
    "body",
    ["", "<", "\x00" * 100, "<div>" * 50_000, "<a" * 50_000, "&#0;&#xd800;", "<html></html>", "<!--"],
)
async def test_a_broken_page_is_read_as_far_as_it_goes_or_refused(site: Site, body: str) -> None:
    site.routes["/"] = answer(body, type="text/html")

    page = await fetched(site, "/")

    assert "content" in page or page["error"]["type"] == "AnswerRefused"


async def test_a_reader_that_hangs_or_dies_is_told_as_a_page_that_cannot_be_read(
    site: Site, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    site.routes["/"] = answer(PAGE, type="text/html")
    program = tmp_path / "reader.py"
    monkeypatch.setattr(page_module, "_WORKER", program)
    monkeypatch.setattr(page_module, "READ_SECONDS", 0.5)

    program.write_text("import time; time.sleep(60)")
    slow = await fetched(site, "/")
    program.write_text("import os; os.abort()")
    with capture_logs() as logs:
        dead = await fetched(site, "/")

    assert "takes too much time to read" in slow["error"]["message"]
    assert "cannot be read" in dead["error"]["message"]
    assert logs[0] == {"event": "page_reader_failed", "log_level": "warning", "returncode": -6}


# Downloads


async def test_a_download_is_attached_and_described(site: Site) -> None:
    picture = b"\x89PNG\r\n\x1a\n\xff\x00"
    site.routes["/x"] = answer(
        picture, 'Content-Disposition: attachment; filename="../../a\\b/chart.png"', type="image/png; q=1"
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
    site.routes["/x"] = answer(gzip.compress(b"a,b"), "Content-Encoding: gzip", type="text/csv")

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


# What is told, and to whom


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
    assert errors[0]["error"] == {
        "type": "AnswerRefused",
        "message": f"{site.url('/none')}?… answered 404 Not Found",
    }
    for told in (json.dumps(errors), caplog.text, str(logs)):
        assert "hush" not in told
        assert "the text that was said" not in told


async def test_a_cancelled_fetch_ends_at_once(site: Site) -> None:
    async def silent(writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(3)

    site.routes["/"] = silent
    fetching = asyncio.create_task(site.get(limits=WebLimits()))
    while not site.requests:
        await asyncio.sleep(0.01)

    fetching.cancel()

    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(fetching, 1)


def test_importing_the_tools_loads_no_client_and_no_reader() -> None:
    program = "import agent.web, sys; print({'httpx', 'httpcore', 'trafilatura', 'lxml'} & {*sys.modules})"

    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert found.stdout.strip() == "set()"
