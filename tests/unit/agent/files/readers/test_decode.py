"""Text inside files is decoded as a file of its own would be, and a guess is told."""

import time
import zipfile

import pytest

from agent.files.readers.archives import archive
from agent.files.readers.mail import messages as mail
from agent.files.readers.page import html as page
from agent.files.readers.sections import TextSections

TEXT = "Привет, это обычное письмо про погоду и новые документы."


def sections() -> TextSections:
    return TextSections(time.monotonic() + 30, 10_000)


@pytest.mark.parametrize(("encoding", "label"), [("cp1251", "Windows-1251"), ("koi8-r", "KOI8-R")])
def test_a_guess_at_the_encoding_of_a_page_or_a_mail_is_told(encoding: str, label: str) -> None:
    content = TEXT.encode(encoding)
    for result in (page.read(b"<p>" + content, sections()), mail.read(b"Subject: x\r\n\r\n" + content, sections())):
        assert TEXT in result["text"]
        assert result["remarks"] == [f"The text was read as {label}, which is a guess."]


@pytest.mark.parametrize(
    ("label", "content", "text", "remark"),
    [
        ("utf-8", TEXT.encode("cp1251"), TEXT, "The text was read as Windows-1251, which is a guess."),
        ("utf-8", f"{TEXT} ".encode() + b"\xff", f"{TEXT} \ufffd", "1 character is broken, and shown as \ufffd."),
        ("utf-8", f"{TEXT} \ufffd".encode(), f"{TEXT} \ufffd", None),
        ("utf-16", b"The weather is fine.", "The weather is fine.", None),
    ],
)
def test_a_label_that_is_not_true_is_not_believed(label: str, content: bytes, text: str, remark: str | None) -> None:
    header = f"Subject: x\r\nContent-Type: text/plain; charset={label}\r\n\r\n".encode()

    result = mail.read(header + content, sections())

    assert result["text"].endswith(text)
    assert result["remarks"] == ([remark] if remark else [])


@pytest.mark.parametrize(
    ("encoding", "names"),
    [
        ("gb18030", ["力学电磁学2017秋期中.txt", "量子力学2016秋期末.txt"]),
        ("cp932", ["日本語のファイル名.txt", "報告書.docx"]),
        ("cp866", ["Отчёт за год.txt"]),
        ("cp437", ["Grüße.txt"]),
        ("utf-8", ["Grüße.txt"]),
    ],
)
def test_names_in_an_archive_are_read_in_the_encoding_of_their_country(encoding: str, names: list[str]) -> None:
    infos = [zipfile.ZipInfo(name.encode(encoding).decode("cp437")) for name in names]

    assert [entry.name for entry in archive._zip_entries(infos)] == names
