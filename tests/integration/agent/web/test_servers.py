"""Servers that are slow, endless, broken or going round: each is an error within its limits."""

import asyncio
import gzip
import time
from collections.abc import Sequence

import pytest

from agent.web import AnswerRejected, NotReached, TooLarge, TooSlow, WebLimits
from tests.integration.agent.web.site import NEAR, Names, Site, answer, endless, redirect


async def test_a_dead_address_leaves_time_for_the_next_one(site: Site) -> None:
    site.routes["/"] = answer("second")
    options = {"allow_networks": ["127.0.0.0/8"], "resolve": Names(two_test=[["127.0.0.3", "127.0.0.1"]])}

    got = await site.client(**options).get(site.url("/", "two.test"), limits=NEAR)

    assert got.body == b"second"


async def test_nobody_there_is_not_reached(site: Site) -> None:
    client = site.client(allow_networks=["127.0.0.0/8"])

    with pytest.raises(NotReached, match="could not be reached"):
        await client.get(site.url("/", "127.0.0.3"), limits=NEAR)
    with pytest.raises(NotReached, match="no such host is known"):
        await client.get(site.url("/", "a" * 70 + ".test"), limits=NEAR)
    with pytest.raises(NotReached, match="has no address"):
        await site.client(resolve=Names(none_test=[[]])).get(site.url("/", "none.test"), limits=NEAR)


async def test_a_resolver_that_hangs_is_too_slow(site: Site) -> None:
    async def never(host: str, port: int) -> Sequence[str]:
        await asyncio.sleep(60)
        return []

    limits = WebLimits(connect_seconds=0.2, total_seconds=5)
    with pytest.raises(TooSlow, match=r"did not connect within 0\.2 s"):
        await site.get(limits=limits, resolve=never)


async def test_a_server_that_falls_silent_is_too_slow(site: Site) -> None:
    async def silent(writer: asyncio.StreamWriter) -> None:
        writer.write(answer("begun").removesuffix(b"begun"))
        await asyncio.sleep(3)

    site.routes["/"] = silent

    with pytest.raises(TooSlow, match=r"sent nothing for 0\.2 s"):
        await site.get(limits=WebLimits(read_seconds=0.2, total_seconds=5))


async def test_a_server_that_drips_is_cut_off_in_total(site: Site) -> None:
    async def drip(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        for _ in range(1000):
            writer.write(b".")
            await writer.drain()
            await asyncio.sleep(0.05)

    site.routes["/"] = drip
    began = time.monotonic()

    with pytest.raises(TooSlow, match=r"was not read within 0\.5 s"):
        await site.get(limits=WebLimits(read_seconds=5, total_seconds=0.5))

    assert time.monotonic() - began < 20


async def test_a_body_that_says_it_is_too_large_is_not_read(site: Site) -> None:
    async def large(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 101\r\n\r\n")
        await asyncio.sleep(3)

    site.routes["/"] = large

    with pytest.raises(TooLarge, match="more than 100 bytes"):
        await site.get(limits=WebLimits(received_max_bytes=100, total_seconds=2))


async def test_a_body_without_an_end_is_cut_off_at_the_limit(site: Site) -> None:
    site.routes["/"] = endless(b"HTTP/1.1 200 OK\r\n\r\n", bytes(65_536))

    with pytest.raises(TooLarge, match="more than 1000000 bytes"):
        await site.get(limits=WebLimits(received_max_bytes=1_000_000, total_seconds=20))


async def test_a_bomb_stops_at_the_limit_long_before_it_is_received(site: Site) -> None:
    bomb = gzip.compress(bytes(200_000_000))
    site.routes["/"] = answer(bomb, "Content-Encoding: gzip")

    with pytest.raises(TooLarge, match="more than 5000 bytes"):
        await site.get(limits=WebLimits(body_max_bytes=5_000, total_seconds=20))


async def test_a_body_of_exactly_the_limit_is_read(site: Site) -> None:
    site.routes["/"] = answer(gzip.compress(b"x" * 5_000), "Content-Encoding: gzip")

    assert (await site.get(limits=WebLimits(body_max_bytes=5_000))).body == b"x" * 5_000


@pytest.mark.parametrize(
    "sent",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\ncut off",
        b"SSH-2.0-OpenSSH_9.9\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"a" * 200_000,
        b"",
        answer(gzip.compress(b"text")[:-4], "Content-Encoding: gzip"),
        answer(b"no gzip", "Content-Encoding: gzip"),
    ],
)
async def test_an_answer_that_breaks_off_or_is_none_is_not_reached(site: Site, sent: bytes) -> None:
    site.routes["/"] = sent

    with pytest.raises(NotReached):
        await site.get()


async def test_redirects_that_go_round_end(site: Site) -> None:
    site.routes["/"] = redirect("/")

    with pytest.raises(AnswerRejected, match="redirects more than 5 times"):
        await site.get()

    assert len(site.requests) == 6


async def test_five_redirects_are_followed_and_carry_no_cookie(site: Site) -> None:
    for step in range(5):
        site.routes[f"/{step}"] = answer(b"", f"Location: {step + 1}", "Set-Cookie: a=b", status="302 Found", kind=None)
    site.routes["/5"] = answer("there")

    got = await site.get("/0")

    assert (got.body, got.redacted_url) == (b"there", site.url("/5"))
    assert "cookie" not in "".join(site.requests).lower()


@pytest.mark.parametrize(
    ("sent", "problem"),
    [
        (answer(b"gone", status="404 Not Found"), "answered 404 Not Found"),
        (answer(b"", status="302 Found"), "answered 302 Found"),
        (answer(b"", status="799 Odd"), "answered 799"),
        (answer(b"x", "Content-Encoding: br"), "packed as 'br'"),
        (answer(b"x", "Content-Encoding: gzip, gzip"), "packed as 'gzip, gzip'"),
    ],
)
async def test_an_answer_that_cannot_be_used_is_refused(site: Site, sent: bytes, problem: str) -> None:
    site.routes["/"] = sent

    with pytest.raises(AnswerRejected, match=problem):
        await site.get()
