"""The arguments of a tool: the JSON schema of a function's signature, and the check of a model's arguments.

What stays true: the function is called only with values that its annotations accept, and what it
cannot accept is refused when the tool is defined or reported to the model, never guessed. A parameter
whose default is None takes null, in the schema as in the check.
"""

import inspect
import json
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import UnionType
from typing import Annotated, Any, Optional, Union, get_args, get_origin, get_type_hints

import docstring_parser
from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model
from pydantic.fields import FieldInfo
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaWarningKind
from pydantic_core import CoreSchema, ErrorDetails
from pydantic_core.core_schema import ModelField

from agent.tools.run_context import RunContext
from conversation.errors import InvalidInput

#: Problems reported to the model at once: enough to mend a call, short enough to read.
PROBLEMS_MAX = 10

#: What models write, and providers pass on, for a call without arguments.
NO_ARGUMENTS = frozenset({"", "{}", "null", "none", "undefined", "nil", "[]", "[{}]", "()", '""', "''"})

_VARIADIC = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}


class InvalidArguments(Exception):
    """The model's arguments do not fit. The text is for the model: what is wrong, and where."""


@dataclass(frozen=True, slots=True)
class Arguments:
    """The arguments that one function accepts."""

    #: JSON Schema of an object; every property is a parameter that the model fills in.
    schema: dict[str, Any]
    signature: inspect.Signature
    #: Parameters by the name of their field in `model`.
    parameters: Mapping[str, str]
    model: type[BaseModel]
    #: Parameters that the caller fills in with the `RunContext`.
    context_parameters: frozenset[str]

    @classmethod
    def from_function(cls, function: Callable[..., Any], *, tool: str) -> "Arguments":
        """Read a function's signature and docstring. Raises `InvalidInput` for what no model can fill in."""
        signature = _read_signature(function, tool)
        hints = _read_hints(function, tool)
        for parameter in signature.parameters.values():
            _check_parameter(parameter, hints, tool)
        context_parameters = frozenset(name for name in signature.parameters if _is_context(hints.get(name)))
        model_parameters = [p for name, p in signature.parameters.items() if name not in context_parameters]
        # Fields get neutral names, so that parameters called `json` or `copy` hide nothing of pydantic's.
        names = {f"p{index}": parameter.name for index, parameter in enumerate(model_parameters)}
        model = _build_model(tool, names, model_parameters, hints)
        schema = _build_schema(model, tool, _parameter_docs(function))
        return cls(schema, signature, names, model, context_parameters)

    def bind(self, text: str, context: RunContext) -> inspect.BoundArguments:
        """Check the model's arguments, and bind them to the signature. Raises `InvalidArguments`."""
        try:
            validated_arguments = self.model.model_validate_json(unwrap_object(text))
        except ValidationError as error:
            raise InvalidArguments(_describe_problems(error)) from None
        values = {name: getattr(validated_arguments, field) for field, name in self.parameters.items()}
        ordered_values = (
            (name, context if name in self.context_parameters else values[name]) for name in self.signature.parameters
        )
        return inspect.BoundArguments(self.signature, OrderedDict(ordered_values))


class _PlainSchema(GenerateJsonSchema):
    """Schemas without titles made up from names: those cost tokens and say nothing new."""

    # A default that JSON cannot show stays a default; it is only left out of the schema.
    ignored_warning_kinds: set[JsonSchemaWarningKind] = {  # noqa: RUF012 - pydantic declares it so
        *GenerateJsonSchema.ignored_warning_kinds,
        "non-serializable-default",
    }

    def field_title_should_be_set(self, schema: CoreSchema | ModelField | Any) -> bool:  # noqa: ARG002 - pydantic's signature
        return False


def unwrap_object(text: str) -> str:
    """The JSON object in a model's arguments: some call nothing by many names, or quote the object as a string."""
    for _ in range(2):
        text = text.strip().strip("\x00\ufeff")
        if len(text) <= 16 and "".join(text.split()).casefold() in NO_ARGUMENTS:
            return "{}"
        if not text.startswith('"'):
            break
        try:
            text = json.loads(text)
        except ValueError:
            break
    return text


def describe(function: Callable[..., Any]) -> str:
    """The docstring without its sections on parameters and results."""
    text = inspect.getdoc(function) or ""
    try:
        parsed = docstring_parser.parse(text)
    except docstring_parser.ParseError:
        return text
    parts = (parsed.short_description, parsed.long_description)
    return "\n\n".join(part for part in parts if part)


def _parameter_docs(function: Callable[..., Any]) -> dict[str, str]:
    try:
        parsed = docstring_parser.parse(inspect.getdoc(function) or "")
    except docstring_parser.ParseError:
        return {}
    return {param.arg_name: param.description for param in parsed.params if param.description}


