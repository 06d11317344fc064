"""Text of any encoding is read as what it says, as much of it as is asked for."""

import pytest

from agent.files.extract import Extracted, extract_text

GUESS = "The text was read as {}, which is a guess."
BROKEN = "1 character is broken, and shown as \ufffd."


@pytest.mark.parametrize(
    ("content", "text", "remarks"),
    [
        (b"", "", ()),
        ("Grüße 你好 🎉".encode(), "Grüße 你好 🎉", ()),
        ("\ufeffwith a mark".encode(), "with a mark", ()),
        ("Grüße".encode("utf-16"), "Grüße", ()),
        ("Grüße".encode("utf-16-be"), "Grüße", ()),
        ("Grüße".encode("utf-16-le"), "Grüße", ()),
        ("Grüße 🎉".encode("utf-32"), "Grüße 🎉", ()),
        ("Grüße für 5 €".encode("cp1252"), "Grüße für 5 €", (GUESS.format("Windows-1252"),)),
        ("已经付款，谢谢。".encode("gb18030"), "已经付款，谢谢。", (GUESS.format("GB18030"),)),
        ("已经付款，谢谢。".encode("utf-16-le"), "已经付款，谢谢。", (GUESS.format("UTF-16"),)),
        ("# coding: koi8-r\n# счёт".encode("koi8-r"), "# coding: koi8-r\n# счёт", ()),
        ("Grüße".encode() + b" and \xff one broken byte", "Grüße and \ufffd one broken byte", (BROKEN,)),
        ("Grüße, Grüße".encode()[:-2], "Grüße, Grü\ufffd", (BROKEN,)),
        ("a \ufffd of its own".encode(), "a \ufffd of its own", ()),
        ("lone \udc80 surrogate".encode("utf-16", "surrogatepass"), "lone \ufffd surrogate", (BROKEN,)),
    ],
)
@pytest.mark.parametrize("media_type", ["text/plain", "application/json", "TEXT/csv; charset=x"])
async def test_text_of_any_encoding_is_read(
    content: bytes, text: str, remarks: tuple[str, ...], media_type: str
) -> None:
    assert await extract_text(content, media_type) == Extracted(text, remarks=remarks)


async def test_an_encoding_that_cannot_be_told_is_said_and_what_a_sender_says_is_believed() -> None:
    content = b"never used in \x81 cp1252"

    unread = await extract_text(content, "text/plain")
    assert (unread.text, unread.problem) == (
        "",
        "The text could not be read: its encoding could not be told. Save it as UTF-8, and send it again.",
    )
    assert await extract_text(content, "text/plain; charset=cp437") == Extracted("never used in ü cp1252")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-32", "utf-16-le"])
@pytest.mark.parametrize("char", ["x", "ü", "你", "🎉"])
async def test_a_long_text_is_cut_between_characters(encoding: str, char: str) -> None:
    content = ("x" + char * 1000).encode(encoding)

    beginning = await extract_text(content, "text/plain", max_chars=101)
    assert (beginning.text, beginning.truncated) == ("x" + char * 100, True)
    whole = await extract_text(content, "text/plain", max_chars=1001)
    assert (whole.text, whole.truncated) == ("x" + char * 1000, False)


async def test_no_text_is_expected_of_a_film() -> None:
    found = await extract_text(b"\x89", "video/mp4")

    assert found == Extracted("", problem="A file of type video/mp4 has no text that can be read.")
