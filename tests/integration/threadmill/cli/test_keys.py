"""`threadmill keys …`: a key is shown once, where it can be piped; errors name keys and quote no secret."""

import json
import shutil
from pathlib import Path

import pytest

from store.database.engine import Database
from store.keys.key_text import read_key
from store.keys.lookup import find_keys
from store.settings import load
from tests.command import run_command


class Shell:
    """A folder with a database, in which commands are run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url = f"sqlite:///{folder}/store.db"

    def run(self, *arguments: str, status: int = 0) -> tuple[str, str]:
        done = run_command("keys", *arguments, folder=self.folder, environment={"THREADMILL_DATABASE_URL": self.url})
        assert done.returncode == status, done.stderr
        return done.stdout, done.stderr

    def is_good(self, text: str) -> bool:
        key = read_key(text)
        assert key is not None
        database = Database(load(database_url=self.url))
        usable = database.run(find_keys, [key.id]).get(key.id)
        database.close()
        return usable is not None and usable.match(key) is not None


@pytest.fixture
def shell(migrated_file: Path, tmp_path: Path) -> Shell:
    shutil.copy(migrated_file, tmp_path / "store.db")
    return Shell(tmp_path)


def test_a_key_stands_alone_on_standard_output_and_in_no_list(shell: Shell) -> None:
    printed, note = shell.run("create", "--tenant", "acme", "--user", "ann", "--expires", "90d", "--name", "the shop")
    text = printed.rstrip("\n")

    assert shell.is_good(text)
    assert text not in note
    assert "of tenant acme; it is not shown again" in note
    for arguments in ([], ["--json"], ["--tenant", "acme"]):
        listed, _ = shell.run("list", *arguments)
        assert text[4:20] in listed
        assert text[21:] not in listed
        assert "the shop" in listed
    assert shell.run("list", "--tenant", "other") == ("no keys are made\n", "")


def test_json_has_the_key_once_and_what_it_is(shell: Shell) -> None:
    created = json.loads(shell.run("create", "--scopes", "read, operate", "--expires", "2100-01-31", "--json")[0])
    listed = json.loads(shell.run("list", "--json")[0])

    assert shell.is_good(created.pop("key"))
    assert created == listed
    assert (created["tenant"], created["user"], created["scopes"]) == ("default", None, ["read", "operate"])
    assert (created["state"], created["expires_at"]) == ("active", "2100-01-31T00:00:00+00:00")


def test_a_key_is_rotated_and_revoked_by_its_id_or_itself(shell: Shell) -> None:
    first = shell.run("create")[0].strip()
    printed, note = shell.run("rotate", first)
    second = printed.strip()
    assert "the secret before works until" in note
    assert shell.is_good(first)
    assert shell.is_good(second)

    third = shell.run("rotate", second[4:20], "--grace", "0s")[0].strip()
    assert [shell.is_good(text) for text in (first, second, third)] == [False, False, True]

    assert shell.run("revoke", third)[0] == f"revoked {third[4:20]}; every gateway refuses it within 5 s\n"
    assert not shell.is_good(third)
    assert "revoked" in shell.run("list")[0]


def test_errors_name_the_key_or_the_option_and_quote_no_secret(shell: Shell) -> None:
    text = shell.run("create")[0].strip()
    shell.run("revoke", text)
    refusals = {
        ("revoke", text): f"{text[4:20]!r} was revoked at",
        ("rotate", text): f"{text[4:20]!r} was revoked at",
        ("revoke", "0" * 16): f"{'0' * 16!r} is no key's id",
        ("revoke", text[:-1]): "is a key with a slip in it",
        ("revoke", "x"): "KEY_ID: is 'x', no key's id",
        ("rotate", "0" * 16, "--grace", "soon"): "--grace",
        ("create", "--scopes", "all"): "--scopes: is 'all'; use one of read, write, operate",
        ("create", "--scopes", ","): "--scopes: are none",
        ("create", "--expires", "soon"): "--expires",
        ("create", "--expires", "2001-01-01"): "--expires: is past",
        ("create", "--tenant", "a b"): "--tenant: is no plain name",
        ("create", "--user", "a b"): "--user: holds white space",
    }

    for arguments, words in refusals.items():
        _, error = shell.run(*arguments, status=2 if words.startswith("--") and ":" not in words else 1)
        assert words in error, arguments
        assert text[21:60] not in error, arguments
