"""Hold every locked version against the advisories that are kept in advisories.toml.

    python requirements/advisories.py                   fail for a version that an advisory names
    python requirements/advisories.py --refresh FOLDER  write the file anew, out of a database of advisories

FOLDER holds records in the format of OSV, as JSON or YAML: a clone of the advisory database of PyPA or of GitHub, or
what OSV exports of an ecosystem, unpacked. What stays true: nothing is asked of the network; an advisory counts unless
an exception with a reason names it; time alone fails nothing: of a file that is old, and of an exception that has
ended, a line tells.
"""

import json
import re
import sys
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import yaml
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

ROOT = Path(__file__).parents[1]
FILE = Path(__file__).with_name("advisories.toml")
#: Days after which the file is called old.
OLD_DAYS = 90
#: Names of OSV's ecosystems, as the file has them.
ECOSYSTEMS = {"PyPI": "python", "npm": "npm"}


@dataclass(frozen=True, order=True)
class Advisory:
    """An advisory for one package."""

    ecosystem: str
    package: str
    #: Its own id, then those that others gave it.
    ids: tuple[str, ...]
    #: The versions that it names: any of these sets of conditions.
    affected: tuple[str, ...]

    def names(self, version: str) -> bool:
        """Whether it names this version. One that cannot be read, or whose range cannot, is taken to be named."""
        try:
            return any(SpecifierSet(each, prereleases=True).contains(Version(version)) for each in self.affected)
        except (InvalidVersion, InvalidSpecifier):
            return True


def find_locked(root: Path = ROOT) -> dict[tuple[str, str], set[str]]:
    """The versions that lock files name, by ecosystem and package."""
    locked: dict[tuple[str, str], set[str]] = {}
    for path in sorted((root / "requirements").glob("*.txt")):
        for name, version in re.findall(r"(?m)^([A-Za-z0-9._-]+)==([^\s;\\]+)", path.read_text()):
            locked.setdefault(("python", canonicalize_name(name)), set()).add(version)
    for path in sorted((root / "clients").glob("*/package-lock.json")):
        for place, entry in json.loads(path.read_text())["packages"].items():
            if place and "version" in entry:
                locked.setdefault(("npm", place.rpartition("node_modules/")[2]), set()).add(entry["version"])
    return locked


def read_file(path: Path = FILE) -> tuple[list[Advisory], dict[str, date], date]:
    """The advisories of the file, the ends of its exceptions by id, and the day on which it was written."""
    content = tomllib.loads(path.read_text())
    advisories = [
        Advisory(each["ecosystem"], each["package"], tuple(each["ids"]), tuple(each["affected"]))
        for each in content.get("advisory", ())
    ]
    exceptions = {
        name: each["until"] for each in content.get("exception", ()) if each["reason"] for name in each["ids"]
    }
    return advisories, exceptions, content["checked"]


def check(root: Path = ROOT, path: Path = FILE, *, today: date) -> tuple[list[str], list[str]]:
    """Hold the lock files against the file: the lines of what is wrong, and of what is to be looked at."""
    advisories, exceptions, checked = read_file(path)
    locked = find_locked(root)
    problems, warnings = [], []
    for advisory in sorted(advisories):
        for version in sorted(locked.get((advisory.ecosystem, advisory.package), ())):
            if not advisory.names(version):
                continue
            line = f"{advisory.package} {version}: {', '.join(advisory.ids)} names {' or '.join(advisory.affected)}"
            ends = [exceptions[name] for name in advisory.ids if name in exceptions]
            if not ends:
                problems.append(f"{line}: take another version, or write an exception with its reason")
            elif max(ends) < today:
                warnings.append(f"{line}; its exception ended on {max(ends)}")
    if (today - checked).days > OLD_DAYS:
        warnings.append(f"{path.name} is of {checked}: write it anew with --refresh")
    return problems, warnings


def refresh(folder: Path, root: Path = ROOT, path: Path = FILE, *, today: date) -> None:
    """Write the advisories of locked packages out of a database; what stands above and exceptions stay."""
    locked = find_locked(root)
    found = {each for record in _read_records(folder) for each in _read_advisories(record) if each}
    kept = sorted(each for each in found if (each.ecosystem, each.package) in locked)
    before, _, _ = path.read_text().partition("\n[[advisory]]\n")
    head = re.sub(r"(?m)^checked = .*$", f"checked = {today.isoformat()}", before)
    path.write_text("\n".join([head, *map(_write, kept)]))


def _write(advisory: Advisory) -> str:
    fields = {name: json.dumps(getattr(advisory, name)) for name in ("ecosystem", "package", "ids", "affected")}
    return "\n".join(["[[advisory]]", *(f"{name} = {value}" for name, value in fields.items()), ""])


def _read_records(folder: Path) -> Iterator[Mapping[str, Any]]:
    for path in sorted(folder.rglob("*")):
        if path.suffix in (".json", ".yaml", ".yml"):
            text = path.read_text(encoding="utf-8")
            record = json.loads(text) if path.suffix == ".json" else yaml.load(text, Loader=yaml.CSafeLoader)
            if isinstance(record, dict) and "affected" in record and not record.get("withdrawn"):
                yield record


def _read_advisories(record: Mapping[str, Any]) -> Iterator[Advisory]:
    ids = (str(record["id"]), *sorted(map(str, record.get("aliases", ()))))
    affected: dict[tuple[str, str], set[str]] = {}
    for each in record["affected"]:
        package = each.get("package", {})
        ecosystem = ECOSYSTEMS.get(package.get("ecosystem"))
        if ecosystem is not None:
            name = canonicalize_name(package["name"]) if ecosystem == "python" else package["name"]
            ranges = [part for one in each.get("ranges", ()) if one["type"] != "GIT" for part in _read_range(one)]
            versions = ranges or [f"=={version}" for version in each.get("versions", ())]
            affected.setdefault((ecosystem, name), set()).update(versions)
    for (ecosystem, name), several in affected.items():
        yield Advisory(ecosystem, name, ids, tuple(sorted(several)))


def _read_range(one: Mapping[str, Any]) -> Iterator[str]:
    """The conditions of a range of OSV: from each event of an introduction to the next that ends it."""
    start: str | None = None
    for event in one["events"]:
        if "introduced" in event:
            start = event["introduced"]
        elif start is not None:
            end = f"<{event['fixed']}" if "fixed" in event else f"<={event['last_affected']}"
            yield f">={start},{end}"
            start = None
    if start is not None:
        yield f">={start}"


def main(arguments: list[str]) -> int:
    """Check, or refresh; returns the exit status."""
    today = datetime.now(UTC).date()
    if arguments[:1] == ["--refresh"]:
        refresh(Path(arguments[1]), today=today)
        return 0
    problems, warnings = check(today=today)
    sys.stdout.writelines(f"advisories: to be looked at: {line}\n" for line in warnings)
    sys.stderr.writelines(f"advisories: {line}\n" for line in problems)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
