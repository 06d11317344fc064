"""The Python client, blocking and async, against a gateway that loses answers and cuts streams."""

import hashlib
import inspect
import io
import logging
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from threadmill_client import (
    AsyncThreadmill,
    ConnectionLost,
    File,
    MessageDelta,
    MessageDone,
    NotFound,
    Threadmill,
    TurnNotOver,
    Unauthorized,
    UnexpectedAnswer,
    transfers,
)

from tests.integration.clients.stub_gateway import EVENTS_OF_A_TURN, KEY, Stub, events_of

LARGE = b"0123456789" * 150_000


class Blocking:
    """The blocking client in the shape of the async one, so that each test is written once."""

    def __init__(self, client: Threadmill) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            if name in ("list_turns", "turn_events"):
                return _each(method(*args, **kwargs))
            return _now(method, *args, **kwargs)

        return call


async def _now(method: Any, *args: Any, **kwargs: Any) -> Any:
    return method(*args, **kwargs)


async def _each(items: Any) -> AsyncIterator[Any]:
    for item in items:
        yield item


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture(params=["blocking", "async"])
async def connect(request: pytest.FixtureRequest, stub: Stub) -> AsyncIterator[Any]:
    """Opens a client with a behaviour of the stub that no other test has."""
    opened: list[Any] = []

    def connect(behaviour: str, **options: Any) -> tuple[Any, str]:
        url = stub.url(behaviour)
        client = (Threadmill if request.param == "blocking" else AsyncThreadmill)(url, KEY, **options)
        opened.append(client)
        return Blocking(client) if isinstance(client, Threadmill) else client, behaviour

    stub.forget()
    yield connect
    for client in opened:
        closing = client.close()
        if inspect.isawaitable(closing):
            await closing


@pytest.mark.parametrize("behaviour", ["plain", "lose", "half", "busy"])
async def test_a_message_is_sent_once_whatever_becomes_of_the_answer(connect: Any, stub: Stub, behaviour: str) -> None:
    client, _ = connect(behaviour)

    turn = await client.send_message("a", "Grüße", attachments=[File(sha256="5" * 64, filename="a.txt")])

    assert (turn.id, turn.state, stub.threads[behaviour + "a"]) == ("a-0", "queued", ["a-0"])
    sent = stub.asked(behaviour)
    assert len(sent) == {"plain": 1, "busy": 4}.get(behaviour, 2)
    assert len({(call.headers["idempotency-key"], call.body) for call in sent}) == 1
    assert sent[0].json() == {"content": "Grüße", "attachments": [{"sha256": "5" * 64, "filename": "a.txt"}]}
    assert sent[0].headers["user-agent"].startswith("threadmill-client/")


@pytest.mark.parametrize("behaviour", ["cut-1", "cut-7", "mute-9", "again-9"])
async def test_a_stream_is_whole_and_has_nothing_twice(connect: Any, stub: Stub, behaviour: str) -> None:
    client, _ = connect(behaviour, silence_seconds=0.2)

    events = [event async for event in client.turn_events("t")]

    assert [event.raw for event in events] == events_of("t")
    assert "".join(event.text for event in events if isinstance(event, MessageDelta)) == next(
        event.message.content for event in events if isinstance(event, MessageDone)
    )


async def test_a_stream_goes_on_behind_an_event(connect: Any, stub: Stub) -> None:
    client, _ = connect("plain")

    events = [event async for event in client.turn_events("t", after=EVENTS_OF_A_TURN)]
    nothing = [event async for event in client.turn_events("t", after=EVENTS_OF_A_TURN + 1)]

    assert [event.kind for event in events] == ["turn.ended"]
    assert (nothing, stub.asked("plain")[-1].headers["last-event-id"]) == ([], str(EVENTS_OF_A_TURN + 1))


async def test_a_list_is_followed_to_its_end(connect: Any) -> None:
    client, _ = connect("plain")
    for _ in range(5):
        await client.send_message("long", "Hi")

    assert [turn.id async for turn in client.list_turns("long")] == [f"long-{n}" for n in range(5)]


async def test_a_turn_is_waited_for(connect: Any, stub: Stub) -> None:
    client, _ = connect("plain")

    with pytest.raises(TurnNotOver) as caught:
        await client.wait_for_turn("t1", timeout_seconds=0)

    assert isinstance(caught.value, TimeoutError)
    assert (await client.wait_for_turn("t1")).is_over
    assert [call.query for call in stub.asked("plain")] == [{"wait": "0.000"}, {"wait": "25.000"}, {"wait": "25.000"}]


async def test_a_refusal_says_why(connect: Any) -> None:
    client, _ = connect("plain")

    with pytest.raises(NotFound, match="404 Not Found: thread_id: no such thread is stored"):
        await client.get_thread("missing")


async def test_a_thread_knows_its_etag(connect: Any, stub: Stub) -> None:
    client, _ = connect("plain")

    thread = await client.get_thread("ä/b")
    changed = await client.update_thread(thread.id, title="Parcel", etag=thread.etag)

    assert (thread.id, changed.title, stub.asked("plain")[-1].headers["if-match"]) == ("ä/b", "Parcel", '"1"')


