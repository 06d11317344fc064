"""Mails are read as a mail program shows them, however broken they are; what is not shown is named."""

import os
import time
from collections.abc import Callable
from email.message import EmailMessage
from typing import Any

import pytest

from agent.files.extract import _READERS
from agent.files.readers.mail import messages as mail
from agent.files.readers.page import html as page
from agent.files.readers.sections import TextSections


def read(content: bytes, seconds: float = 30):
    return mail.read(content, TextSections(time.monotonic() + seconds, 100_000, readers=_READERS))


def mixed(*parts: bytes, head: bytes = b"", boundary: bytes = b"b") -> bytes:
    body = b"".join(b"--%s\r\n%s\r\n" % (boundary, part) for part in parts)
    kind = b"Content-Type: multipart/mixed; boundary=%s\r\n\r\n" % boundary
    return b"Subject: x\r\n" + head + kind + body + b"--%s--\r\n" % boundary


@pytest.mark.parametrize(
    ("head", "line"),
    [
        (b"Subject: =?utf-8?Q?Gr=C3=BC=C3=9Fe?=\r\n =?utf-8?B?IHp1IGZvbw==?=", "Subject: Grüße zu foo"),
        (b"Subject: =?utf-8?B?R3LD?= =?utf-8?B?vMOfZQ==?=", "Subject: Grüße"),
        (b"Subject: =?utf-8?Q?with a space?=", "Subject: with a space"),
        (b"Subject: Gr\xfc\xdfe", "Subject: Grüße"),
        ("Subject: Grüße 你好".encode(), "Subject: Grüße 你好"),
        (b"Subject: =?iso-2022-jp?B?GyRCRnxLXBsoQg==?=", "Subject: 日本"),
        (b"Subject: =?ks_c_5601-1987?B?x9GxuQ==?=", "Subject: 한국"),
        (b"Subject: =?unheard-of?Q?abc?=", "Subject: abc"),
        (b"Subject: =?utf-8?B?!!!?=", "Subject: =?utf-8?B?!!!?="),
        (b"Subject: folded\r\n\tinto lines", "Subject: folded into lines"),
        (b"From: =?utf-8?Q?J=C3=B6rg?= <j@example.org>", "From: Jörg <j@example.org>"),
        (b"To: a@example.org\r\nTo: b@example.org", "To: a@example.org\nTo: b@example.org"),
    ],
)
def test_a_header_field_is_readable_in_any_encoding(head: bytes, line: str) -> None:
    assert read(head + b"\r\n\r\nbody")["text"] == f"{line}\n\nbody"


@pytest.mark.parametrize(
    ("fields", "body", "text"),
    [
        (b"text/plain; charset=iso-8859-2", b"\xbe\xb9", "žš"),
        (b'text/plain; charset="utf-8"content-transfer-encoding: 8bit', "Köln".encode(), "Köln"),
        (b"text/plain; charset=us-ascii", "Köln".encode(), "Köln"),
        (b"text/plain; charset=unheard-of", b"K\xf6ln", "Köln"),
        (b"text/plain; charset=idna", b"plain", "plain"),
        (b"text/plain; charset=base64", b"plain", "plain"),
        (b"text/plain; charset=utf-7", b"K+APY-ln", "Köln"),
        (b"text/plain\r\nContent-Transfer-Encoding: base64", b"S8O2bG4=", "Köln"),
        (b"text/plain\r\nContent-Transfer-Encoding: base64", b"S8O2bG4", "Köln"),
        (b"text/plain\r\nContent-Transfer-Encoding: base64", b"S8O2bG4=\r\n-- \r\nthe list", "Köln\n-- \nthe list"),
        (b"text/plain\r\nContent-Transfer-Encoding: base64", b"Not packed at all.", "Not packed at all."),
        (b"text/plain\r\nContent-Transfer-Encoding: quoted-printable", b"K=C3=B6=\r\nln =ZZ", "Köln =ZZ"),
        (b"text/plain\r\nContent-Transfer-Encoding: unheard-of", b"plain", "plain"),
        (b"text/plain; format=flowed", b"one \r\ntwo\r\n> a \r\n> b\r\n-- \r\nme", "one two\n> a b\n-- \nme"),
        (b"text/plain; format=flowed; delsp=yes", b"on \r\ne", "one"),
        (b"text/html", b"<meta charset=windows-1251><p>\xcf\xf0\xe8</p>", "При"),
        (b"text/html; charset=utf-8", b"<b>only</b> a page", "only a page"),
        (b"text/enriched", b"<bold>old</bold> <<b>", "old <b>"),
        (b"text/rtf", rb"{\rtf1\ansi t\'e9xt}", "téxt"),
        (b"", b"no type", "no type"),
        (b";;;", b"no type", "no type"),
        (b"multipart/mixed", b"--x\r\nContent-Type: text/plain\r\n\r\ninner\r\n--x--", "inner"),
        (b"multipart/mixed; boundary=y", b"--x\r\nContent-Type: text/plain\r\n\r\ninner\r\n--x--", "inner"),
        (b"multipart/mixed; boundary=y", b"no part", "no part"),
        (b"multipart/mixed; boundary=y", b"--y\r\n\r\nbreaks off", "breaks off"),
        (b"multipart/mixed; boundary=y", b"--y\n\nunix\n--yy\n--y--\n", "unix\n--yy"),
    ],
)
def test_a_text_is_read_out_of_any_form(fields: bytes, body: bytes, text: str) -> None:
    assert read(b"Content-Type: " + fields + b"\r\n\r\n" + body)["text"] == text


