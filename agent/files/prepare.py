"""Preparation of a file for models: its text, a picture that they take, a thumbnail for users.

What stays true: it depends on the bytes alone, so it is done once for each blob, by the first
process to need it; it raises nothing that is the file's fault.
"""

from collections.abc import Mapping

from agent.files.extract import TEXT_MAX_CHARS, extract_text, is_readable
from conversation.prepared_file import PreparationResult

_TRUNCATED = f"The file goes on; only its first {TEXT_MAX_CHARS:,} characters were read."


async def prepare_file(content: bytes, media_type: str, ocr_languages: str = "") -> PreparationResult:
    """Prepare a file of this media type: its text, picture and thumbnail, or why there are none.

    With `ocr_languages`, such as `eng+deu`, text in pictures is read, too.
    """
    if not is_readable(media_type):
        return PreparationResult()
    extracted = await extract_text(content, media_type, ocr_languages=ocr_languages)
    # A reader that stopped by itself has said so.
    problem = extracted.problem or (_TRUNCATED if extracted.truncated else None)
    sentences = [problem, *extracted.remarks, _describe_left_out(extracted.left_out)]
    return PreparationResult(
        text=extracted.text or None,
        note=" ".join(filter(None, sentences)) or None,
        left_out=extracted.left_out,
        picture=extracted.pictures.get("picture"),
        thumbnail=extracted.pictures.get("thumbnail"),
        is_final=extracted.is_final,
    )


def _describe_left_out(left_out: Mapping[str, int]) -> str:
    """Describe what a text does not show: `Not shown: 1 chart, 3 pictures.`; "" for nothing."""
    kinds = [f"{count} {kind if count == 1 else _pluralize(kind)}" for kind, count in left_out.items()]
    return f"Not shown: {', '.join(kinds)}." if kinds else ""


def _pluralize(kind: str) -> str:
    """The plural of a kind of content, which is in regular words: `entry` becomes `entries`."""
    return f"{kind[:-1]}ies" if kind.endswith("y") and kind[-2] not in "aeiou" else f"{kind}s"
