"""The workers that import the project's agents, replaced when these change.

What stays true: a worker is replaced by one that is ready; agents that cannot be imported leave the last ones at
work. The worker that is replaced claims nothing more; it finishes its turns, or hands them over.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from conversation.task_contract import MAINTENANCE_QUEUE, QUARANTINE_QUEUE, TURNS_QUEUE
from threadmill.dev.event_file import FILE_VARIABLE
from threadmill.embedded import programs
from threadmill.embedded.errors import ServerFailed
from threadmill.embedded.process import Process
from threadmill.embedded.programs import Program
from threadmill.embedded.stack import Stack

#: The app of these workers.
APP = "threadmill.dev.app"
#: Has workers show what is printed in them.
SHOW_VARIABLE = "THREADMILL_SHOW_OUTPUT"
#: Turns and, in one process with them, the schedules; quarantined turns in a process of their own.
QUEUES = {"turns": (TURNS_QUEUE, MAINTENANCE_QUEUE), "quarantine": (QUARANTINE_QUEUE,)}
OPTIONS: Mapping[str, Sequence[str]] = {"quarantine": ("-c", "1")}


@dataclass(slots=True)
class _Running:
    program: Program
    process: Process
    since: float = field(default_factory=time.monotonic)


@dataclass(slots=True)
class AgentWorkers:
    """The workers of one stack. `check` does what is due, and never waits."""

    stack: Stack
    events: str
    #: Called when new workers are at work, with the number of the first one's process and the seconds that it took.
    on_ready: Callable[[int, float], None]
    #: Called when new workers cannot start, with the end of their log.
    on_failure: Callable[[str], None]
    _generation: int = 0
    _starting: dict[str, _Running] = field(default_factory=dict)
    _current: dict[str, _Running] = field(default_factory=dict)
    _retired: list[_Running] = field(default_factory=list)

    def reload(self, environment: Mapping[str, str]) -> None:
        """Start workers with the agents as they are now; returns before they are ready."""
        self._kill_starting()
        self._generation += 1
        for name, queues in QUEUES.items():
            self._starting[name] = self._start(name, queues, environment)

    def check(self) -> None:
        """Take new workers that are ready, give up those that cannot start, and see the old ones to their end."""
        if self._starting:
            self._check_starting()
        for old in list(self._retired):
            if not old.process.is_running:
                self._retired.remove(old)
            elif time.monotonic() - old.since > old.program.stop_seconds:
                old.process.kill()

    def stop(self) -> None:
        """Stop all workers, each within its time."""
        self._kill_starting()
        self._retire_current()
        for old in self._retired:
            old.process.join(max(0.0, old.since + old.program.stop_seconds - time.monotonic()))

    def rotate_logs(self) -> None:
        """Set aside each log of a worker at work that has grown too long."""
        for running in self._current.values():
            running.process.rotate_log()

    # As a supervisor of parts sees them

    def dead_parts(self) -> list[str]:
        """The workers that died, while none is on its way to replace them."""
        if self._starting:
            return []
        return [name for name, running in self._current.items() if not running.process.is_running]

    def restart(self, name: str) -> None:
        """Start a worker that died again, and return when it works. Raises `ServerFailed`."""
        running = self._current[name]
        running.process.start()
        running.process.wait_ready(lambda: running.program.is_ready(running.process), running.program.start_seconds)

    def log_tail(self, name: str) -> str:
        """The end of what a worker wrote to its log."""
        return self._current[name].process.log_tail()

    def _start(self, name: str, queues: Sequence[str], environment: Mapping[str, str]) -> _Running:
        # Its own name in Celery: for a while, the one that it replaces is there as well.
        program = programs.worker(f"{name}-{self._generation}", queues, app=APP, options=OPTIONS.get(name, ()))
        variables = {
            **self.stack.variables,
            # Whoever writes a tool wants to see what it prints.
            SHOW_VARIABLE: "true",
            # As everywhere, a setting that is empty is not set.
            **{variable: value for variable, value in environment.items() if value},
            **program.environment,
            FILE_VARIABLE: self.events,
            # A file that is saved twice in a second would be taken for the compiled one of the first time.
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        program = replace(program, name=name, environment=variables)
        process = self.stack.build_process(program)
        process.start()
        return _Running(program, process)

    def _check_starting(self) -> None:
        first = self._starting["turns"]
        try:
            if not all(running.program.is_ready(running.process) for running in self._starting.values()):
                self._check_living()
                return
        except ServerFailed:
            self._kill_starting()
            self.on_failure(first.process.log_tail(lines=200))
            return
        self._retire_current()
        self._current, self._starting = self._starting, {}
        self.on_ready(first.process.pid or 0, time.monotonic() - first.since)

    def _check_living(self) -> None:
        """Check that all that start may still come to it. Raises `ServerFailed`."""
        for running in self._starting.values():
            if not running.process.is_running:
                raise running.process.failure(f"ended with exit code {running.process.exit_code}")
            if time.monotonic() - running.since > running.program.start_seconds:
                raise running.process.failure("was not ready in time")

    def _kill_starting(self) -> None:
        for running in self._starting.values():
            running.process.kill()
        self._starting = {}

    def _retire_current(self) -> None:
        for running in self._current.values():
            running.process.request_stop(running.program.stop_signal)
            running.since = time.monotonic()
            self._retired.append(running)
        self._current = {}