def test_of_versions_of_a_text_the_one_that_a_person_sees_is_shown_once() -> None:
    message = EmailMessage()
    message.set_content("Hello Bob")
    message.add_alternative("<p>Hello <b>Bob</b></p>", subtype="html")

    same = read(message.as_bytes())
    other = read(message.as_bytes().replace(b"Hello Bob", b"Pay Mallory"))

    assert (same["text"], other["text"]) == ("Hello Bob", "Hello Bob")
    assert "other version" not in same["left_out"]
    assert other["left_out"]["other version"] == 1


def test_a_page_without_text_gives_way_to_the_plain_text() -> None:
    message = EmailMessage()
    message.set_content("Hello Bob")
    message.add_alternative("<img src='cid:x'>", subtype="html")

    assert read(message.as_bytes())["text"] == "Hello Bob"


@pytest.mark.parametrize(
    ("part", "mark"),
    [
        (b'Content-Disposition: attachment; filename="=?utf-8?Q?=C3=BC.txt?="', 'attachment "ü.txt" (text/plain'),
        (b"Content-Disposition: attachment; filename*=utf-8''%C3%BC.txt", 'attachment "ü.txt" (text/plain, 2 bytes)'),
        (b"Content-Disposition: attachment; filename*0*=utf-8''%C3; filename*1*=%BC.txt", 'attachment "ü.txt"'),
        (b'Content-Type: application/octet-stream; name="a b.csv"', 'attachment "a b.csv" (application/octet-stream'),
        (b"Content-Disposition: attachment", "attachment without a name (text/plain, 2 bytes)"),
    ],
)  # fmt: skip
def test_an_attachment_is_named_and_its_text_is_shown(part: bytes, mark: str) -> None:
    result = read(mixed(b"Content-Type: text/plain\r\n\r\nbody", part + b"\r\n\r\nhi"))

    assert f"body\n\n--- {mark}" in result["text"]
    assert result["text"].endswith("---\nhi")


def test_pictures_that_a_page_shows_are_counted_once() -> None:
    message = EmailMessage()
    message.set_content("<p>Look <img src='cid:a@b'></p>", subtype="html")
    message.add_related(b"x", "image", "png", cid="<a@b>")
    message.add_related(b"x", "image", "png", cid="<c@d>")

    assert read(message.as_bytes())["left_out"]["picture"] == 2


def test_a_page_that_was_saved_whole_is_read_as_a_page() -> None:
    content = (
        b"From: <Saved by Blink>\r\nSnapshot-Content-Location: https://e.org/\r\nSubject: Home\r\n"
        b"Content-Type: multipart/related; type=text/html; boundary=b\r\n\r\n"
        b"--b\r\nContent-Type: text/html\r\nContent-Location: https://e.org/\r\n\r\n<p>hello <img src=https://e.org/a>\r\n"
        b"--b\r\nContent-Type: text/css\r\nContent-Location: cid:css@x\r\n\r\np { color: red }\r\n"
        b"--b\r\nContent-Type: image/png\r\nContent-Location: https://e.org/a\r\n\r\nx\r\n--b--\r\n"
    )

    result = read(content)

    assert result["text"].endswith("Subject: Home\n\nhello")
    assert result["left_out"]["picture"] == result["left_out"]["style sheet"] == 1


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (lambda *_: time.sleep(60), "takes too much time"),
        (lambda *_: os._exit(3), "crashed its reader"),
        (lambda *_: 1 / 0, "damaged or incomplete"),
    ],
    ids=["slow", "crashing", "failing"],
)
def test_what_an_attachment_does_to_its_reader_costs_no_more_than_its_text(
    harm: Callable[..., Any], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page, "read", harm)
    message = EmailMessage()
    message.set_content("body")
    message.add_attachment("<p>page", subtype="html", filename="page.html")
    message.add_attachment("more text", filename="notes.txt")

    result = read(message.as_bytes(), seconds=1)

    assert "body" in result["text"]
    assert "more text" in result["text"]
    assert any("page.html" in remark and reason in remark for remark in result["remarks"])
    assert result["left_out"] == {"attachment": 1}


