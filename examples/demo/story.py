"""The demonstration from its beginning to its end.

What stays true: it uses a new folder and removes it; nothing that it started runs any more when it
returns or raises; the settings of the shell that starts it are not its own; the first thing that does
not hold ends it.
"""

import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from conversation.errors import OperatorError
from conversation.ids import new_id
from examples.demo.crash import check_killed_worker_loses_nothing
from examples.demo.over_http import check_gateway_streams
from examples.demo.replies import (
    check_files_stored,
    check_flower_shows_tasks,
    check_thread_stored,
    check_tickets_answered,
)
from examples.demo.stage import DemoFailed, Stage
from examples.support.ledger import PATH_VARIABLE
from threadmill.embedded.stack import Stack

SCENES = {
    "A backend sends tickets to the agent `support`": check_tickets_answered,
    "What was said is stored": check_thread_stored,
    "What was attached is stored": check_files_stored,
    "What ran can be looked at": check_flower_shows_tasks,
    "A ticket comes over HTTP, and its answer is watched as it is made": check_gateway_streams,
    "A worker is killed in the middle of a turn": check_killed_worker_loses_nothing,
}
#: What the names of our settings begin with. Keys of providers have other names, and stay.
PREFIXES = ("THREADMILL_", "NARRATOR_")
#: Columns where no terminal says how many there are.
WIDTH = 110


def run_demo(model: str) -> None:
    """Play every scene with this model. Raises `OperatorError` at the first thing that does not hold."""
    folder = Path(tempfile.mkdtemp(prefix="threadmill-demo-"))
    try:
        _play(folder, model)
    except OperatorError as error:
        raise OperatorError(f"{error}\nEverything was stopped; data and logs are kept in {folder}") from error
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    shutil.rmtree(folder, ignore_errors=True)


def _play(folder: Path, model: str) -> None:
    _prepare_environment(folder, model)
    console = Console(width=None if sys.stdout.isatty() else WIDTH)
    stage = Stage(stack=Stack(folder), model=model, run=f"demo-{new_id()[-6:]}", console=console)
    stage.print_title(f"Database, broker, workers, clock, Flower and the gateway start in {folder}")
    if stage.is_offline:
        stage.say(f"replies come from {model}, which is no language model: it makes the calls that it is told")
    else:
        stage.say(f"replies come from {model}: which tools it calls is not checked, all the rest is")
    stage.stack.start(stage.say)
    try:
        for title, scene in SCENES.items():
            stage.print_title(title)
            _play_scene(stage, scene)
    finally:
        stage.print_title("Everything stops")
        stage.stack.stop()
    stage.say("nothing is left running; everything held")


def _play_scene(stage: Stage, scene: Callable[[Stage], None]) -> None:
    """Play one scene. A failure is raised with the last log lines of the part that failed."""
    try:
        scene(stage)
    except DemoFailed as failure:
        log_lines = stage.stack.log_tail(failure.part)
        raise OperatorError(f"{failure}\nThe end of the log of {failure.part}:\n{log_lines}") from failure


def _prepare_environment(folder: Path, model: str) -> None:
    """Set the variables of this process and of all that it starts.

    Those of the shell are of another installation: nothing may be written into its database.
    """
    for name in list(os.environ):
        if name.upper().startswith(PREFIXES):
            del os.environ[name]
    os.environ |= {
        "THREADMILL_AGENT_MODULES": "examples.support.agent,examples.demo.agent",
        "THREADMILL_MODEL": model,
        # No reader wants to wait for turns that an interrupted demonstration leaves behind.
        "THREADMILL_SHUTDOWN_GRACE_SECONDS": "2",
        PATH_VARIABLE: str(folder / "support-ledger.sqlite3"),
    }
