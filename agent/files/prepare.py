"""Making a file ready for models: its text, a picture that they take, a thumbnail for people.

What stays true: it depends on the bytes alone, so it is done once for each blob, by whoever comes
first; it raises nothing that is the file's fault.
"""

from agent.files.extract import TEXT_MAX_CHARS, extract_text, is_readable
from conversation.prepared_file import PreparationResult

_GOES_ON = f"The file goes on; only its first {TEXT_MAX_CHARS:,} characters were read."


async def prepare_file(content: bytes, media_type: str) -> PreparationResult:
    """What models and people see of these bytes, which are of this type."""
    if not is_readable(media_type):
        return PreparationResult()
    found = await extract_text(content, media_type)
    # What is missing and why: a reader that stopped by itself has said so.
    problem = found.problem or (_GOES_ON if found.truncated else None)
    return PreparationResult(
        text=found.text or None,
        problem=problem,
        picture=found.pictures.get("picture"),
        thumbnail=found.pictures.get("thumbnail"),
        is_final=found.is_final,
    )
