"""The page at the root of a gateway, and the policy that it comes with."""

import base64
import hashlib
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from conversation.errors import InvalidInput
from producers.http.page import build_policy, page_route
from store.settings import load

CHAT = Path(__file__).parents[3] / "examples" / "web" / "chat" / "index.html"
#: What would make markup of text, or what a policy without `unsafe-inline` forbids.
FORBIDDEN = (
    "innerHTML",
    "outerHTML",
    "insertAdjacentHTML",
    "document.write",
    "eval(",
    ' style="',
    " onclick=",
    "<base",
)


def hash_of(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def parts(policy: str) -> dict[str, str]:
    return {part.partition(" ")[0]: part.partition(" ")[2] for part in policy.split("; ")}


def test_a_policy_names_each_script_and_style_of_the_page_and_nothing_else() -> None:
    first = '\nrun("é")\n'
    html = f'<style>a {{}}</style><script type="module">{first}</script><script>second()</script>'

    policy = parts(build_policy(html))

    assert policy["style-src"] == hash_of("a {}")
    assert policy["script-src"] == f"{hash_of(first)} {hash_of('second()')}"
    assert policy["default-src"] == "'none'"
    assert "unsafe" not in build_policy(html)
    assert parts(build_policy("<p>text</p>"))["script-src"] == "'none'"


@pytest.mark.parametrize(
    ("settings", "origins"),
    [
        ({"file_store_url": "/tmp/files", "s3_endpoint_url": "https://s3.example.com"}, "'self'"),
        ({"file_store_url": "s3://bucket", "s3_endpoint_url": ""}, "'self' https://*.amazonaws.com"),
        (
            {"file_store_url": "s3://bucket", "s3_endpoint_url": "https://s3.example.com:9000/base"},
            "'self' https://s3.example.com:9000",
        ),
    ],
)
def test_a_page_may_ask_its_gateway_and_the_file_store(settings: dict[str, Any], origins: str) -> None:
    app = Starlette(routes=[page_route(CHAT, load(**settings))])

    answer = TestClient(app).get("/")

    assert answer.text == CHAT.read_text()
    assert parts(answer.headers["content-security-policy"])["connect-src"] == origins
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_the_chat_page_makes_no_markup_of_text() -> None:
    html = CHAT.read_text()

    assert [word for word in FORBIDDEN if word in html] == []


def test_a_page_that_cannot_be_read_is_told_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"THREADMILL_GATEWAY_PAGE.*missing\.html"):
        page_route(tmp_path / "missing.html", load())
