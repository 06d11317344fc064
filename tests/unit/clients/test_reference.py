"""The page about the clients names each verb and each error of both."""

import inspect
import re
from pathlib import Path

import threadmill_client
from threadmill_client import Threadmill, ThreadmillError

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "reference" / "clients.md").read_text()
IN_TYPESCRIPT = re.compile(r"^  (?:async )?(\w+)\(", re.MULTILINE)


def test_the_page_names_each_verb() -> None:
    verbs = [name for name, _ in inspect.getmembers(Threadmill, inspect.isfunction) if not name.startswith("_")]
    for module, name in (("client", "Threadmill"), ("operations", "Operations")):
        source = (ROOT / "clients" / "typescript" / "src" / f"{module}.ts").read_text()
        body = source.partition(f"export class {name} ")[2].partition("\n}\n")[0]
        verbs += IN_TYPESCRIPT.findall(body)

    assert len(verbs) > 85
    assert [verb for verb in verbs if f"`{verb}`" not in PAGE] == []


def test_the_page_names_each_error() -> None:
    exported = [getattr(threadmill_client, name) for name in threadmill_client.__all__]
    errors = [each.__name__ for each in exported if inspect.isclass(each) and issubclass(each, ThreadmillError)]

    assert [name for name in errors if f"`{name}`" not in PAGE] == []


def test_the_package_opens_with_an_exact_table_of_its_contents() -> None:
    imported = {name for name in vars(threadmill_client) if not name.startswith("_") and name[0].isupper()}

    assert imported == set(threadmill_client.__all__) - {"__version__"}