def test_a_file_of_several_mails_shows_them_all() -> None:
    content = b"From a@b Mon Jan 1\nSubject: 1\n\none\n>From you\n\nFrom a@b Mon Jan 1\nSubject: 2\n\ntwo\n"

    text = read(content)["text"]

    assert text == "--- message 1 ---\nSubject: 1\n\none\nFrom you\n\n--- message 2 ---\nSubject: 2\n\ntwo"


@pytest.mark.parametrize(
    "content",
    [
        "\ufeffSubject: ü\r\n\r\nbody".encode("utf-16-le"),
        "\ufeffSubject: ü\r\n\r\nbody".encode(),
        b"\r\n\r\nSubject: \xfc\r\n\r\nbody",
        b"16        \nSubject: \xfc\n\nbody\n<?xml version='1.0'?><plist/>",
        b"From a@b Mon Jan 1\nSubject: \xfc\n\nbody",
        b"Subject: \xfc\r\rbody",
    ],
)
def test_what_programs_put_around_a_mail_is_no_part_of_it(content: bytes) -> None:
    assert read(content)["text"] == "Subject: ü\n\nbody"


def test_a_line_among_the_fields_that_is_none_hides_no_field_after_it() -> None:
    result = read(b"From: a\r\nno field at all\r\nSubject: b\r\n\r\nbody\r\nSubject: c")
    lost = read(b"From: a\r\nno empty line\r\nbody")

    assert result["text"] == "From: a\nSubject: b\n\nbody\nSubject: c"
    assert result["left_out"] == {"header field": 1}
    assert lost["text"] == "From: a\n\nno empty line\nbody"


def test_an_invitation_is_read_as_people_read_it() -> None:
    calendar = (
        b"BEGIN:VCALENDAR\r\nBEGIN:VTIMEZONE\r\nTZID:X\r\nBEGIN:STANDARD\r\nDTSTART:1970\r\nEND:STANDARD\r\n"
        b"END:VTIMEZONE\r\nBEGIN:VEVENT\r\nSUMMARY:A\\, b\\nc\r\nDTSTART;TZID=Europe/Berlin:20240102T100000\r\n"
        b"DTEND;VALUE=DATE:20240103\r\nLOCATION:A very long\r\n  place\r\nRRULE:FREQ=DAILY\r\nUID:1\r\nEND:VEVENT\r\n"
    )

    result = read(b"Content-Type: text/calendar\r\n\r\n" + calendar)

    assert result["text"].splitlines() == [
        "Event:", "Summary: A, b", "c", "Start: 2024-01-02 10:00 (Europe/Berlin)", "End: 2024-01-03",
        "Place: A very long place", "Repeats: FREQ=DAILY",
    ]  # fmt: skip
    assert result["left_out"] == {"calendar field": 1}


@pytest.mark.parametrize(
    ("content", "kind", "count"),
    [
        (b"From: a\r\nContent-Type: message/rfc822\r\n\r\n" * 1000 + b"Subject: end\r\n\r\n", "attached mail", 1),
        (mixed(*[b"\r\nhi"] * 100_000), "part", 100_000 - 299),
        (
            b"".join(b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (n, n) for n in range(1000))
            + b"\nend",
            "part",
            1,
        ),
        (mixed(*[b"Subject: a\r\nContent-Type: message/rfc822\r\n\r\nSubject: b\r\n\r\n"] * 299), "", 0),
        (mixed(*[b"Content-Disposition: attachment; filename=a.txt\r\n\r\nx"] * 299), "attachment", 279),
    ],
    ids=["nested mails", "parts", "nested parts", "mails", "files"],
)
def test_a_hostile_mail_ends_in_a_sentence(content: bytes, kind: str, count: int) -> None:
    result = read(content)

    assert not kind or result["left_out"][kind] == count
    assert result["text"].startswith(("From: a", "Subject: x")) or result["left_out"]
