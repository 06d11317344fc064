"""Nothing in a document goes missing in silence: each place of each format is shown, or named as left out."""

import pytest

from agent.files.prepare import prepare_file
from tests.marked_files import MarkedFile, build_all, mark_of

FILES = build_all()


@pytest.mark.parametrize("file", FILES.values(), ids=FILES)
async def test_every_place_of_a_file_is_shown_or_named(file: MarkedFile) -> None:
    prepared = await prepare_file(file.content, file.media_type)

    text = (prepared.text or "").lower()
    shown = [place for place in file.places if mark_of(place) in text]
    assert shown == [place for place, kind in file.places.items() if not kind]
    kinds = {kind for kind in file.places.values() if kind}
    assert kinds <= set(prepared.left_out)
    assert all(kind in str(prepared.note) for kind in kinds)
