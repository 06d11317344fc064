"""Every command of the page that shows the gateway with curl, as curl would send it."""

import re
import shlex
from argparse import ArgumentParser
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx

from conversation.ids import new_id
from tests.docs.pages import ROOT, blocks
from tests.integration.producers.http.routes import ROUTES, Route, make_undecided
from tests.integration.producers.http.site import PNG, SHA256, UPLOAD, Site

PAGE = ROOT / "docs/how-to/talk-over-http.md"


def list_commands(page: Path) -> Iterator[str]:
    for block in blocks(page):
        if block.language == "sh":
            yield from block.text.replace("\\\n", " ").splitlines()


def read_request(words: Sequence[str]) -> dict[str, Any]:
    """What curl sends for these words."""
    parser = ArgumentParser()
    parser.add_argument("--oauth2-bearer", dest="who")
    parser.add_argument("--json", dest="content")
    parser.add_argument("-X", dest="method")
    parser.add_argument("-H", dest="headers", action="append", default=[])
    parser.add_argument("-F", dest="form", action="append", default=[])
    parser.add_argument("--data-urlencode", dest="query")
    parser.add_argument("--get", "-L", action="store_true")
    parser.add_argument("-o")
    parser.add_argument("path")
    given = parser.parse_args(words)
    fields = [field.split("=", 1) for field in given.form]
    request: dict[str, Any] = {
        "who": given.who,
        "method": given.method or ("POST" if given.content or fields else "GET"),
        "path": given.path,
        "headers": dict(header.split(": ", 1) for header in given.headers),
    }
    if given.content:
        request["content"] = given.content
        request["headers"]["Content-Type"] = "application/json"
    if given.query:
        request["params"] = dict([given.query.split("=", 1)])
    if fields:
        request["data"] = {name: value for name, value in fields if not value.startswith("@")}
        request["files"] = [(name, ("dot.png", PNG, "image/png")) for name, value in fields if value.startswith("@")]
    return request


def test_every_command_of_the_page_does_what_it_says(site: Site) -> None:
    names = {"API": "", "KEY": "acme", "SHA256": SHA256, "SIZE": str(len(PNG))}
    # No webhook has anything to deliver here.
    names |= {"WAITING": make_undecided(site), "CALL": "call-1", "DELIVERY": new_id()}
    used: set[tuple[str, str]] = set()
    for command in list_commands(PAGE):
        words = shlex.split(re.sub(r"\$([A-Z0-9]+)", lambda match: names.get(match[1], match[0]), command))
        if words[0] == "export" or "-N" in words:
            continue
        if "--upload-file" in words:
            site.blobs.staged[names["UPLOAD"]] = PNG
            continue
        asked = read_request(words[1:])
        if "wait=" in asked["path"]:
            site.answer("order-4711")
        if asked["path"].endswith("order-4712/messages"):
            site.answer("order-4712")
        method, path = asked.pop("method"), asked.pop("path")
        answer = site.ask(asked.pop("who"), method, path, **asked)
        expected = 404 if path.endswith(("/thumbnail", "/replay")) else 299
        assert answer.status_code <= expected, f"{command}: {answer.text}"
        used.add((method, path.partition("?")[0]))
        note(names, answer)

    shown = {route.name for route in ROUTES if any(is_of(route, method, path) for method, path in used)}
    assert shown == {route.name for route in ROUTES}
    assert UPLOAD["sha256"] == names["SHA256"]


def is_of(route: Route, method: str, path: str) -> bool:
    pattern = re.sub(r"\{\w+\}", "[^/]+", route.path)
    return method == route.method and re.fullmatch(pattern, path) is not None


def note(names: dict[str, str], answer: httpx.Response) -> None:
    """Remember what later commands name."""
    if "etag" in answer.headers:
        names["ETAG"] = answer.headers["etag"].replace('"', '\\"')
    is_json = answer.headers.get("content-type") == "application/json"
    body = answer.json() if is_json and answer.content else {}
    if "turn" in body:
        names["TURN"] = body["turn"]["id"]
    if "cron" in body:
        names["SCHEDULE"] = body["id"]
    if "next_cursor" in body and body.get("messages"):
        names["MESSAGE"] = body["messages"][0]["id"]
    if "is_chosen" in body:
        names["BRANCH"] = body["id"]
    if "webhook" in body:
        names["WEBHOOK"] = body["webhook"]["id"]
    if "source" in body:
        names["SOURCE"] = body["source"]["id"]
    if "method" in body:
        names["UPLOAD"] = body["id"]
