"""The answer to a server that asks back in the middle of a call: nobody is there, but its form may have defaults.

What stays true: nothing is answered that the form does not say itself, and no address is opened.
"""

from typing import Any


async def answer_with_defaults(_context: Any, question: Any) -> Any:
    """Accept a form with its own defaults; decline one that needs more, and every address to go to."""
    from mcp_types import ElicitResult

    if question.mode != "form":
        return ElicitResult(action="decline")
    schema = question.requested_schema
    fields = schema.get("properties", {}).items()
    defaults = {name: field["default"] for name, field in fields if "default" in field}
    if not defaults.keys() >= set(schema.get("required", ())):
        return ElicitResult(action="decline")
    return ElicitResult(action="accept", content=defaults)
