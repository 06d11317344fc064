"""Files over HTTP: put once, fetched safely, and never held in memory."""

import hashlib
import tracemalloc
from typing import Any

import httpx
import pytest
from pydantic import SecretStr
from sqlalchemy import update

from conversation.ids import new_id
from store import tables
from store.erasure.subject import Subject
from store.erasure.workflow import run_erasure
from store.settings import Settings
from tests.conftest import S3
from tests.integration.producers.http.site import PNG, SHA256, UPLOAD, BlobsWithUploads, Site
from tests.unit.store.media_types.macro_forms import with_project_in_the_middle

GIF = bytes.fromhex("47494638396101000100800000000000ffffff21f90401000000002c00000000010001000002024401003b")
TEXT = b"A line of some words.\n" * 1000


@pytest.fixture
def thread(site: Site) -> str:
    thread_id: str = site.make_thread("ada")["id"]
    return thread_id


def attach(site: Site, thread: str, name: str, content: bytes, media_type: str) -> str:
    files = {"files": (name, content, media_type)}
    answer = site.ask("ada", "POST", f"/threads/{thread}/messages", data={"content": "x"}, files=files)
    assert answer.status_code == 202, answer.text
    return hashlib.sha256(content).hexdigest()


def test_a_file_is_saved_and_nothing_of_it_runs(site: Site, thread: str) -> None:
    sha256 = attach(site, thread, 'we"ird\r\nname.html', b"<html><script>alert(1)</script></html>", "text/html")

    answer = site.ask("ada", "GET", f"/threads/{thread}/files/{sha256}")
    known = site.ask("ada", "GET", f"/threads/{thread}/files/{sha256}", headers={"If-None-Match": f'W/"{sha256}"'})

    assert answer.content == b"<html><script>alert(1)</script></html>"
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"].startswith("attachment; ")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-security-policy"].startswith("sandbox")
    assert (known.status_code, known.content, known.headers["etag"]) == (304, b"", f'"{sha256}"')
    assert site.ask("ada", "GET", f"/threads/{site.make_thread('ada')['id']}/files/{sha256}").status_code == 404


def test_a_script_is_saved_under_a_name_that_no_system_runs(site: Site, thread: str) -> None:
    sha256 = attach(site, thread, "run.bat", b"@echo off\r\ncalc\r\n", "text/plain")

    answer = site.ask("ada", "GET", f"/threads/{thread}/files/{sha256}")

    assert answer.headers["content-disposition"].startswith('attachment; filename="run.bat.txt"')


def test_macros_in_the_middle_of_a_large_document_are_found(site: Site, thread: str) -> None:
    content = with_project_in_the_middle()

    sent = site.ask(
        "ada", "POST", f"/threads/{thread}/messages", data={"content": "x"}, files={"files": ("a.docx", content)}
    )
    stored = site.ask("ada", "POST", "/files", files={"file": ("a.docx", content, "application/octet-stream")})

    assert [answer.status_code for answer in (sent, stored)] == [422, 422]
    assert "macroenabled" in sent.text + stored.text