async def test_a_large_file_goes_straight_to_the_store_without_the_key(
    connect: Any, stub: Stub, tmp_path: Path
) -> None:
    client, behaviour = connect("plain")
    (tmp_path / "big.bin").write_bytes(LARGE)
    sha256 = hashlib.sha256(LARGE).hexdigest()

    await client.upload_file(tmp_path / "big.bin")

    promised, put, complete = stub.asked(behaviour)
    assert promised.json() == {
        "filename": "big.bin", "media_type": "application/octet-stream", "size": len(LARGE), "sha256": sha256,
    }  # fmt: skip
    assert (put.method, put.body == LARGE, put.headers["x-amz-checksum"]) == ("PUT", True, "abc")
    assert "authorization" not in put.headers
    assert "transfer-encoding" not in put.headers
    assert complete.path == "/v1/uploads/u1/complete"
    assert await client.download_file("a", sha256) == LARGE
    assert (await client.save_file("a", sha256, tmp_path / "copy.bin")).read_bytes() == LARGE
    assert names_in(tmp_path) == ["big.bin", "copy.bin"]
    assert "authorization" not in stub.asked(behaviour)[-1].headers


async def test_what_comes_back_is_what_was_asked_for(connect: Any, stub: Stub, tmp_path: Path) -> None:
    client, _ = connect("plain")
    stub.files["0" * 64] = b"something else"

    with pytest.raises(UnexpectedAnswer, match="is not 000"):
        await client.download_file("a", "0" * 64)
    with pytest.raises(UnexpectedAnswer):
        await client.save_file("a", "0" * 64, tmp_path / "copy.bin")
    assert names_in(tmp_path) == []


@pytest.mark.parametrize("make", [bytes, io.BytesIO])
async def test_a_small_file_goes_through_the_gateway(connect: Any, stub: Stub, make: Any) -> None:
    client, behaviour = connect("lose")

    await client.upload_file(make(b"abc"), filename='a "b".txt')

    first, second = stub.asked(behaviour)
    assert (first.body, first.headers["content-type"]) == (second.body, second.headers["content-type"])
    assert b'name="file"; filename="a %22b%22.txt"\r\nContent-Type: text/plain\r\n\r\nabc\r\n' in first.body


async def test_what_is_no_gateway_is_told(connect: Any) -> None:
    page, _ = connect("page")
    moved, _ = connect("moved")

    with pytest.raises(UnexpectedAnswer, match="text/html"):
        await page.get_turn("t")
    with pytest.raises(UnexpectedAnswer, match="text/html"):
        _ = [event async for event in page.turn_events("t")]
    with pytest.raises(UnexpectedAnswer, match="elsewhere"):
        await moved.send_message("a", "Hi")


async def test_nobody_there_is_told_after_some_tries(stub: Stub) -> None:
    async with AsyncThreadmill("http://127.0.0.1:1", KEY, retries=1) as client:
        with pytest.raises(ConnectionLost):
            await client.get_turn("t")
        with pytest.raises(ConnectionLost):
            await anext(client.turn_events("t"))


async def test_secrets_stand_in_no_text(stub: Stub, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    shown: list[object] = []

    with Threadmill(stub.url("plain"), KEY) as client:
        shown += [client, vars(client)]
        shown += [client.upload_file(LARGE, filename="a"), client.create_stream_token("a")]
        shown += [transfers.upload_file(LARGE, filename="a")]
    with Threadmill(stub.url("plain"), "wrong") as client, pytest.raises(Unauthorized) as caught:
        client.get_thread("a")

    told = "\n".join([*map(repr, shown), *map(str, shown), caplog.text, repr(caught.value)])
    assert "PUT" in caplog.text
    assert not [secret for secret in (KEY, "hush", "wrong") if secret in told]


@pytest.mark.parametrize("key", ["", "tm_a\n", "tm a", "tm_ä", b"tm_a"])
def test_a_key_that_is_none_is_refused_without_showing_it(key: Any) -> None:
    with pytest.raises(ValueError, match="key is empty") as caught:
        Threadmill("http://127.0.0.1", key)

    assert "tm" not in str(caught.value)


@pytest.mark.parametrize(
    "address", ["threads.example.com", "ftp://a", "", "http://user:password@a", "http://a/?key=b", "http://a/#b"]
)
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match="base_url"):
        Threadmill(address, KEY)


def test_a_key_may_be_renewed(stub: Stub) -> None:
    keys = iter(["old", KEY])

    with Threadmill(stub.url("plain"), lambda: next(keys)) as client:
        with pytest.raises(Unauthorized):
            client.get_thread("a")
        assert client.get_thread("a").id == "a"


def test_another_client_of_httpx_stays_open(stub: Stub) -> None:
    with httpx.Client() as http:
        with Threadmill(stub.url("plain"), KEY, http_client=http) as client:
            client.get_thread("a")
        assert not http.is_closed


def verbs(kind: type) -> Iterator[tuple[str, list[str]]]:
    for name, method in inspect.getmembers(kind, inspect.isfunction):
        if not name.startswith("_"):
            yield name, list(inspect.signature(method).parameters)


def test_both_clients_have_the_same_verbs() -> None:
    assert dict(verbs(Threadmill)) == dict(verbs(AsyncThreadmill))
    assert all(inspect.getdoc(getattr(Threadmill, name)) for name, _ in verbs(Threadmill))
