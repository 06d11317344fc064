"""The guard of the web tools: which addresses, URLs and file names pass, and what text bytes are."""

import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.tools.produced_file import ProducedFile
from agent.web.address_guard import AddressGuard
from agent.web.charset import decode
from agent.web.client import WEB_PORTS
from agent.web.decompression import DamagedBody, decompressor_for
from agent.web.errors import UrlRejected
from agent.web.filename import NAME_MAX_BYTES, clean_file_name, file_name
from agent.web.url import parse, redact, resolve_redirect


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("127.0.0.1", "a loopback address"),
        ("127.255.255.254", "a loopback address"),
        ("::1", "a loopback address"),
        ("0.0.0.0", "an unspecified address"),
        ("0.1.2.3", "an unspecified address"),
        ("::", "an unspecified address"),
        ("10.0.0.1", "a private address"),
        ("172.16.0.1", "a private address"),
        ("172.31.255.255", "a private address"),
        ("192.168.1.1", "a private address"),
        ("fc00::1", "a private address"),
        ("fdff::1", "a private address"),
        ("fec0::1", "a private address"),
        ("169.254.169.254", "a cloud metadata service"),
        ("fd00:ec2::254", "a cloud metadata service"),
        ("168.63.129.16", "a cloud metadata service"),
        ("169.254.0.1", "a link-local address"),
        ("fe80::1", "a link-local address"),
        ("fe80::1%eth0", "a link-local address"),
        ("100.64.0.1", "an address of a carrier's inner network"),
        ("100.127.255.255", "an address of a carrier's inner network"),
        ("224.0.0.1", "a multicast address"),
        ("239.255.255.255", "a multicast address"),
        ("ff02::1", "a multicast address"),
        ("240.0.0.1", "a reserved address"),
        ("255.255.255.255", "a reserved address"),
        ("192.0.2.1", "a reserved address"),
        ("198.18.0.1", "a reserved address"),
        ("2001:db8::1", "a reserved address"),
        ("3fff::1", "a reserved address"),
        ("4000::1", "a reserved address"),
        ("::ffff:127.0.0.1", "an IPv4 address within IPv6"),
        ("::ffff:8.8.8.8", "an IPv4 address within IPv6"),
        ("::7f00:1", "an IPv4 address within IPv6"),
        ("64:ff9b::7f00:1", "an IPv4 address within IPv6"),
        ("64:ff9b:1::a00:1", "an IPv4 address within IPv6"),
        ("2002:7f00:1::", "an IPv4 address within IPv6"),
        ("2001:0:1::1", "an IPv4 address within IPv6"),
        ("localhost", "an address that cannot be read"),
        ("", "an address that cannot be read"),
    ],
)
def test_an_address_that_is_not_public_is_told_by_its_kind(address: str, kind: str) -> None:
    assert AddressGuard().objection(address) == kind


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "100.63.255.255", "100.128.0.1", "172.32.0.1", "2606:4700::1111", "2a00:1450::1"]
)
def test_a_public_address_passes(address: str) -> None:
    assert AddressGuard().objection(address) is None


def test_an_allowed_network_opens_that_network_and_no_other() -> None:
    guard = AddressGuard(allow_networks=["127.0.0.1/32", "fd00::/16"])

    assert guard.objection("127.0.0.1") is None
    assert guard.objection("fd00::1") is None
    assert guard.objection("127.0.0.2") == "a loopback address"
    assert guard.objection("::ffff:127.0.0.1") == "an IPv4 address within IPv6"


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("ftp://example.org/", "only http:// and https://"),
        ("file:///etc/passwd", "only http:// and https://"),
        ("javascript:alert(1)", "only http:// and https://"),
        ("example.org", "^example.org is no web address; only http:// and https://"),
        ("http:///path", "only http:// and https://"),
        ("http://user:hush@example.org/", "user name or password"),
        ("http://hush@example.org/", "user name or password"),
        ("http://hush\\@example.org/", "user name or password"),
        ("http://example.org:22/", "a port that is not fetched from; allowed are 80, 443, 8080, 8443"),
        ("http://example.org:0/", "a port that is not fetched from"),
        ("http://example.org:99999/", "a port that is not fetched from"),
        ("http://a\nb/", "not valid"),
        ("http://user:hush@example.org:x/", "not valid"),
        ("http://①②⑦.0.0.1/", "not valid"),
        ("http://example.org/" + "a" * 4_000, "4019 characters"),
    ],
)
def test_a_url_that_is_no_plain_web_address_is_refused_without_quoting_its_password(url: str, problem: str) -> None:
    with pytest.raises(UrlRejected, match=problem) as refusal:
        parse(url, allow_ports=WEB_PORTS)

    assert "hush" not in str(refusal.value)


