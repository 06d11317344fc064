"""Preparation of a file for models: its text, a picture that they take, a thumbnail for users.

What stays true: it depends on the bytes alone, so it is done once for each blob, by the first
process to need it; it raises nothing that is the file's fault.
"""

from agent.files.extract import TEXT_MAX_CHARS, extract_text, is_readable
from conversation.prepared_file import PreparationResult

_TRUNCATED = f"The file goes on; only its first {TEXT_MAX_CHARS:,} characters were read."


async def prepare_file(content: bytes, media_type: str) -> PreparationResult:
    """Prepare a file of this media type: its text, picture and thumbnail, or why there are none."""
    if not is_readable(media_type):
        return PreparationResult()
    extracted = await extract_text(content, media_type)
    # What is missing and why: a reader that stopped by itself has said so.
    problem = extracted.problem or (_TRUNCATED if extracted.truncated else None)
    return PreparationResult(
        text=extracted.text or None,
        problem=problem,
        picture=extracted.pictures.get("picture"),
        thumbnail=extracted.pictures.get("thumbnail"),
        is_final=extracted.is_final,
    )
