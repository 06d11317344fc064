"""The programs of Threadmill, as data: what each is called, how it runs, and when it is ready."""

import signal
import sys
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from conversation.task_contract import FILES_QUEUE, MAINTENANCE_QUEUE, QUARANTINE_QUEUE, TURNS_QUEUE
from store.live import broker_users
from store.settings import load
from store.walls.roles import GATEWAY, MAINTENANCE, WORKER
from threadmill.embedded.home import Home
from threadmill.embedded.process import Process

APP = "threadmill.app"
FLOWER_APP = "threadmill.flower_app"
#: The pool that `-P custom` means: named, as each child imports it by itself.
LOOP_POOL = "threadmill.app:TaskPool"
FLOWER = "flower"
FLOWER_USER = "threadmill"
HTTP_GATEWAY = "gateway"
#: The page that it serves at `/`: of the checkout that this runs from.
CHAT_PAGE = Path(__file__).resolve().parents[2] / "examples" / "web" / "chat" / "index.html"
#: Rows that Flower keeps; its own default is 100,000.
FLOWER_MAX_TASKS = "5000"
#: The columns of its page of tasks, a turn's reason among them.
FLOWER_COLUMNS = "name,uuid,state,result,received,runtime,worker"
#: Milliseconds between two copies of them on disk: by itself Flower writes one when it is stopped in good order.
FLOWER_SAVE_INTERVAL = "60000"
#: When a process that reads files is replaced, with what they left behind in it: after so many of them,
#: or with so many kilobytes, which are checked after each.
FRESH_PROCESSES = ("--max-tasks-per-child", "200", "--max-memory-per-child", "600000")
#: Seconds for a worker to import its libraries, several workers at once on a small machine.
START_SECONDS = 90.0
#: Seconds that a worker gets beyond its own grace, in which it hands over what still runs.
HAND_OVER_SECONDS = 10.0


@dataclass(frozen=True, kw_only=True)
class Program:
    """One child of the stack."""

    name: str
    argv: tuple[str, ...]
    #: Whether the started program can do its work.
    is_ready: Callable[[Process], bool]
    #: Variables that this program has besides those of all programs. Secrets go here, never into `argv`.
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    #: The role under which it connects to the stack's own database: without another one, it sees no row by itself.
    role: str = GATEWAY
    #: The user as which it logs in at the stack's own broker.
    broker_user: str = broker_users.PRODUCER
    stop_signal: signal.Signals = signal.SIGTERM
    #: Seconds between the signal and the kill.
    stop_seconds: float = 10.0
    start_seconds: float = START_SECONDS


def plan(directory: Path) -> Sequence[Program]:
    """Everything that Threadmill runs besides its servers, in the order of starting."""
    return [
        worker("turns", [TURNS_QUEUE]),
        # One turn at a time, and no other queue: a crash in here shows that the turn is poison.
        worker("quarantine", [QUARANTINE_QUEUE], options=["-c", "1"]),
        # Summaries and the other schedules have a thread each: one is left for the sweep.
        worker("maintenance", [MAINTENANCE_QUEUE], options=["-P", "threads", "-c", "4"]),
        # Processes of its own for each file: reading them takes a CPU, and perhaps the process with it.
        worker("files", [FILES_QUEUE], options=["-P", "prefork", "-c", "2", *FRESH_PROCESSES]),
        beat(directory / "beat"),
        flower(directory / FLOWER),
        gateway(directory / HTTP_GATEWAY),
    ]


def worker(name: str, queues: Sequence[str], *, app: str = APP, options: Sequence[str] = ()) -> Program:
    """A Celery worker that consumes these queues. Turns wait on its loop, unless `options` name another pool."""
    return Program(
        name=name,
        argv=(
            *_celery(app),
            *("worker", "-n", f"{name}@%h", "-Q", ",".join(queues), "-l", "INFO", "-P", "custom"),
            *options,
        ),
        environment={"CELERY_CUSTOM_WORKER_POOL": LOOP_POOL},
        role=MAINTENANCE if MAINTENANCE_QUEUE in queues else WORKER,
        broker_user=broker_users.WORKER,
        is_ready=ready_when_logged(" ready."),
        stop_seconds=load().shutdown_grace_seconds + HAND_OVER_SECONDS,
    )


def beat(directory: Path, *, app: str = APP) -> Program:
    """The scheduler, Celery's beat. Its folder keeps the time of each one's last run."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    return Program(
        name="beat",
        argv=(*_celery(app), "beat", "-l", "INFO", "-s", str(directory / "schedule"), "--pidfile="),
        broker_user=broker_users.BEAT,
        is_ready=ready_when_logged("beat: Starting"),
    )


def flower(directory: Path, *, app: str = FLOWER_APP) -> Program:
    """The dashboard of Celery, behind a password, and on loopback: its `/metrics` asks for none.

    Its folder keeps the rows that it shows.
    """
    home = Home(directory)
    port = home.choose_port()
    return Program(
        name=FLOWER,
        argv=(
            *(*_celery(app), FLOWER, "--address=127.0.0.1", f"--port={port}"),
            *(
                "--persistent=True",
                f"--db={home.directory / 'flower.db'}",
                *(f"--state_save_interval={FLOWER_SAVE_INTERVAL}", f"--tasks_columns={FLOWER_COLUMNS}"),
                # Its buttons act on Celery's tasks, and a turn's row is none: they would do nothing.
                "--read_only=True",
                # Workers send events as they are configured, and take no command to.
                "--enable_events=False",
            ),
        ),
        environment={"FLOWER_BASIC_AUTH": f"{FLOWER_USER}:{home.load_secret()}", "FLOWER_MAX_TASKS": FLOWER_MAX_TASKS},
        broker_user=broker_users.FLOWER,
        is_ready=ready_when_reachable(f"http://127.0.0.1:{port}/healthcheck"),
    )


def gateway(directory: Path) -> Program:
    """The HTTP gateway on loopback, with the user's page or the chat page. Its folder keeps its port, and a key."""
    port, page = Home(directory).choose_port(), Path(load().gateway_page or CHAT_PAGE)
    return Program(
        name=HTTP_GATEWAY,
        argv=(sys.executable, "-m", "threadmill", "gateway", "--host=127.0.0.1", f"--port={port}"),
        environment={"THREADMILL_GATEWAY_PAGE": str(page)} if page.is_file() else {},
        broker_user=broker_users.GATEWAY,
        is_ready=ready_when_reachable(f"http://127.0.0.1:{port}/health/ready"),
        stop_seconds=load().gateway_shutdown_grace_seconds + HAND_OVER_SECONDS,
    )


def ready_when_logged(text: str) -> Callable[[Process], bool]:
    """The check that a program is ready as soon as `text` stands in its log."""
    return lambda process: process.has_logged(text)


def ready_when_reachable(url: str) -> Callable[[Process], bool]:
    """The check that a program is ready as soon as `url` answers. No proxy is asked for it."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def check(_process: Process) -> bool:
        try:
            with opener.open(url, timeout=5):
                return True
        except OSError:
            return False

    return check


def _celery(app: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "celery", "-A", app)
