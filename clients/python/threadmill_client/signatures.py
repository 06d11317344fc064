"""Signatures of methods that were made of verbs, for `help` and whatever inspects them."""

import inspect
from collections.abc import Callable
from functools import update_wrapper
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


def with_self(method: F, verb: Callable[..., Any], returns: object) -> F:
    """Give a method the name, the words and the signature of its verb, behind `self`, and what it returns itself."""
    update_wrapper(method, verb)
    signature = inspect.signature(verb)
    itself = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = [itself, *signature.parameters.values()]
    method.__signature__ = signature.replace(parameters=parameters, return_annotation=returns)  # type: ignore[attr-defined]
    return method
