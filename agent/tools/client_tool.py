"""A client tool: the model calls it, and the client that shows the conversation runs it and gives its result."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

from agent.tools.json_arguments import JsonArguments
from agent.tools.tool import TOOL_NAME, Tool
from conversation.errors import InvalidInput
from conversation.validation import check_text


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientTool:
    """A tool that the client runs: the turn waits for its result."""

    name: str
    #: What it does, for the model.
    description: str = ""
    #: The JSON schema of its arguments: an object.
    parameters: Mapping[str, Any] = field(default_factory=lambda: {"type": "object", "properties": {}})

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not TOOL_NAME.fullmatch(self.name):
            raise InvalidInput("client_tool.name", f"is {self.name!r}", "use 1 to 64 letters, digits, _ and -")
        check_text("client_tool.description", self.description)
        if not isinstance(self.parameters, Mapping) or self.parameters.get("type", "object") != "object":
            problem = "is no JSON schema of an object"
            raise InvalidInput("client_tool.parameters", problem, "pass {'type': 'object', 'properties': …}")

    def as_tool(self) -> Tool:
        """The tool as it stands among those of an agent; no worker runs it."""
        arguments = JsonArguments({"type": "object", **self.parameters})
        return Tool(
            name=self.name,
            description=self.description,
            function=_refuse_to_run,
            arguments=arguments,
            runs_on_client=True,
        )


def _refuse_to_run(_: Mapping[str, Any]) -> NoReturn:
    raise TypeError("the client runs this tool")
