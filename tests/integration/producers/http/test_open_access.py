"""`--open`: everybody on this machine, and nobody who comes through the browser of somebody on this machine."""

import pytest
from starlette.datastructures import Headers, QueryParams
from structlog.testing import capture_logs

from conversation.errors import InvalidInput
from producers.http.open_access import OpenAccess
from producers.http.principal import SCOPES, Principal
from producers.http.problems import Problem

LOCAL = {"host": "127.0.0.1:8700"}


async def ask(access: OpenAccess, *headers: tuple[str, str]) -> Principal | None:
    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers]
    return await access.authenticate(Headers(raw=raw), QueryParams(""))


def open_access(host: str = "127.0.0.1") -> OpenAccess:
    with capture_logs():
        return OpenAccess(host)


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8700", "127.0.0.1", "127.0.0.1:8700", "[::1]", "[::1]:80"])
async def test_this_machine_may_do_everything_in_the_default_tenant(host: str) -> None:
    principal = await ask(open_access(), ("host", host), ("origin", f"http://{host}"))

    assert principal == Principal(tenant="default", user=None, scopes=frozenset(SCOPES), credential="open")


@pytest.mark.parametrize(
    "headers",
    [
        [],
        *(
            [("host", host)]
            for host in (
                *(
                    "evil.example",
                    "127.0.0.1.nip.io",
                    "localhost.evil.example",
                    "evil.example:8700",
                    "localhost:8700:1",
                ),
                *(
                    "",
                    "0.0.0.0",
                    "10.0.0.1",
                    "2130706433",
                    "127.1",
                    "[::]",
                    "::1",
                    "localhost@evil.example",
                    "localhost/",
                ),
                *(
                    "localhost evil.example",
                    "localhost\x00",
                    "localhost:",
                    "localhost:x",
                    "xn--localhost",
                    "localhost.",
                ),
            )
        ),
        [("host", "localhost"), ("host", "evil.example")],
        *(
            [("host", "localhost:8700"), ("origin", origin)]
            for origin in (
                *("https://evil.example", "null", "", "http://localhost.evil.example", "http://127.0.0.1.nip.io:80"),
                *("chrome-extension://x", "http://localhost:8700/", "localhost", "http://x@localhost", "file://"),
            )
        ),
        [("host", "localhost"), ("origin", "http://localhost"), ("origin", "https://evil.example")],
    ],
    ids=str,
)
async def test_a_page_of_another_machine_is_refused(headers: list[tuple[str, str]]) -> None:
    with pytest.raises(Problem) as refusal:
        await ask(open_access(), *headers)

    assert refusal.value.status == 403


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "::", "10.0.0.1", "", "example.org", "localhost.example.org", "127.0.0.1 "]
)
def test_where_others_reach_it_it_does_not_open(host: str) -> None:
    with pytest.raises(InvalidInput, match="open: lets everybody in"):
        OpenAccess(host)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.0.0.2"])
def test_an_open_gateway_says_so_loudly(host: str) -> None:
    with capture_logs() as lines:
        OpenAccess(host)

    (line,) = lines
    assert (line["log_level"], line["event"], line["host"]) == ("warning", "gateway_is_open", host)
