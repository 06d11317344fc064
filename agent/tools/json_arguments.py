"""The arguments of a tool that is declared by a JSON schema of somebody else's, and not by a function.

What stays true: the schema is declared to models as it came; the model's arguments are checked against it before
anything is called; and no schema makes this process fetch another document.
"""

import inspect
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Any

from agent.tools.arguments import PROBLEMS_MAX, InvalidArguments, unwrap_object
from agent.tools.run_context import RunContext

#: Characters of one problem: it quotes the value that does not fit.
_PROBLEM_MAX_CHARS = 300


def _take(arguments: Mapping[str, Any]) -> None:
    """The signature of what is called."""


_SIGNATURE = inspect.signature(_take)


@dataclass(frozen=True)
class JsonArguments:
    """The arguments that one schema accepts. The tool's function takes them as one mapping."""

    schema: dict[str, Any]

    def bind(self, text: str, context: RunContext) -> inspect.BoundArguments:  # noqa: ARG002 - as `Arguments.bind`
        """Check the model's arguments. Raises `InvalidArguments`."""
        arguments = _parse(text)
        problems = self._find_problems(arguments)
        if problems:
            raise InvalidArguments("; ".join(problems))
        return _SIGNATURE.bind(arguments)

    def _find_problems(self, arguments: dict[str, Any]) -> list[str]:
        """The problems of arguments; none where the schema itself is of no use: then its server has to check."""
        try:
            return [_describe(problem) for problem in islice(self._validator.iter_errors(arguments), PROBLEMS_MAX)]
        except Exception:  # noqa: BLE001 - foreign schemas: wrong ones, references to nowhere, circles
            return []

    @cached_property
    def _validator(self) -> Any:
        """The check of the schema, without its regular expressions. Raises whatever is wrong with the schema."""
        from jsonschema.validators import extend, validator_for
        from referencing import Registry

        # A pattern of a stranger's may take for ever on the loop, and here it cannot be left out.
        text = json.dumps({name: value for name, value in self.schema.items() if name != "$schema"})
        if '"patternProperties"' in text or '"$schema"' in text:
            raise ValueError("patterns of names, and a dialect of its own in a part, are not checked here")
        default = validator_for({"$schema": _DIALECT})
        validator = extend(validator_for(self.schema, default=default), {"pattern": lambda *_: None})
        validator.check_schema(self.schema)
        # With a registry of its own it knows of no document but this one, and asks no network for others.
        return validator(self.schema, registry=Registry())


#: The dialect of a schema that names none, as the protocol says.
_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def _parse(text: str) -> dict[str, Any]:
    try:
        arguments = json.loads(unwrap_object(text), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise InvalidArguments(f"the arguments are not valid JSON ({str(error)[:_PROBLEM_MAX_CHARS]})") from None
    if not isinstance(arguments, dict):
        raise InvalidArguments("the arguments must be one JSON object")
    return arguments


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def _describe(problem: Any) -> str:
    location = ".".join(str(part) for part in problem.absolute_path)
    message = str(problem.message)[:_PROBLEM_MAX_CHARS]
    return f"{location}: {message}" if location else message
