"""The packages of Threadmill, whose names other projects use as well, found by their place beside this file.

What stays true: in a process of Threadmill's own (`pin`), each of these names means the package beside this file,
whatever the working directory, PYTHONPATH or another package of the environment have. In a process of somebody
else's (`check`) nothing of theirs is hidden: where a name means something of theirs, one line says so, and the way
out. Only this file and the package `threadmill` are found by name, as no other project has these.
"""

import importlib.util
import logging
import sys
from collections.abc import Iterable, Sequence
from functools import cache
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType

#: The folder of the packages: a checkout, or where a wheel was installed.
ROOT = Path(__file__).resolve().parent
#: Names that other projects may have, too.
NAMES = ("agent", "conversation", "producers", "store", "tasks")
#: What each of them imports, itself included: a process of somebody else's needs no more than it uses.
NEEDS = {
    "conversation": ("conversation",),
    "store": ("conversation", "store"),
    "agent": ("agent", "conversation"),
    "producers": ("conversation", "producers", "store"),
    "threadmill": NAMES,
}
#: The page that says what to do.
PAGE = "docs/how-to/from-another-project.md"


class _OwnPackages(MetaPathFinder):
    """The finder that is asked first, and knows some of these names alone."""

    def __init__(self, names: Iterable[str]) -> None:
        self.names = frozenset(names)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find one of our packages beside this file."""
        return PathFinder.find_spec(fullname, [str(ROOT)], target) if path is None and fullname in self.names else None


def pin() -> None:
    """Have these names mean our packages in this process, and in those that it forks. Safe to repeat.

    Raises `ImportError` where something else was imported under one of them before.
    """
    for name in NAMES:
        _check_module(name)
    _put_first(NAMES)


@cache
def check(package: str) -> None:
    """Check that the names that a package needs mean ours, in a process of somebody else's. Raises `ImportError`."""
    needed = NEEDS[package]
    for name in needed:
        if _check_module(name):
            continue
        spec = importlib.util.find_spec(name)
        place = _place_of(spec)
        if place is not None and not _holds_code(place):
            # A folder of documents, which Python takes for a package where ours is installed as editable.
            _put_first([name])
        else:
            _refuse_other(name, spec)
    others = find_others(sys.path, needed)
    if others:
        logging.getLogger("threadmill").warning(describe_others(others))


def find_others(path: Iterable[str], names: Iterable[str] = NAMES) -> list[str]:
    """Find the modules and packages of others on a path of imports that have one of these names."""
    names, places = tuple(names), set[str]()
    for entry in path:
        for name in names:
            place = _place_of(PathFinder.find_spec(name, [entry or str(Path.cwd())]))
            if place is not None and place.parent != ROOT and _holds_code(place):
                places.add(str(place))
    return sorted(places)


def describe_others(places: Iterable[str]) -> str:
    """The line for people about modules that are out of reach, as ours have their names."""
    return (
        f"{', '.join(places)}: out of reach in this process, where Threadmill's own packages have these names; "
        f"give yours other names, or run Threadmill apart from them ({PAGE})"
    )


@cache
def load_celeryconfig() -> ModuleType:
    """Load Celery's configuration: our file of that name, never one that is found by its name."""
    spec = importlib.util.spec_from_file_location("threadmill_celeryconfig", ROOT / "celeryconfig.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def __getattr__(name: str) -> ModuleType:
    """Have `threadmill_packages:celeryconfig` name our configuration, for whoever takes it by name."""
    if name == "celeryconfig":
        return load_celeryconfig()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _put_first(names: Iterable[str]) -> None:
    if not any(isinstance(finder, _OwnPackages) and finder.names.issuperset(names) for finder in sys.meta_path):
        sys.meta_path.insert(0, _OwnPackages(names))


def _check_module(name: str) -> bool:
    """Whether our package was imported under this name; False if nothing was. Raises `ImportError`."""
    module = sys.modules.get(name)
    if module is None:
        return False
    _refuse_other(name, module.__spec__)
    return True


def _refuse_other(name: str, spec: ModuleSpec | None) -> None:
    place = _place_of(spec)
    if place is None or place.parent != ROOT:
        raise ImportError(
            f"{name!r} is {place or 'not found'} in this process, and Threadmill, in {ROOT}, has a package of that "
            f"name: run Threadmill in an environment and processes of its own, and send to it by SQL ({PAGE})",
            name=name,
            path=None if place is None else str(place),
        )


def _place_of(spec: ModuleSpec | None) -> Path | None:
    """The file of a module, or the folder of a package."""
    if spec is None:
        return None
    folders = list(spec.submodule_search_locations or ())
    place = folders[0] if folders else spec.origin
    return None if place is None else Path(place).resolve()


def _holds_code(place: Path) -> bool:
    """Whether there is anything to import: a folder without Python is somebody's documents."""
    return place.is_file() or next(place.glob("*.py"), None) is not None
