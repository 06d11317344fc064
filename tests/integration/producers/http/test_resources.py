"""Every route: what it answers, and to whom it is not there."""

import hashlib
from typing import Any

import pytest

from conversation.ids import new_id
from tests.integration.producers.http.site import Site

PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000000d49444154789c6360606060000000050001a5f64540"
    "0000000049454e44ae426082"
)


def test_smoke(site: Site) -> None:
    thread = site.make_thread("ada", "order-1", title="Parcel", metadata={"plan": "pro"})
    print(thread)
    turn = site.send("ada", "order-1")
    print(turn)
    site.answer("order-1")
    for path in ("/threads/order-1", "/threads", "/threads?q=hello", "/threads/order-1/messages", f"/turns/{turn['id']}", "/threads/order-1/turns", "/threads/order-1/context", "/threads/order-1/summaries", "/usage"):
        answer = site.ask("ada", "GET", path)
        print(path, answer.status_code, answer.text)
        assert answer.status_code == 200
    answer = site.ask("ada", "POST", "/threads/order-1/messages", data={"content": "see"}, files={"files": ("a.png", PNG, "image/png")})
    print(answer.text)
    assert answer.status_code == 202
    site.answer("order-1")
    sha = hashlib.sha256(PNG).hexdigest()
    answer = site.ask("ada", "GET", f"/threads/order-1/files/{sha}")
    print(answer.status_code, answer.headers)
    assert answer.content == PNG
    answer = site.ask("ada", "POST", "/files", files={"file": ("a.png", PNG, "image/png")})
    print(answer.text)
    assert answer.status_code == 201
