"""Mappings of inbound webhooks: the parts of a body, and hostile bodies."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conversation.errors import InvalidInput
from conversation.inbound_body import read_inbound_body
from conversation.inbound_mapping import (
    InboundBody,
    apply_mapping,
    check_conditions,
    check_mapping,
    check_template,
    meets,
)
from conversation.json_pointer import MISSING, check_pointer, read_pointer

MAPPING = {
    "thread_id": "github-{/repository/full_name}-{/issue/number}",
    "text": "{/sender/login} wrote {{about}} {/issue/title}:\n{/comment/body}",
    "user": "/sender/login",
    "idempotency_key": "{header:X-GitHub-Delivery}",
    "metadata": {"labels": "{/issue/labels}", "sha": "{sha256}", "none": "{/nowhere}"},
}
EVENT: dict[str, Any] = {
    "action": "created",
    "repository": {"full_name": "ada/parcels"},
    "issue": {"number": 7, "title": "Where is it?", "labels": ["late"]},
    "comment": {"body": "{/sender/id} {sha256} {{x}}"},
    "sender": {"login": "ada", "id": 1},
}
#: The examples of RFC 6901.
DOCUMENT = json.loads(r'{"foo": ["bar", "baz"], "": 0, "a/b": 1, "c%d": 2, "i\\j": 5, "k\"l": 6, " ": 7, "m~n": 8}')


def body_of(document: Any, **headers: str) -> InboundBody:
    return InboundBody(document=document, headers=headers, sha256="5" * 64)


def test_the_parts_of_a_body_are_read_and_none_of_them_is_a_template() -> None:
    values = apply_mapping(check_mapping(MAPPING), body_of(EVENT, **{"x-github-delivery": "d-1"}))

    assert values.thread_id == "github-ada%2Fparcels-7"
    assert values.text == "ada wrote {about} Where is it?:\n{/sender/id} {sha256} {{x}}"
    assert (values.user, values.idempotency_key) == ("ada", "d-1")
    assert values.metadata == {"labels": '["late"]', "sha": "5" * 64, "none": ""}


def test_two_values_never_make_one_thread() -> None:
    mapping = check_mapping(MAPPING | {"thread_id": "{/a}", "user": "x"})
    headers = {"x-github-delivery": "1"}

    ids = {
        apply_mapping(mapping, body_of({"a": each}, **headers)).thread_id for each in ("a/b", "a%2Fb", "a b", "a%20b")
    }

    assert len(ids) == 4


@pytest.mark.parametrize("value", [None, {}, [], ["x"], {"a": 1}])
def test_an_id_is_made_of_text_numbers_and_truth_alone(value: object) -> None:
    mapping = check_mapping({"thread_id": "{/a}", "text": "x", "idempotency_key": "{sha256}"})

    with pytest.raises(InvalidInput, match=r"^thread_id: has (no value|an object or a list) at '/a'"):
        apply_mapping(mapping, body_of({"a": value}))


def test_what_is_missing_is_told_by_its_pointer() -> None:
    for missing, field in (("thread_id", "thread_id"), ("idempotency_key", "idempotency_key"), ("user", "user")):
        mapping = check_mapping({"thread_id": "t", "text": "x", "idempotency_key": "{sha256}"} | {missing: "{/gone/1}"})
        with pytest.raises(InvalidInput, match=rf"^{field}: has no value at '/gone/1'"):
            apply_mapping(mapping, body_of(EVENT))


@pytest.mark.parametrize(
    "template",
    ["", "{", "}", "a {b} c", "{/a", "{{/a}", "{a.b}", "{/a!r}{", "{header:}", "{header:a b}", "{/a~2}", None, 5],
)
def test_what_is_no_template_is_refused(template: object) -> None:
    with pytest.raises(InvalidInput, match=r"^text: "):
        check_template("text", template)


@pytest.mark.parametrize(
    "mapping",
    [
        None,
        [],
        {},
        {"thread_id": "t", "text": "x"},
        MAPPING | {"tenant": "acme"},
        MAPPING | {"metadata": "x"},
        MAPPING | {"metadata": {"a": 1}},
        MAPPING | {"text": ["x"]},
        MAPPING | {"idempotency_key": "order {{/id}}"},
    ],
)
def test_what_is_no_mapping_is_refused(mapping: object) -> None:
    with pytest.raises(InvalidInput, match=r"^mapping"):
        check_mapping(mapping)


def test_a_mapping_is_stored_as_it_is() -> None:
    mapping = check_mapping(MAPPING)

    assert check_mapping(mapping.to_json()) == mapping


def test_conditions_compare_values_with_their_types() -> None:
    only = check_conditions({"/action": ["created", "edited"], "/issue/number": [7]})

    assert meets(only, EVENT)
    assert not meets(only, EVENT | {"action": "deleted"})
    assert not meets(only, EVENT | {"issue": {"number": "7"}})
    assert not meets(check_conditions({"/a": [True]}), {"a": 1})
    assert not meets(check_conditions({"/nowhere": [None]}), EVENT)
    for bad in ({"action": ["x"]}, {"/a": "x"}, {"/a": [{}]}, ["x"]):
        with pytest.raises(InvalidInput, match=r"^only: "):
            check_conditions(bad)


def test_pointers_are_those_of_the_standard() -> None:
    pointers = {
        "/foo/0": "bar", "/": 0, "/a~1b": 1, "/c%d": 2, "/i\\j": 5, '/k"l': 6, "/ ": 7, "/m~0n": 8, "": DOCUMENT,
    }  # fmt: skip

    assert {pointer: read_pointer(check_pointer("p", pointer), DOCUMENT) for pointer in pointers} == pointers
    for pointer in ("/foo/2", "/foo/-", "/foo/01", "/foo/-1", "/foo/bar", "/foo/0/0", "/foo/" + "9" * 400, "/none"):
        assert read_pointer(pointer, DOCUMENT) is MISSING


HOSTILE = {
    "nothing": b"",
    "half a document": b'{"a": ',
    "no UTF-8": b'{"a": "\xff"}',
    "nested a thousand times": b"[" * 1_000 + b"]" * 1_000,
    "nested a million times": b"[" * 1_000_000,
    "a key twice": b'{"a": 1, "a": 2}',
    "not a number": b'{"a": NaN}',
    "infinity": b'{"a": -Infinity}',
    "a number of a million digits": b'{"a": ' + b"9" * 1_000_000 + b"}",
    "two documents": b"{} {}",
    "a form": b"payload=%7B%7D",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_body_is_refused_by_its_field(name: str) -> None:
    with pytest.raises(InvalidInput, match=r"^body: "):
        read_inbound_body(HOSTILE[name], {})


def test_a_mark_before_a_body_is_no_part_of_it() -> None:
    assert read_inbound_body(b'\xef\xbb\xbf{"a": 1}', {}).document == {"a": 1}


@settings(max_examples=50)
@given(
    st.binary(max_size=40)
    | st.lists(st.none() | st.text(max_size=5), max_size=3).map(lambda each: json.dumps(each).encode())
)
def test_any_body_is_read_or_refused(body: bytes) -> None:
    try:
        parsed = read_inbound_body(body, {})
        apply_mapping(check_mapping({"thread_id": "{/0}", "text": "x", "idempotency_key": "{sha256}"}), parsed)
    except InvalidInput:
        pass