def test_a_redirect_is_held_to_the_same_rules() -> None:
    first = parse("https://example.org/a/b?q=1", allow_ports=WEB_PORTS)

    assert str(resolve_redirect(first, "../c#end", allow_ports=WEB_PORTS)) == "https://example.org/c"
    for target in ("file:///etc/passwd", "http://me:hush@example.org/", "//example.org:25/", "http://a\nb/"):
        with pytest.raises(UrlRejected):
            resolve_redirect(first, target, allow_ports=WEB_PORTS)


def test_a_url_is_shown_without_its_query() -> None:
    url = parse("https://[2606:4700::1]:8443/a?token=hush#part", allow_ports=WEB_PORTS)

    assert redact(url) == "https://[2606:4700::1]:8443/a?…"


@pytest.mark.parametrize(
    ("disposition", "name"),
    [
        ('attachment; filename="report.pdf"', "report.pdf"),
        ("attachment; filename=report.pdf", "report.pdf"),
        ("attachment; filename=\"plain.pdf\"; filename*=UTF-8''pr%C3%BCfung.pdf", "prüfung.pdf"),
        ("attachment; filename*=nonsense''a.pdf; filename=b.pdf", "b.pdf"),
        ('attachment; filename="../../etc/passwd.txt"', "passwd.txt"),
        ('attachment; filename="/etc/cron.txt"', "cron.txt"),
        ('attachment; filename="C:\\\\Windows\\\\evil.txt"', "evil.txt"),
        ("attachment; filename*=UTF-8''..%2F..%2Fevil%00.txt", "evil.txt"),
        ("attachment; filename*=UTF-8''invoice%E2%80%AEfdp.exe", "invoicefdp.exe"),
        ('attachment; filename=".."', "page.html"),
        ('attachment; filename="a<b>:c?.txt"', "a_b__c_.txt"),
        ('attachment; filename="prüfung.pdf"', "prüfung.pdf"),
        ("inline", "page.html"),
        ("", "page.html"),
        (";;=", "page.html"),
    ],
)
def test_a_servers_file_name_becomes_a_plain_one(disposition: str, name: str) -> None:
    found = file_name(None, disposition=disposition, url="https://example.org/x/page.html", media_type="text/html")

    assert found == name


def test_a_file_name_is_that_asked_for_with_the_ending_of_its_type() -> None:
    url = "https://example.org/"

    assert file_name("../my chart", disposition="", url=url, media_type="image/png") == "my chart.png"
    assert file_name(None, disposition="", url=url, media_type="") == "download"


def test_a_very_long_file_name_is_cut_and_keeps_its_ending() -> None:
    name = file_name("ü" * 5_000 + ".pdf", disposition="", url="https://example.org/", media_type="")

    assert len(name.encode()) <= NAME_MAX_BYTES
    assert name.startswith("üüü")
    assert name.endswith(".pdf")


@given(st.text(alphabet=st.characters(), max_size=400), st.text(alphabet=st.characters(), max_size=200))
def test_any_file_name_can_be_attached(asked: str, disposition: str) -> None:
    name = file_name(asked, disposition=disposition, url="https://example.org/", media_type="text/plain")

    assert ProducedFile(name, b"x").filename == name
    assert clean_file_name(name) == name
    assert len(name.encode()) <= NAME_MAX_BYTES


