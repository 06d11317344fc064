"""`ask_user`: a tool by which a model asks the user a question, and reads the answer."""

from typing import Any, Literal

from agent.tools.run_context import RunContext
from agent.tools.tool import tool

_TYPES: dict[str, Any] = {"text": str, "number": float, "integer": int, "yes_no": bool}


@tool(name="ask_user", idempotent=True)
def ask_user(
    question: str,
    context: RunContext,
    choices: list[str] | None = None,
    answer: Literal["text", "number", "integer", "yes_no"] = "text",
) -> Any:
    """Ask the user a question that only they can answer, and wait for the answer. Ask one thing at a time.

    Args:
        question: The question, in the user's language.
        choices: The only answers that are possible; none where the user may answer freely.
        answer: The kind of the answer.
    """
    return context.ask(question, type=_TYPES[answer], choices=choices)
