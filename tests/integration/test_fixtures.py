"""What every other test stands on: servers that are real, empty at the start, and refuse strangers."""

import os
import urllib.error
import urllib.request
from typing import Any

import psycopg
import pytest
import redis
from botocore.exceptions import ClientError


def databases(url: str) -> set[str]:
    with psycopg.connect(url) as connection:
        return {row[0] for row in connection.execute("SELECT datname FROM pg_database")}


def test_a_test_has_a_database_of_its_own_with_the_schema(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        tables = {row[0] for row in connection.execute("SELECT tablename FROM pg_tables")}
        threads = connection.execute("SELECT count(*) FROM threads").fetchone()

    assert {"threads", "turns", "messages"} <= tables
    assert threads == (0,)


def test_an_empty_database_has_no_tables(empty_database_url: str) -> None:
    with psycopg.connect(empty_database_url) as connection:
        tables = connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone()

    assert tables == (0,)


def test_a_database_is_dropped_with_its_test_even_while_somebody_is_connected(
    lend_database: Any, postgres_server: Any
) -> None:
    with lend_database("template1") as url:
        connection = psycopg.connect(url)
        name = url.rpartition("/")[2]
        assert name in databases(postgres_server.url)

    connection.close()
    assert name not in databases(postgres_server.url)


@pytest.mark.parametrize("round_", [1, 2])
def test_valkey_is_empty_at_the_start_of_every_test(valkey_url: str, round_: int) -> None:
    with redis.Redis.from_url(valkey_url) as client:
        assert client.dbsize() == 0
        client.set("left behind", round_)


def test_no_variable_of_the_developer_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [name.upper() for name in os.environ]

    assert not [name for name in names if name.startswith(("THREADMILL_", "NARRATOR_", "OPENAI_", "PG"))]
    assert not [name for name in names if name.endswith(("_API_KEY", "_PROXY"))]


def test_s3_keeps_reads_lists_and_deletes_objects(s3: Any) -> None:
    client = s3.client()

    client.put_object(Bucket=s3.bucket, Key="a/1", Body=b"hello", ContentType="text/plain")

    head = client.head_object(Bucket=s3.bucket, Key="a/1")
    assert (head["ContentLength"], head["ContentType"]) == (5, "text/plain")
    assert client.get_object(Bucket=s3.bucket, Key="a/1")["Body"].read() == b"hello"
    assert client.get_object(Bucket=s3.bucket, Key="a/1", Range="bytes=1-2")["Body"].read() == b"el"
    listed = client.list_objects_v2(Bucket=s3.bucket, Prefix="a/")["Contents"]
    assert [item["Key"] for item in listed] == ["a/1"]
    client.delete_object(Bucket=s3.bucket, Key="a/1")
    assert client.list_objects_v2(Bucket=s3.bucket)["KeyCount"] == 0


def test_s3_copies_on_the_server(s3: Any) -> None:
    client = s3.client()
    client.put_object(Bucket=s3.bucket, Key="staging/1", Body=b"hello")

    client.copy_object(Bucket=s3.bucket, Key="final", CopySource={"Bucket": s3.bucket, "Key": "staging/1"})

    assert client.get_object(Bucket=s3.bucket, Key="final")["Body"].read() == b"hello"


def test_s3_keeps_objects_that_are_uploaded_in_parts(s3: Any) -> None:
    client = s3.client()
    where = {"Bucket": s3.bucket, "Key": "large"}
    upload = client.create_multipart_upload(**where)["UploadId"]
    parts = [
        {"PartNumber": n, "ETag": client.upload_part(**where, UploadId=upload, PartNumber=n, Body=body)["ETag"]}
        for n, body in [(1, b"a" * 5 * 1024 * 1024), (2, b"b")]
    ]

    client.complete_multipart_upload(**where, UploadId=upload, MultipartUpload={"Parts": parts})

    assert client.head_object(**where)["ContentLength"] == 5 * 1024 * 1024 + 1


def test_a_presigned_link_works_without_a_key_and_only_as_it_was_signed(s3: Any) -> None:
    client = s3.client()
    client.put_object(Bucket=s3.bucket, Key="one", Body=b"hello")
    client.put_object(Bucket=s3.bucket, Key="two", Body=b"not for you")
    link = client.generate_presigned_url("get_object", Params={"Bucket": s3.bucket, "Key": "one"})

    with urllib.request.urlopen(link) as answer:
        assert answer.read() == b"hello"
    with pytest.raises(urllib.error.HTTPError) as refused, urllib.request.urlopen(link.replace("/one", "/two")):
        pass
    refused.value.close()
    assert refused.value.code == 403


def test_s3_refuses_a_wrong_secret_and_no_signature(s3: Any) -> None:
    stranger = s3.client(aws_secret_access_key="guessed")

    with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
        stranger.put_object(Bucket=s3.bucket, Key="a", Body=b"")
    with pytest.raises(urllib.error.HTTPError) as refused, urllib.request.urlopen(f"{s3.endpoint}/{s3.bucket}"):
        pass
    refused.value.close()
    assert refused.value.code == 412  # unsigned, it is not even understood as S3


def test_s3_buckets_of_two_tests_differ(s3: Any) -> None:
    assert s3.client().list_objects_v2(Bucket=s3.bucket)["KeyCount"] == 0
    assert s3.bucket.startswith("test-")
