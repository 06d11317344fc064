"""What every route of a resource does with its query: refuse what it does not know, and what comes twice."""

from collections.abc import Callable
from functools import cache
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from fastapi import APIRouter, Depends, Request
from fastapi.exceptions import RequestValidationError
from fastapi.params import Query


def make_router(tag: str) -> APIRouter:
    """A router for one resource."""
    return APIRouter(tags=[tag], dependencies=[Depends(check_query)])


async def check_query(request: Request) -> None:
    """Refuse parameters that the route does not read: a misspelled filter would show all there is."""
    known_names = _list_names(request.scope["endpoint"])
    for name in request.query_params:
        if name not in known_names:
            raise _invalid(name, "extra_forbidden", "Extra inputs are not permitted")
        if len(request.query_params.getlist(name)) > 1:
            raise _invalid(name, "repeated", "Comes more than once")


@cache
def _list_names(endpoint: Callable[..., Any]) -> frozenset[str]:
    """The names of the parameters that an endpoint reads of a query."""
    hints = get_type_hints(endpoint, include_extras=True)
    return frozenset(name for name, hint in hints.items() if get_origin(hint) is Annotated and _is_of_query(hint))


def _is_of_query(hint: Any) -> bool:
    return any(isinstance(each, Query) for each in get_args(hint))


def _invalid(name: str, kind: str, message: str) -> RequestValidationError:
    error: dict[str, Any] = {"type": kind, "loc": ("query", name), "msg": message, "input": None}
    return RequestValidationError([error])
