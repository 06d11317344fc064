"""Where the web tools may not lead: by spelling, by name, by redirect, and between two look-ups."""

import datetime as dt
import ssl
from collections.abc import Sequence
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from agent.web import WEB_TOOLS, NotReached, UrlRejected, WebClient, WebError
from tests.integration.agent.web.site import NEAR, Names, Site, answer, call, redirect, running


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1", "127.0.0.2", "127.1", "2130706433", "0x7f000001", "0x7f.1", "017700000001",
        "127。0。0。1", "localhost", "LOCALHOST", "0.0.0.0", "0", "[::1]", "[::]", "[0:0:0:0:0:0:0:1]",
        "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::127.0.0.1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]",
        "10.0.0.1", "192.168.0.1", "172.16.0.1", "100.64.0.1", "169.254.169.254", "[fd00:ec2::254]",
        "[fe80::1]", "224.0.0.1", "255.255.255.255",
    ],
)  # fmt: skip
async def test_no_spelling_of_an_inner_address_is_reached(site: Site, host: str) -> None:
    client = WebClient(allow_ports=[site.port])

    with pytest.raises(UrlRejected, match="only public addresses are fetched"):
        await client.get(site.url("/", host), limits=NEAR)

    assert site.requests == site.trapped == []


@pytest.mark.parametrize("host", ["[::1%25lo]", "[::1%lo]", "localhost.", "0177.0.0.1", "①②⑦.0.0.1", "127.0.0.1%00"])
async def test_a_spelling_that_not_every_machine_resolves_is_not_reached(site: Site, host: str) -> None:
    with pytest.raises(WebError):
        await WebClient(allow_ports=[site.port]).get(site.url("/", host), limits=NEAR)

    assert site.requests == site.trapped == []


@pytest.mark.parametrize(
    "addresses", [["127.0.0.1"], ["169.254.169.254"], ["fd00:ec2::254"], ["8.8.8.8", "127.0.0.1"], ["::1"]]
)
async def test_a_name_is_refused_if_any_of_its_addresses_is_an_inner_one(site: Site, addresses: list[str]) -> None:
    client = WebClient(allow_ports=[site.port], resolve=Names(metadata_google_internal=[addresses]))

    with pytest.raises(UrlRejected, match=r"http://metadata\.google\.internal:") as refusal:
        await client.get(site.url("/", "metadata.google.internal"), limits=NEAR)

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
@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"])
async def test_a_redirect_is_judged_as_a_first_url_is(site: Site, target: str, problem: str, status: str) -> None:
    site.routes["/"] = redirect(target.format(port=site.port), status)

    async def resolve(host: str, port: int) -> Sequence[str]:
        return ["10.0.0.1"] if host == "inner.test" else [host]

    with pytest.raises(UrlRejected, match=problem):
        await site.get(resolve=resolve)

    assert len(site.requests) == 1
    assert site.trapped == []


async def test_the_address_that_was_judged_is_the_one_connected_to(site: Site) -> None:
    names = Names(turning_test=[["127.0.0.1"], ["127.0.0.2"]])
    site.routes["/"] = answer("home")

    got = await site.client(resolve=names).get(site.url("/", "turning.test"), limits=NEAR)

    assert got.body == b"home"
    assert names.asked == ["turning.test"]
    assert f"Host: turning.test:{site.port}\r\n" in site.requests[0]
    assert site.trapped == []


async def test_a_name_that_turns_inwards_between_two_hops_is_refused(site: Site) -> None:
    names = Names(turning_test=[["127.0.0.1"], ["127.0.0.2"]])
    site.routes["/"] = redirect("/again")

    with pytest.raises(UrlRejected, match="a loopback address"):
        await site.client(resolve=names).get(site.url("/", "turning.test"), limits=NEAR)

    assert len(names.asked) == 2
    assert site.trapped == []


async def test_a_proxy_of_the_environment_is_not_asked(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, site.url("", "127.0.0.2"))
    site.routes["/"] = answer("direct")

    assert (await site.get()).body == b"direct"
    assert site.trapped == []


async def test_a_model_has_no_argument_that_widens_its_reach(site: Site) -> None:
    offered = {tool.name: set(tool.declaration()["function"]["parameters"]["properties"]) for tool in WEB_TOOLS}

    result = await call(WEB_TOOLS, "fetch_page", url=site.url())

    assert offered == {"fetch_page": {"url", "format"}, "download_file": {"url", "filename"}}
    assert all(tool.idempotent for tool in WEB_TOOLS)
    assert "port that is not fetched from" in result.content


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
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
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

        got = await client.get(f"https://named.test:{site.port}/", limits=NEAR)
        with pytest.raises(NotReached, match="certificate"):
            await client.get(f"https://other.test:{site.port}/", limits=NEAR)
        with pytest.raises(NotReached, match="certificate"):  # by the list of authorities that is used by default
            await site.client(resolve=names).get(f"https://named.test:{site.port}/", limits=NEAR)

    assert got.body == b"private"
    assert asked_for == ["named.test", "other.test", "named.test"]
    assert len(site.requests) == 1
