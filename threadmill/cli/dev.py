"""`threadmill dev`: the embedded stack with the agents of this folder, which are loaded anew when a file changes.

What stays true: an agent that cannot be imported ends nothing; the last agents that could be go on answering. When
this returns, nothing of it runs any more; when this is killed, everything is killed with it.
"""

import os
import time
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from conversation.errors import OperatorError, ThreadmillError
from threadmill.cli.interrupts import interrupt_on_signals
from threadmill.cli.output import print_problem, print_text
from threadmill.cli.supervisor import Supervisor
from threadmill.cli.up import describe_addresses, tell_others

if TYPE_CHECKING:
    from store.database.engine import Database
    from store.turns.activity import TurnActivity
    from threadmill.dev.agent_workers import AgentWorkers
    from threadmill.dev.display import Display
    from threadmill.dev.event_file import EventFile
    from threadmill.dev.project import Project
    from threadmill.embedded.programs import Program
    from threadmill.embedded.stack import Stack

#: Seconds between two looks at everything.
POLL_SECONDS = 0.1
STATE = Path(".threadmill")


def dev() -> None:
    """Run the agents of this folder until Ctrl-C, and load them anew when a file changes."""
    from threadmill.dev.event_file import EventFile
    from threadmill.dev.project import Project
    from threadmill.embedded.stack import Stack
    from threadmill.embedded.warm_process import WarmProcess

    project = Project(Path.cwd(), os.environ)
    os.environ.update(project.environment())
    stack = Stack(STATE, plan=plan, process_type=WarmProcess)
    tell_others()
    try:
        with interrupt_on_signals():
            stack.start(print_text)
            try:
                print_text(describe_addresses(stack, STATE))
                run_agents(project, stack, EventFile(STATE.absolute() / "logs" / "dev-events.jsonl"))
            finally:
                stack.stop()
    except KeyboardInterrupt:
        print_text("stopped")


def plan(directory: Path) -> "Sequence[Program]":
    """The programs that stay when agents change."""
    from threadmill.embedded import programs

    agentless = {"files", "beat", programs.FLOWER, programs.HTTP_GATEWAY}
    return [program for program in programs.plan(directory) if program.name in agentless]


def run_agents(project: "Project", stack: "Stack", events: "EventFile") -> None:
    """Run the workers of the agents until a signal, and show what they do."""
    from store.database.engine import Database
    from store.settings import load
    from threadmill.dev.agent_workers import AgentWorkers
    from threadmill.dev.display import Display
    from threadmill.dev.traces import describe_failure

    def tell_ready(pid: int, seconds: float) -> None:
        print_text(f"{', '.join(load().agent_modules)} loaded in {seconds:.1f} s; worker {pid} answers")
        if "THREADMILL_AGENT_MODULES" not in os.environ:
            print_text("no agents of this folder: name their modules in .env, as a folder of `threadmill new` does")

    def tell_failure(log: str) -> None:
        print_text("these agents cannot be loaded; once a file changes, they are tried again")
        print_text("\n".join(f"  {line}" for line in describe_failure(log, project.folder)))

    workers = AgentWorkers(stack, str(events.path), on_ready=tell_ready, on_failure=tell_failure)
    database = Database(load(database_url=stack.environment["THREADMILL_DATABASE_URL"]))
    display = Display(project.folder, print_text, lambda turn_ids: read_turns(database, turn_ids))
    try:
        load_agents(project, workers)
        watch(project, stack, workers, display, events)
    finally:
        print_text("stopping: running turns get a moment to finish, or are handed over")
        workers.stop()
        database.close()


def watch(project: "Project", stack: "Stack", workers: "AgentWorkers", display: "Display", events: "EventFile") -> None:
    """Do what is due, again and again."""
    supervisors = [Supervisor(stack, print_text), Supervisor(workers, print_text)]
    while True:
        if changes := project.find_changes():
            print_text(f"{', '.join(os.path.relpath(path) for path in changes[:3])} changed: loading the agents anew")
            load_agents(project, workers)
        workers.check()
        for supervisor in supervisors:
            supervisor.check()
        display.show(events.read_new())
        stack.rotate_logs()
        workers.rotate_logs()
        time.sleep(POLL_SECONDS)


def load_agents(project: "Project", workers: "AgentWorkers") -> None:
    """Begin to load the agents as they are now. Settings that are wrong are told, and mended by the next change."""
    environment = project.environment()
    # All of it: what is no longer in `.env` is gone.
    os.environ.clear()
    os.environ.update(environment)
    try:
        workers.reload(environment)
    except ThreadmillError as error:
        print_problem(error)


def read_turns(database: "Database", turn_ids: Collection[str]) -> "list[TurnActivity]":
    """Read what turns are doing; nothing while the database is away."""
    from store.turns.activity import read_activity

    try:
        return database.run(read_activity, turn_ids=turn_ids)
    except OperatorError:
        return []