@pytest.mark.parametrize(
    ("body", "charset", "text"),
    [
        ("ü".encode(), None, "ü"),
        ("ü".encode(), "utf-8", "ü"),
        ("ü".encode("latin-1"), "iso-8859-1", "ü"),
        (b"\x93quoted\x94", "ISO-8859-1", "“quoted”"),
        ("я".encode("koi8-r"), "KOI8-R", "я"),
        ("日本".encode("shift_jis"), "Shift_JIS", "日本"),
        ("ü".encode("utf-8-sig"), "iso-8859-1", "ü"),
        ("ü".encode("latin-1"), "no-such-charset", "ü"),
        ("ü".encode(), "iso-8859-12", "ü"),
        (b"abc-123", "punycode", "abc-123"),
        (b"6869", "hex", "6869"),
        (b"+AGg-", "utf-7", "+AGg-"),
        (b"a\x00b\xff", "utf-8", "ab\ufffd"),
        (b'<meta charset="windows-1251">' + "я".encode("cp1251"), None, '<meta charset="windows-1251">я'),
        (
            b'<meta http-equiv=x content="text/html; charset=euc-jp">' + "日".encode("euc-jp"),
            None,
            '<meta http-equiv=x content="text/html; charset=euc-jp">日',
        ),
        (
            b'<?xml version="1.0" encoding="iso-8859-2"?>' + "ł".encode("iso-8859-2"),
            "",
            '<?xml version="1.0" encoding="iso-8859-2"?>ł',
        ),
        (b'<meta charset="utf-16">' + "ü".encode(), None, '<meta charset="utf-16">ü'),
    ],
)
def test_bytes_become_text_by_mark_label_own_word_or_look(body: bytes, charset: str | None, text: str) -> None:
    assert decode(body, charset)[0] == text


@pytest.mark.parametrize(
    ("body", "charset", "remark"),
    [
        ("für".encode("cp1252"), "windows-1252", None),
        ("für".encode(), "iso-8859-1", None),
        ("Проверка связи".encode("cp1251"), None, "The text was read as Windows-1251, which is a guess."),
        ("naïve".encode("cp1252"), None, "The text was read as Windows-1252, which is a guess."),
    ],
)
def test_a_guess_at_the_encoding_of_a_page_is_told(body: bytes, charset: str | None, remark: str | None) -> None:
    assert decode(body, charset)[1] == remark


def test_unpacking_gives_no_more_than_it_is_asked_for() -> None:
    bomb = gzip.compress(bytes(50_000_000))

    unpack = decompressor_for("gzip")

    assert unpack is not None
    assert len(unpack.feed(bomb, max_bytes=1_001)) == 1_001


@pytest.mark.parametrize("size", [1, 7, 1_000_000])
def test_both_forms_and_several_members_are_unpacked_in_pieces_of_any_size(size: int) -> None:
    for encoding, packed in (
        ("gzip", gzip.compress(b"one ") + gzip.compress(b"two")),
        ("deflate", zlib.compress(b"one two")),
    ):
        unpack = decompressor_for(encoding)
        assert unpack is not None

        pieces = [unpack.feed(packed[at : at + size], max_bytes=1_000_000) for at in range(0, len(packed), size)]
        unpack.close()

        assert b"".join(pieces) == b"one two"


def test_a_packed_body_that_is_damaged_or_ends_early_is_an_error() -> None:
    packed = gzip.compress(b"text " * 100)
    cut, damaged, empty = decompressor_for("gzip"), decompressor_for("gzip"), decompressor_for("gzip")
    assert cut
    assert damaged
    assert empty

    cut.feed(packed[:-12], max_bytes=10_000)

    with pytest.raises(DamagedBody):
        cut.close()
    with pytest.raises(DamagedBody):
        damaged.feed(b"no gzip at all", max_bytes=10_000)
    empty.close()
    assert decompressor_for("br") is None
