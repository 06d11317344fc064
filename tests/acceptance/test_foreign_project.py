"""A project whose modules have the names of ours: it sends by SQL, our programs run in its folder, clashes are told."""

import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from conversation.task_contract import MAINTENANCE_QUEUE, TURNS_QUEUE
from tests.acceptance.installation import ROOT, Installation
from threadmill.embedded import programs
from threadmill.embedded.process import Process

pytestmark = pytest.mark.soak

SHOP = ROOT / "tests" / "foreign_project"
#: What a developer of the shop has in the shell in which a worker is started, too.
SHELL = {
    "DJANGO_SETTINGS_MODULE": "shop.settings",
    "CELERY_BROKER_URL": "redis://127.0.0.1:1/0",
    "CELERY_RESULT_BACKEND": "redis://127.0.0.1:1/0",
    "CELERY_CONFIG_MODULE": "celeryconfig",
    # Before our own checkout, as an editable installation may stand behind all of it.
    "PYTHONPATH": f"{SHOP}:{ROOT}",
}


def run(*command: str, folder: Path = SHOP, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": "/usr/bin:/bin", **SHELL, **variables}
    return subprocess.run(
        [sys.executable, *command], cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=60
    )


def test_a_foreign_django_project_sends_and_our_worker_runs_in_its_folder(installation: Installation) -> None:
    program = programs.worker("shop", [TURNS_QUEUE, MAINTENANCE_QUEUE], options=["-c", "2"])
    log = installation.folder / "shop.log"
    variables = installation.environment | SHELL | {"THREADMILL_AGENT_MODULES": "agent.assistant"}
    variables |= {**program.environment, "DATABASE_URL": installation.database_url}
    worker = Process("shop", program.argv, log=log, environment=variables, directory=SHOP)
    installation.processes["shop"] = worker
    worker.start()
    worker.wait_ready(lambda: worker.has_logged(" ready.") and worker.has_logged("notifications_heard"), 90)

    # In an environment of the shop's own, which knows nothing of ours: without what `site` would add.
    own = {"PYTHONPATH": sysconfig.get_path("purelib"), "DATABASE_URL": installation.database_url}
    ended = run("-S", "manage.py", "ask", "ada", "Where is my parcel?", **own)

    assert ended.stdout.startswith("completed offline/recall"), ended.stdout + ended.stderr + worker.log_tail(50)
    told = next(line for line in log.read_text().splitlines() if "modules_out_of_reach" in line)
    for name in ("agent.py", "producers.py", "store", "tasks"):
        assert str(SHOP / name) in told


@pytest.mark.parametrize(
    ("program", "name"),
    [
        ("import threadmill; threadmill.send_message", "producers.py"),
        ("import threadmill; threadmill.Agent", "agent.py"),
        ("import store; import threadmill; threadmill.ThreadStore", "store"),
    ],
)
def test_a_process_where_our_names_mean_others_is_told_so(program: str, name: str) -> None:
    ended = run("-c", program)

    last_line = ended.stderr.splitlines()[-1]
    assert last_line.startswith(f"ImportError: {name.removesuffix('.py')!r} is {SHOP / name} in this process")
    assert "by SQL (docs/how-to/from-another-project.md)" in last_line


def test_what_needs_no_name_of_theirs_works_beside_it(tmp_path: Path) -> None:
    """A `tasks.py` in the way of nobody, as sending does not need ours; and a folder that is no package at all."""
    (tmp_path / "tasks.py").write_text("raise RuntimeError('read')\n")
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "shelves.txt").touch()

    ended = run("-c", "import threadmill; threadmill.send_message", folder=tmp_path, PYTHONPATH=str(ROOT))

    assert ended.stderr == ""


def test_commands_run_in_its_folder() -> None:
    ended = run("-m", "threadmill", "threads", "--help")

    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("from store.models import Order", "'store' is Threadmill's own package in its workers: give yours another"),
        ("from tasks import send_mail", "'tasks' is Threadmill's own package in its workers: give yours another"),
        ("import requets", "No module named 'requets', in {module}, line 1; install it"),
    ],
)
def test_a_module_of_agents_that_cannot_be_imported_says_where_and_why(tmp_path: Path, source: str, told: str) -> None:
    module = tmp_path / "shop_agent.py"
    module.write_text(f"{source}\n")
    program = "import threadmill_packages as p; p.pin(); from agent import registry; registry.load(['shop_agent'])"

    ended = run("-c", program, PYTHONPATH=f"{tmp_path}:{SHOP}:{ROOT}")

    assert "InvalidSettings: THREADMILL_AGENT_MODULES: shop_agent: " in ended.stderr
    assert told.format(module=module) in ended.stderr.splitlines()[-1]
    assert str(module) in ended.stderr.splitlines()[-1]
