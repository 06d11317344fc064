"""Streams of the gateway, with real workers and a real gateway process: through every death, and a thousand at once."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import redis

from store.turns.event_rows import read_thread_events
from tests.acceptance.installation import Installation, worker
from tests.integration.streams.cutting_proxy import CuttingProxy
from tests.integration.streams.resuming_reader import Event, ResumingReader, check_story
from threadmill.embedded import programs
from threadmill.embedded.gateway_key import ensure_gateway_key, load_gateway_key
from threadmill.embedded.home import Home
from threadmill.embedded.process import Process
from threadmill.embedded.programs import Program

pytestmark = [pytest.mark.soak, pytest.mark.timeout(300)]


@dataclass
class Door:
    """The gateway of an installation, and a key to it."""

    program: Program
    port: int
    headers: dict[str, str]


def open_door(installation: Installation) -> Door:
    """Make a gateway's program and a key; nothing runs yet."""
    home = Home(installation.folder / "gateway")
    ensure_gateway_key(home, installation.database_url)
    program = programs.gateway(home.directory)
    port = next(int(word.partition("=")[2]) for word in program.argv if word.startswith("--port="))
    return Door(program, port, {"Authorization": f"Bearer {load_gateway_key(home)}"})


def flush(installation: Installation) -> None:
    with redis.Redis.from_url(installation.environment["THREADMILL_BROKER_URL"]) as client:
        client.flushall()


async def until_delta(reader: ResumingReader, turn_id: str, reading: asyncio.Task[None]) -> None:
    """Wait until a reader sees a turn's reply grow."""
    give_up_at = time.monotonic() + 60
    while not any(event["type"] == "message.delta" and event["turn_id"] == turn_id for event in reader.seen):
        seen = [(event["type"], event["id"], event["turn_id"]) for event in reader.seen]
        assert time.monotonic() < give_up_at, f"{turn_id} {reader.connections} {seen[-20:]}"
        assert not reading.done(), reading.result()
        await asyncio.sleep(0.02)


async def test_one_stream_through_three_killed_workers_a_gateway_s_restart_and_a_flush(
    installation: Installation,
) -> None:
    door = open_door(installation)
    agents = {"THREADMILL_AGENT_MODULES": "tests.acceptance.agents_that_talk", "THREADMILL_DEFAULT_AGENT": "talker"}
    installation.environment |= agents
    names = iter(["one", "two", "three", "four"])
    name = next(names)
    await asyncio.to_thread(installation.start, worker(name), door.program, *installation.upkeep())

    async with CuttingProxy(door.port, seconds=2) as proxy:
        turns = [installation.send("t", f"question {n}", agent="talker") for n in range(3)]
        ends: list[Event] = []

        def is_last(event: Event) -> bool:
            ends.extend([event] if event["type"] == "turn.ended" else [])
            return len(ends) == 3

        thread = ResumingReader(f"{proxy.address}/v1/threads/t/events", door.headers)
        last_turn = ResumingReader(f"{proxy.address}/v1/turns/{turns[-1].id}/events", door.headers)
        reading = [asyncio.create_task(thread.read(is_last)), asyncio.create_task(last_turn.read())]
        for number, turn in enumerate(turns):
            await until_delta(thread, turn.id, reading[0])
            installation.processes[name].kill()
            name = next(names)
            if number == 1:
                await asyncio.to_thread(flush, installation)
            if number == 2:
                installation.processes["gateway"].kill()
                await asyncio.to_thread(installation.start, door.program)
            await asyncio.to_thread(installation.start, worker(name))
        async with asyncio.timeout(90):
            await asyncio.gather(*reading)

    stored = [(row["role"], row["content"]) for row in installation.history("t")]
    assert len(stored) == 12
    assert [end["state"] for end in ends] == ["completed"] * 3
    assert [installation.turn_row(turn)["attempt"] for turn in turns] == [2, 2, 2]
    check_story(thread.seen, stored)
    check_story(last_turn.seen, stored[8:])
    assert thread.connections > 4


@dataclass
class Viewer:
    """A stream that is read as bytes: the numbers of its events, and how many turns it saw end."""

    numbers: list[int] = field(default_factory=list)
    deltas: set[int] = field(default_factory=set)
    ends: int = 0

    async def read(self, reader: asyncio.StreamReader) -> None:
        kind = b""
        while line := await reader.readline():
            if line.startswith(b"event: "):
                kind = line[7:].strip()
                self.ends += kind == b"turn.ended"
            elif line.startswith(b"id: ") and kind != b"turn.queued":
                self.numbers.append(int(line[4:]))
                if kind in {b"message.delta", b"message.restarted"}:
                    self.deltas.add(self.numbers[-1])