def _read_signature(function: Callable[..., Any], tool: str) -> inspect.Signature:
    try:
        return inspect.signature(function)
    except ValueError:
        raise InvalidInput(
            f"tool {tool}", "has no signature that Python can read", "wrap it in a function of your own"
        ) from None


def _read_hints(function: Callable[..., Any], tool: str) -> dict[str, Any]:
    target: Any = function
    while isinstance(target, partial):
        target = target.func
    if not inspect.isroutine(target):
        target = type(target).__call__
    try:
        return get_type_hints(target, include_extras=True)
    except Exception as error:  # noqa: BLE001 - an annotation is any expression, and raises anything
        raise InvalidInput(
            f"tool {tool}",
            f"has an annotation that cannot be resolved ({_first_line(error)})",
            "define it at module level",
        ) from None


def _check_parameter(parameter: inspect.Parameter, hints: Mapping[str, Any], tool: str) -> None:
    if parameter.kind in _VARIADIC:
        raise InvalidInput(
            f"tool {tool}",
            f"takes {_VARIADIC[parameter.kind]}{parameter.name}, which a model cannot fill in",
            "name every parameter",
        )
    if parameter.name == "self" and "self" not in hints:
        raise InvalidInput(f"tool {tool}", "is a method without its object", "pass the bound method: thing.method")


def _is_context(annotation: object) -> bool:
    if get_origin(annotation) in (Union, UnionType, Annotated):
        return RunContext in get_args(annotation)
    return annotation is RunContext


def _annotate(parameter: inspect.Parameter, hints: Mapping[str, Any]) -> Any:
    """The parameter's annotation; `str = None` means `str | None`, as it did before Python had a word for it."""
    annotation, default = hints.get(parameter.name, Any), parameter.default
    if isinstance(default, FieldInfo):
        default = default.default
    return Optional[annotation] if default is None else annotation  # noqa: UP045 - `|` needs more of its operands


def _build_model(
    tool: str, names: Mapping[str, str], model_parameters: list[inspect.Parameter], hints: Mapping[str, Any]
) -> type[BaseModel]:
    try:
        fields: dict[str, Any] = {
            field: (
                Annotated[_annotate(parameter, hints), Field(alias=parameter.name)],
                ... if parameter.default is inspect.Parameter.empty else parameter.default,
            )
            for field, parameter in zip(names, model_parameters, strict=True)
        }
        model = create_model(f"{tool}_arguments", __config__=ConfigDict(extra="forbid"), **fields)
    except Exception as error:  # noqa: BLE001 - pydantic raises whatever an annotation's own code does
        raise _schema_error(tool, error) from None
    if model.model_fields.keys() != names.keys():
        raise _schema_error(tool, TypeError("a ClassVar is no parameter"))
    return model


def _build_schema(model: type[BaseModel], tool: str, docs: Mapping[str, str]) -> dict[str, Any]:
    try:
        schema = model.model_json_schema(schema_generator=_PlainSchema)
        for property_schema in schema["properties"].values():
            if not _is_finite(property_schema.get("default")):
                del property_schema["default"]
        json.dumps(schema, allow_nan=False)
    except Exception as error:  # noqa: BLE001 - as above; also a schema of the user's that is no JSON
        raise _schema_error(tool, error) from None
    schema.pop("title", None)
    for name, property_schema in schema["properties"].items():
        if name in docs:
            property_schema.setdefault("description", docs[name])
    return schema


def _is_finite(default: object) -> bool:
    """Whether a default is no NaN or infinity, which JSON does not have."""
    try:
        json.dumps(default, allow_nan=False)
    except ValueError:
        return False
    return True


def _schema_error(tool: str, error: Exception) -> InvalidInput:
    return InvalidInput(
        f"tool {tool}",
        f"has a parameter that JSON cannot carry ({_first_line(error)})",
        "use JSON-like types, dataclasses or pydantic models",
    )


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0] or type(error).__name__


def _describe_problems(error: ValidationError) -> str:
    problems = error.errors(include_url=False, include_context=False, include_input=False)
    descriptions = [_describe_problem(problem) for problem in problems[:PROBLEMS_MAX]]
    if len(problems) > PROBLEMS_MAX:
        descriptions.append(f"and {len(problems) - PROBLEMS_MAX} more")
    return "; ".join(descriptions)


def _describe_problem(problem: ErrorDetails) -> str:
    location = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "missing":
        return f"{location}: required, but missing"
    if problem["type"] == "extra_forbidden":
        return f"{location}: no such parameter"
    if problem["type"] == "json_invalid":
        return f"the arguments are not valid JSON ({problem['msg'].removeprefix('Invalid JSON: ')})"
    if not location:
        return "the arguments must be one JSON object"
    return f"{location}: {problem['msg']}"
