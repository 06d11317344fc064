"""Ids: those that we make are told from all else that looks like one."""

import uuid
from enum import StrEnum

import pytest

from conversation.ids import is_our_id, new_id


class Named(StrEnum):
    """An id that somebody gave a name."""

    TURN = str(uuid.UUID(int=7))


def test_an_id_is_one_of_ours_and_so_is_any_uuid_in_its_usual_form() -> None:
    assert all(map(is_our_id, (new_id(), str(uuid.uuid4()), str(uuid.UUID(int=0)), str(uuid.UUID(int=2**128 - 1)))))
    assert is_our_id(Named.TURN)


@pytest.mark.parametrize(
    "change",
    [
        *(str.upper, str.title, "{{{}}}".format, "urn:uuid:{}".format, " {}".format, "{}\n".format, "{}0".format),
        *(lambda text: text.replace("-", ""), lambda text: text[:-1], lambda text: text.replace("a", "\uff41")),
        *(lambda text: text.replace("-", "_"), lambda text: text.replace("0", "\u0660"), str.encode, uuid.UUID),
        *(lambda text: text[:-3] + "_" + text[-2:], lambda text: text.replace("-", "", 1) + "-", lambda _: None),
    ],
)
def test_another_way_to_write_it_is_none(change: "object") -> None:
    assert callable(change)

    assert not is_our_id(change("0a1b2c3d-0a1b-7a1b-8a1b-0a1b2c3d0a1b"))
