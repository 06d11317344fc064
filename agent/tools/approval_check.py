"""The check whether a call needs approval.

What stays true: a rule that fails asks a person. Arguments that the tool would refuse are shown to nobody: the model
hears of them at once.
"""

import inspect
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from agent.tools.approval import ApprovalRequest
from agent.tools.arguments import unwrap_object
from agent.tools.json_arguments import JsonArguments
from agent.tools.result import ToolResult
from agent.tools.run_context import RunContext
from agent.tools.tool import Tool


@dataclass(slots=True)
class ApprovalCheck:
    """The check whether one call needs approval. It runs foreign code: as a tool does, away from the turns' loop."""

    tool: Tool
    arguments: str
    context: RunContext
    #: The tool accepts the arguments.
    accepts_arguments: bool = False

    def as_tool(self) -> Tool:
        """The check as a tool, whose result is true where a person has to approve the call."""
        return replace(
            self.tool, function=self._check, arguments=JsonArguments({}), needs_approval=False, idempotent=True
        )

    def is_needed(self, result: ToolResult) -> bool:
        """Whether the check's result says so, or the rule failed."""
        return self.accepts_arguments and not (result.outcome == "finished" and result.content in ("false", "null"))

    def _check(self, _: Mapping[str, Any]) -> Any:
        self.tool.arguments.bind(self.arguments, self.context)
        self.accepts_arguments = True
        rule = self.tool.needs_approval
        if not callable(rule):
            return bool(rule)
        answer = rule(self._request())
        return answer if inspect.isawaitable(answer) else bool(answer)

    def _request(self) -> ApprovalRequest:
        context = self.context
        arguments = json.loads(unwrap_object(self.arguments) or "{}")
        return ApprovalRequest(
            tool=self.tool.name,
            arguments=arguments if isinstance(arguments, dict) else {},
            user=context.user,
            thread_owner=context.thread_owner,
            tenant=context.tenant,
            thread_id=context.thread_id,
            turn_id=context.turn_id,
            metadata=context.metadata,
        )
