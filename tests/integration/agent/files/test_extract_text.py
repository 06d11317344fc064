"""Text of any encoding is read as what it says, as much of it as is asked for."""

import pytest

from agent.files.extract import Extracted, extract_text


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", ""),
        ("Grüße 你好 🎉".encode(), "Grüße 你好 🎉"),
        ("\ufeffwith a mark".encode(), "with a mark"),
        ("Grüße".encode("utf-16"), "Grüße"),
        ("Grüße".encode("utf-16-be"), "Grüße"),
        ("Grüße".encode("utf-16-le"), "Grüße"),
        ("Grüße 🎉".encode("utf-32"), "Grüße 🎉"),
        ("Grüße für 5 €".encode("cp1252"), "Grüße für 5 €"),
        ("Grüße".encode() + b" and \xff one broken byte", "Grüße and \ufffd one broken byte"),
        (b"never used in \x81 cp1252", "never used in \ufffd cp1252"),
        ("lone \udc80 surrogate".encode("utf-16", "surrogatepass"), "lone \ufffd surrogate"),
    ],
)
@pytest.mark.parametrize("media_type", ["text/plain", "application/json", "TEXT/csv; charset=x"])
async def test_text_of_any_encoding_is_read(content: bytes, text: str, media_type: str) -> None:
    assert await extract_text(content, media_type) == Extracted(text)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-32", "utf-16-le"])
@pytest.mark.parametrize("char", ["x", "ü", "你", "🎉"])
async def test_a_long_text_is_cut_between_characters(encoding: str, char: str) -> None:
    content = ("x" + char * 1000).encode(encoding)

    assert await extract_text(content, "text/plain", max_chars=101) == Extracted("x" + char * 100, truncated=True)
    assert await extract_text(content, "text/plain", max_chars=1001) == Extracted("x" + char * 1000)


async def test_no_text_is_expected_of_a_film() -> None:
    found = await extract_text(b"\x89", "video/mp4")

    assert found == Extracted("", problem="A file of type video/mp4 has no text that can be read.")
