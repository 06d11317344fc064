"""Every route: what it answers, to whom nothing is there, what it refuses, and what it costs."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import httpx
import jsonschema
import pytest
from sqlalchemy import Connection, Engine, event, select

from producers.http.principal import SCOPES
from store import tables
from tests.integration.producers.http.routes import ROUTES, Route, World, make_world
from tests.integration.producers.http.site import Site

name_of = Route.name.fget


@pytest.fixture
def world(site: Site) -> World:
    return make_world(site)


@pytest.fixture(scope="session")
def old_world(site: Site) -> World:
    """One that nothing changes."""
    return make_world(site)


#: Field of the world → parameter of a path, where the names are not the same.
PARAMETERS = {
    **dict.fromkeys(("turn", "waiting", "cancelled", "undecided"), "turn_id"),
    **{name: f"{name}_id" for name in ("thread", "message", "branch", "upload", "call", "schedule")},
    "answered": "thread_id",
}


def ask(site: Site, who: str, route: Route, world: World, **options: Any) -> httpx.Response:
    path = options.pop("path", route.path)
    return site.ask(who, route.method, path.format(**vars(world)), **(options or route.options))


def test_every_route_is_in_the_table(site: Site) -> None:
    documented = {
        (method.upper(), path.removeprefix("/v1"))
        for path, methods in site.app.openapi()["paths"].items()
        for method in methods
        # Those of webhooks, which are no user's, are in `test_webhooks.py`.
        if not any(word in path for word in ("events", "stream-tokens", "webhooks", "inbound"))
        and path.startswith("/v1")
    }

    assert documented == {(route.method, documented_path(route)) for route in ROUTES}


def documented_path(route: Route) -> str:
    """A route's path as the document has it, without the version."""
    return re.sub(r"\{(\w+)\}", lambda match: f"{{{PARAMETERS.get(match[1], match[1])}}}", route.path)


def test_each_route_answers_what_its_description_says(site: Site) -> None:
    document = site.app.openapi()
    world = make_world(site)
    world = World(**vars(world) | {"upload": site.ask_for_upload("ada")})
    for route in ROUTES:
        answer = ask(site, "ada", route, world)
        assert answer.status_code == route.status, f"{route.name}: {answer.text}"
        assert "None" not in answer.headers.values()
        if answer.headers.get("content-type") == "application/json" and answer.is_success:
            check_shape(document, route, answer)


def check_shape(document: dict[str, Any], route: Route, answer: httpx.Response) -> None:
    described = document["paths"][f"/v1{documented_path(route)}"][route.method.lower()]["responses"][str(route.status)]
    if "content" not in described:
        return
    schema = described["content"]["application/json"]["schema"]
    closed = {
        name: each | {"additionalProperties": each.get("additionalProperties", False)}
        for name, each in document["components"]["schemas"].items()
    }
    # A listed thread and a listed message have all that a plain one has.
    jsonschema.validate(answer.json(), {**schema, "components": {"schemas": closed}})


def state_of(site: Site, world: World) -> list[Any]:
    """All that is stored of the threads, branches included."""

    def read(connection: Connection) -> list[Any]:
        id_ = tables.threads.c.id
        is_one = (id_ == world.thread) | (id_ == world.answered) | id_.startswith(f"{world.answered}/")
        keys = select(tables.threads.c.key).where(tables.threads.c.tenant == "acme", is_one)
        of_thread = [
            select(table).where(table.c.thread_key.in_(keys)).order_by(*table.primary_key.columns)
            for table in (tables.messages, tables.thread_context, tables.summaries, tables.attachments, tables.turns)
        ]
        rows = [connection.execute(statement).all() for statement in of_thread]
        own = select(tables.threads).where(tables.threads.c.key.in_(keys)).order_by(tables.threads.c.key)
        return [connection.execute(own).all(), *rows]

    return site.database.run(read)


@pytest.mark.parametrize("who", ["rival", "bob"])
def test_what_one_may_not_see_is_not_there(site: Site, old_world: World, who: str) -> None:
    world = World(**vars(old_world) | {"upload": site.ask_for_upload("ada")})
    before = state_of(site, world)

    for route in ROUTES:
        answer = ask(site, who, route, world)
        if "{" in route.path:
            assert answer.status_code == 404, f"{route.name}: {answer.text}"
            elsewhere = {
                "thread": "none",
                "answered": "none",
                "schedule": world.upload,
                "upload": world.turn,
                "turn": world.upload,
                "waiting": world.upload,
            }
            absent = ask(site, who, route, World(**vars(world) | elsewhere | {"cancelled": world.upload}))
            assert without_ids(answer, world) == without_ids(absent, world), route.name
        else:
            assert world.thread not in answer.text
    assert state_of(site, world) == before


def without_ids(answer: httpx.Response, world: World) -> tuple[int, str]:
    text = str(answer.json() | {"request_id": "_"})
    for each in (*vars(world).values(), "none", "rival", "acme"):
        text = text.replace(each, "_")
    return answer.status_code, text


def test_each_route_needs_its_scope(site: Site, old_world: World) -> None:
    before = state_of(site, old_world)

    for route in ROUTES:
        assert ask(site, "nobody", route, old_world).status_code == 401, route.name
        for scope in {*SCOPES} - {route.scope} - ({"operate"} if route.path == "/usage" else set()):
            assert ask(site, f"only-{scope}", route, old_world).status_code == 403, (route.name, scope)
    assert ask(site, "only-read", next(r for r in ROUTES if r.path == "/usage"), old_world).status_code == 403
    assert state_of(site, old_world) == before


def test_bad_input_is_refused_by_its_field(site: Site, old_world: World) -> None:
    before = state_of(site, old_world)

    for route in ROUTES:
        for field, other in route.refused.items():
            options = route.options | {"path": other} if isinstance(other, str) else other
            answer = ask(site, "ada", route, old_world, **options)
            assert (answer.status_code, answer.json().get("field")) == (400, field), f"{route.name}: {answer.text}"
    assert state_of(site, old_world) == before


@contextmanager
def counted_statements() -> Iterator[list[str]]:
    statements: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if not statement.startswith("BEGIN"):
            statements.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    yield statements
    event.remove(Engine, "before_cursor_execute", note)


@pytest.mark.parametrize("messages", [1, 300])
def test_what_a_route_costs_does_not_depend_on_the_history(site: Site, messages: int) -> None:
    world = make_world(site, messages=messages)
    world = World(**vars(world) | {"upload": site.ask_for_upload("ada")})
    costs = {}
    for route in ROUTES:
        ask_route = partial(ask, site, "ada", route, world)
        with counted_statements() as statements:
            ask_route()
        costs[route.name] = len(statements)

    assert costs == {route.name: route.statements for route in ROUTES}
