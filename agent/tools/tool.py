"""A tool: a plain Python function that a model may call.

What stays true: a tool is a value without state. What belongs to one call is in its `RunContext`,
so one tool serves every tenant and thread at once.
"""

import inspect
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, overload

from agent.tools.approval import ApprovalRule
from agent.tools.arguments import Arguments, describe
from agent.tools.json_arguments import JsonArguments
from conversation.errors import InvalidInput

#: What every provider accepts as a function's name.
TOOL_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
TIMEOUT_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tool:
    """A function with the name, description and schema under which a model knows it."""

    name: str
    description: str
    function: Callable[..., Any]
    arguments: Arguments | JsonArguments
    #: Seconds for one call, the wait for a thread included.
    timeout_seconds: float = TIMEOUT_SECONDS
    #: Running it twice is as good as once: a call whose outcome is unknown may be run again.
    idempotent: bool = False
    #: A person has to approve each call before it runs, or those for which a rule says so.
    needs_approval: bool | ApprovalRule = False
    #: The client that shows the conversation runs it: see `ClientTool`.
    runs_on_client: bool = False

    @classmethod
    def from_function(
        cls,
        function: Callable[..., Any],
        *,
        name: str | None = None,
        timeout_seconds: float = TIMEOUT_SECONDS,
        idempotent: bool = False,
        needs_approval: bool | ApprovalRule = False,
    ) -> "Tool":
        """Make a tool of a function, sync or async. Raises `InvalidInput` where no model could call it."""
        name = name if name is not None else getattr(function, "__name__", type(function).__name__)
        _check(name, function, timeout_seconds)
        if not (isinstance(needs_approval, bool) or callable(needs_approval)):
            raise InvalidInput(f"tool {name}", f"has needs_approval={needs_approval!r}", "pass True, or a function")
        return cls(
            name=name,
            description=describe(function),
            function=function,
            arguments=Arguments.from_function(function, tool=name),
            timeout_seconds=float(timeout_seconds),
            idempotent=idempotent,
            needs_approval=needs_approval,
        )

    @property
    def may_wait(self) -> bool:
        """Whether a call of it may have to wait before it begins."""
        return self.runs_on_client or bool(self.needs_approval)

    @property
    def is_async(self) -> bool:
        """Whether the function runs on the event loop; else in a thread."""
        call = getattr(self.function, "__call__", None)  # noqa: B004 - an object's own method, to see if it is async
        return inspect.iscoroutinefunction(self.function) or inspect.iscoroutinefunction(call)

    def declaration(self) -> dict[str, Any]:
        """The tool in the form that chat-completions requests carry."""
        function = {"name": self.name, "description": self.description, "parameters": self.arguments.schema}
        return {"type": "function", "function": function}

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function itself, unchecked, as Python code does."""
        return self.function(*args, **kwargs)


@overload
def tool(
    function: Callable[..., Any],
    *,
    name: str | None = None,
    timeout_seconds: float = TIMEOUT_SECONDS,
    idempotent: bool = False,
    needs_approval: bool | ApprovalRule = False,
) -> Tool: ...


@overload
def tool(
    function: None = None,
    *,
    name: str | None = None,
    timeout_seconds: float = TIMEOUT_SECONDS,
    idempotent: bool = False,
    needs_approval: bool | ApprovalRule = False,
) -> Callable[[Callable[..., Any]], Tool]: ...


def tool(
    function: Callable[..., Any] | None = None,
    *,
    name: str | None = None,
    timeout_seconds: float = TIMEOUT_SECONDS,
    idempotent: bool = False,
    needs_approval: bool | ApprovalRule = False,
) -> Tool | Callable[[Callable[..., Any]], Tool]:
    """Make a tool of the function below: `@tool`, or `@tool(timeout_seconds=5)`."""

    def decorate(function: Callable[..., Any]) -> Tool:
        return Tool.from_function(
            function, name=name, timeout_seconds=timeout_seconds, idempotent=idempotent, needs_approval=needs_approval
        )

    return decorate if function is None else decorate(function)


def _check(name: str, function: Callable[..., Any], timeout_seconds: float) -> None:
    if not callable(function):
        fix = "what its as_tool() returns" if hasattr(function, "as_tool") else "a function, sync or async"
        raise InvalidInput(f"tool {name}", "is no function", f"pass {fix}")
    if not TOOL_NAME.fullmatch(name):
        raise InvalidInput("tool.name", f"is {name!r}", "use 1 to 64 letters, digits, _ and -; name= gives another one")
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise InvalidInput(f"tool {name}", "is a generator", "return a list")
    if not (math.isfinite(timeout_seconds) and timeout_seconds > 0):
        raise InvalidInput(f"tool {name}", f"has timeout_seconds={timeout_seconds}", "pass a number of seconds above 0")
