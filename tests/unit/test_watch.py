"""The watch over a stack: who died is started again, later each time, and forgiven in the end."""

from dataclasses import dataclass, field

from threadmill.cli.supervisor import Supervisor
from threadmill.embedded.errors import ServerFailed


@dataclass
class Parts:
    """A stack of names."""

    down: list[str] = field(default_factory=list)
    restarted: list[str] = field(default_factory=list)
    broken: bool = False

    def dead_parts(self) -> list[str]:
        return list(self.down)

    def restart(self, name: str) -> None:
        self.restarted.append(name)
        if self.broken:
            raise ServerFailed(f"{name} ended with exit code 1.\nAnd more.")
        self.down.remove(name)

    def log_tail(self, name: str) -> str:
        return f"{name}: out of memory\nbye"


@dataclass
class Scene:
    """A watch, with a clock that stands until it is moved."""

    parts: Parts = field(default_factory=Parts)
    now: float = 1000.0
    said: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.watch = Supervisor(self.parts, self.said.append, lambda: self.now)

    def look_after(self, seconds: float) -> None:
        self.now += seconds
        self.watch.check()

    def waits_until_restart(self) -> float:
        """Seconds from a death that is just noticed to the restart."""
        before, waited = len(self.parts.restarted), 0.0
        self.watch.check()
        while len(self.parts.restarted) == before:
            self.look_after(0.5)
            waited += 0.5
        return waited


def test_nothing_is_said_while_everything_lives() -> None:
    scene = Scene()

    scene.look_after(1)

    assert (scene.said, scene.parts.restarted) == ([], [])


def test_a_death_is_told_once_with_its_last_words() -> None:
    scene = Scene(Parts(down=["beat"]))

    scene.look_after(0)
    scene.look_after(0.5)

    assert scene.said == [
        "beat died and is started again in 1 s; its last words:",
        "    beat: out of memory\n    bye",
    ]
    assert scene.parts.restarted == []


def test_a_part_that_dies_again_and_again_is_started_later_and_later() -> None:
    scene, waits = Scene(), []

    for _ in range(8):
        scene.parts.down.append("beat")
        waits.append(scene.waits_until_restart())

    assert waits == [1, 2, 4, 8, 16, 32, 60, 60]


def test_a_part_that_stayed_up_is_forgiven() -> None:
    scene = Scene(Parts(down=["beat"]))
    scene.waits_until_restart()
    scene.parts.down.append("beat")
    scene.waits_until_restart()

    scene.look_after(600)
    scene.parts.down.append("beat")

    assert scene.waits_until_restart() == 1


def test_a_restart_that_fails_is_told_and_tried_again() -> None:
    scene = Scene(Parts(down=["beat"], broken=True))
    scene.waits_until_restart()
    assert scene.said[-1] == "beat could not be started: beat ended with exit code 1."

    scene.parts.broken = False

    assert scene.waits_until_restart() == 2
    assert scene.said[-1] == "beat is up again"


def test_each_part_has_its_own_patience() -> None:
    scene = Scene(Parts(down=["beat"]))
    scene.waits_until_restart()

    scene.parts.down += ["beat", "turns"]
    scene.look_after(0)
    scene.look_after(1)

    assert scene.parts.restarted == ["beat", "turns"]