@asynccontextmanager
async def open_viewers(door: Door, threads: int, viewers: int) -> AsyncIterator[list[list[Viewer]]]:
    """So many streams of so many threads, each in a connection of its own, all of them begun."""
    groups = [[Viewer() for _ in range(viewers)] for _ in range(threads)]
    slots = asyncio.Semaphore(50)
    tasks: list[asyncio.Task[None]] = []
    writers: list[asyncio.StreamWriter] = []

    async def open_one(thread: int, viewer: Viewer) -> None:
        async with slots:
            reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
            lines = [f"GET /v1/threads/t-{thread}/events HTTP/1.1", "Host: localhost"]
            lines += [f"{name}: {value}" for name, value in door.headers.items()]
            writer.write("\r\n".join([*lines, "", ""]).encode())
            writers.append(writer)
            assert b" 200 " in await reader.readline()
            await reader.readuntil(b":\n")
            tasks.append(asyncio.create_task(viewer.read(reader)))

    await asyncio.gather(*(open_one(n, viewer) for n, group in enumerate(groups) for viewer in group))
    yield groups
    for writer in writers:
        writer.transport.abort()
    await asyncio.gather(*tasks, return_exceptions=True)


def pubsub_clients(client: redis.Redis) -> int:
    return sum(int(each["sub"]) > 0 for each in client.client_list(_type="pubsub"))


@pytest.mark.parametrize(
    "threads", [pytest.param(50, id="200"), pytest.param(250, id="1000", marks=pytest.mark.endurance)]
)
async def test_a_thousand_streams_of_one_gateway_while_fifty_turns_a_second_run(
    threads: int, installation: Installation, capsys: pytest.CaptureFixture[str]
) -> None:
    viewers, turns_of_thread, rate = 4, 2, 50
    door = open_door(installation)
    await asyncio.to_thread(installation.start, worker(threads=100), door.program, *installation.upkeep())
    for n in range(threads):
        installation.producer.send(f"t-{n}", "hello")
    await asyncio.to_thread(
        lambda: wait_until(lambda: installation.query("SELECT count(*) AS n FROM turns WHERE state <> 'completed'"), 0)
    )
    gateway = installation.processes["gateway"]
    broker = redis.Redis.from_url(installation.environment["THREADMILL_BROKER_URL"])
    before = pubsub_clients(broker)
    opened = time.monotonic()
    async with open_viewers(door, threads, viewers) as groups:
        seconds_to_open = time.monotonic() - opened
        listeners, commands = pubsub_clients(broker) - before, broker.info("stats")["total_commands_processed"]
        began = time.monotonic()
        for number in range(threads * turns_of_thread):
            await asyncio.sleep(max(0.0, began + number / rate - time.monotonic()))
            await asyncio.to_thread(installation.producer.send, f"t-{number % threads}", "hello")
        sending = time.monotonic() - began
        async with asyncio.timeout(120):
            while any(viewer.ends < turns_of_thread + 1 for group in groups for viewer in group):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        seconds = time.monotonic() - began
        commands = broker.info("stats")["total_commands_processed"] - commands
    peak_mib = peak_mib_of(gateway)
    broker.close()

    for n, group in enumerate(groups):
        page = await asyncio.to_thread(installation.producer.database.run, read_thread_events, "default", f"t-{n}")
        expected = [event.number for event in page.events]
        for viewer in group:
            assert viewer.numbers == sorted(set(viewer.numbers))
            assert [number for number in viewer.numbers if number not in viewer.deltas] == expected
    assert listeners == 1
    assert peak_mib < 600
    with capsys.disabled():
        print(  # noqa: T201 - the figures of the page about streams
            f"\n{threads * viewers} streams opened in {seconds_to_open:.1f} s; "
            f"{threads * turns_of_thread} turns sent in {sending:.1f} s, "
            f"seen to end in {seconds:.1f} s ({threads * turns_of_thread / seconds:.0f} a second); "
            f"gateway's peak {peak_mib:.0f} MiB; {listeners} listener, {commands} commands of the broker"
        )


def peak_mib_of(process: Process) -> float:
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def wait_until(read: object, value: int) -> None:
    give_up_at = time.monotonic() + 90
    while read()[0]["n"] != value:  # type: ignore[operator]
        assert time.monotonic() < give_up_at
        time.sleep(0.1)
