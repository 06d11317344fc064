"""The suite for file stores, pointed at somebody's own server as its page says."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import S3, is_foreign

pytestmark = pytest.mark.soak

ROOT = Path(__file__).parents[4]


def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/conformance", *arguments]
    environment = {**os.environ, **{f"S3_CONFORMANCE_{name}": value for name, value in variables.items()}}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=100)


@pytest.mark.parametrize("name", ["ENDPOINT", "KEY", "SECRET", "BUCKET", "REGION"])
def test_its_variables_reach_the_tests(name: str) -> None:
    assert not is_foreign(f"S3_CONFORMANCE_{name}")


@pytest.mark.endurance
def test_it_runs_on_the_server_that_is_named_and_leaves_nothing_there(s3: S3) -> None:
    client = s3.client()
    client.put_object(Bucket=s3.bucket, Key="somebody/elses", Body=b"x")
    some = "yours and (put_is_read or versions or past_the_first_page or becomes_a_blob or damaged)"

    done = run("-k", some, ENDPOINT=s3.endpoint, KEY=s3.key, SECRET=s3.secret, BUCKET=s3.bucket)

    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout
    left = client.list_object_versions(Bucket=s3.bucket)["Versions"]
    assert [item["Key"] for item in left] == ["somebody/elses"]


@pytest.mark.endurance
def test_a_variable_that_is_missing_is_named(s3: S3) -> None:
    done = run("-k", "yours and put_is_read", ENDPOINT=s3.endpoint, KEY=s3.key, BUCKET=s3.bucket)

    assert done.returncode == 1
    assert "set S3_CONFORMANCE_SECRET as well" in done.stdout


def test_without_a_server_the_suite_runs_on_ours_alone() -> None:
    done = run("--collect-only", "-k", "yours")

    assert done.returncode == 5