def test_a_file_that_lies_on_a_server_is_fetched_from_there(
    site: Site, thread: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sha256 = attach(site, thread, "notes.txt", TEXT, "text/plain")
    asked: dict[str, Any] = {}

    def url(_self: object, tenant: str, sha256: str, **options: Any) -> str:
        asked.update(options, tenant=tenant)
        return f"https://files.test/{sha256}?signature=secret"

    monkeypatch.setattr(BlobsWithUploads, "url", url)
    answer = site.ask("ada", "GET", f"/threads/{thread}/files/{sha256}")

    assert (answer.status_code, answer.headers["location"]) == (302, f"https://files.test/{sha256}?signature=secret")
    assert answer.headers["cache-control"] == "no-store"
    assert (asked["tenant"], asked["filename"], asked["inline"]) == ("acme", "notes.txt", False)


def test_a_small_picture_is_its_own_thumbnail_once_it_was_read(site: Site, thread: str) -> None:
    sha256 = attach(site, thread, "dot.gif", GIF, "image/gif")
    path = f"/threads/{thread}/files/{sha256}/thumbnail"
    early = site.ask("ada", "GET", path)
    of_picture = (tables.blobs.c.tenant == "acme") & (tables.blobs.c.sha256 == sha256)
    prepare = update(tables.blobs).where(of_picture).values(extracted_text="1 x 1 pixels")
    site.database.run(lambda c: c.execute(prepare) and None)

    answer = site.ask("ada", "GET", path)

    assert early.status_code == 404
    assert (answer.content, answer.headers["content-type"]) == (GIF, "image/gif")
    assert answer.headers["content-disposition"].startswith("inline; ")


def test_an_upload_is_its_users_own(site: Site) -> None:
    upload = site.ask_for_upload("ada")

    for who in ("bob", "rival"):
        assert site.ask(who, "POST", f"/uploads/{upload}/complete").status_code == 404
    empty = site.ask("ada", "POST", "/uploads", json=UPLOAD).json()
    assert site.ask("ada", "POST", f"/uploads/{empty['id']}/complete").status_code == 409
    assert site.ask("ada", "POST", f"/uploads/{upload}/complete").json() == {
        "sha256": SHA256,
        "filename": "dot.png",
        "media_type": "image/png",
        "size": len(PNG),
    }
    thread = site.make_thread("ada")["id"]
    assert site.send("ada", thread, attachments=[{"sha256": SHA256}])["state"] == "queued"
    assert site.ask("ada", "POST", f"/uploads/{new_id()}/complete").status_code == 404


def test_a_file_that_a_user_put_and_never_sent_is_erased_with_them(site: Site) -> None:
    content = f"a file of {new_id()}".encode()
    sha256 = site.ask("cleo", "POST", "/files", files={"file": ("a.txt", content, "text/plain")}).json()["sha256"]

    certificate = run_erasure(site.database, site.blobs, Subject(tenant="acme", user="cleo"))

    assert {"uploads": 1, "blobs": 1}.items() <= certificate["counts"].items()
    assert not site.blobs.exists("acme", sha256)


@pytest.mark.soak
def test_a_file_goes_past_the_gateway_both_ways(settings: Settings, s3: S3) -> None:
    keys = {"s3_endpoint_url": s3.endpoint, "s3_access_key_id": s3.key, "s3_secret_access_key": SecretStr(s3.secret)}
    site = Site(settings.model_copy(update={"file_store_url": f"s3://{s3.bucket}/files", **keys}))
    thread = site.make_thread("ada")["id"]

    upload = site.ask("ada", "POST", "/uploads", json=UPLOAD).json()
    put = httpx.request(upload["method"], upload["url"], headers=upload["headers"], content=PNG)
    stored = site.ask("ada", "POST", f"/uploads/{upload['id']}/complete")
    site.send("ada", thread, attachments=[{"sha256": SHA256}])
    answer = site.ask("ada", "GET", f"/threads/{thread}/files/{SHA256}")
    fetched = httpx.get(answer.headers["location"])
    site.close()

    assert (put.is_success, stored.json()["size"], answer.status_code) == (True, len(PNG), 302)
    assert (fetched.content, fetched.headers["content-type"]) == (PNG, "image/png")
    assert fetched.headers["content-disposition"].startswith("attachment; ")


def test_a_large_file_takes_little_memory(site: Site, thread: str) -> None:
    content = b"word " * (3 * 1024 * 1024)
    boundary = "b"
    head = b'--b\r\nContent-Disposition: form-data; name="files"; filename="a.txt"\r\nContent-Type: text/plain\r\n\r\n'

    async def body() -> Any:
        yield head
        for start in range(0, len(content), 65536):
            yield content[start : start + 65536]
        yield b"\r\n--b--\r\n"

    headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
    tracemalloc.start()
    answer = site.ask("ada", "POST", f"/threads/{thread}/messages", content=body(), headers=headers)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert answer.status_code == 202, answer.text
    assert peak < 8 * 1024 * 1024
