"""What branches and forks share: it stays as long as one of them shows it, and goes with the last."""

import io
import json
import zipfile
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest
from sqlalchemy import select, update

from conversation.errors import ThreadUnderLegalHold
from store import tables
from store.doctor import Examination, Scope
from store.erasure.certificate import digest_of
from store.erasure.export import UserExport
from store.erasure.subject import Subject
from store.erasure.workflow import run_erasure
from store.lineage import Lineage, select_range
from store.retention import delete_thread, deletion, legal_holds, sharing
from store.retention.restore import list_archived_threads
from store.retention.sharing import Range
from store.tables.retention import pending_deletions
from store.thread_store import ThreadStore
from store.threads import forks, importer
from store.threads.branching import check_share, insert_sharing
from store.threads.search import search_messages
from tests.integration.store.retention.test_doctor_agrees import findings
from tests.integration.store.retention.test_killed import check_no_orphans
from tests.integration.store.scenes import TURN, Scene

#: Tables of threads and of what hangs on them.
OF_THREADS = (
    *("threads", "messages", "turns", "steps", "attachments"),
    *("summaries", "thread_context", "pending_deletions"),
)


def fork(scene: Scene, thread: str, new: str, at: int | None = None) -> None:
    scene.database.run(forks.fork, tenant="default", thread_id=thread, new_id=new, at=at)


def branch(scene: Scene, thread: str, name: str, at: int) -> str:
    """A branch of a thread from its first one; returns the id of its row."""
    first = scene.row(thread)
    values: dict[str, Any] = {"root_key": first.root_key or first.key, "branch_origin": "branch"}
    row_id = f"{thread.partition('/')[0]}/{name}"
    assert scene.database.run(lambda c: insert_sharing(c, first, row_id, check_share(c, first, at), **values))
    return row_id


def shown(scene: Scene, row_id: str) -> list[str]:
    """The contents that a row shows, read with nothing but its lineage and its cutoff."""
    row = scene.row(row_id)
    columns = [tables.messages.c.seq, tables.messages.c.content]
    statement = select_range(Lineage.of(row), columns, after_seq=row.history_starts_after)
    return [each.content for each in scene.database.run(lambda c: c.execute(statement).all())]


def delete(scene: Scene, thread: str) -> None:
    assert scene.database.run(delete_thread.delete_thread, tenant="default", thread_id=thread)


def delete_branch(scene: Scene, row_id: str) -> None:
    row = scene.row(row_id)
    scene.database.run(lambda c: delete_thread.delete_rows(c, [row], with_thread=False))


def left(scene: Scene) -> dict[str, int]:
    return {name: count for name in OF_THREADS if (count := scene.count(name))}


def test_a_fork_keeps_what_retention_deletes_in_its_source(scene: Scene) -> None:
    scene.answered("t", 5, file=b"of t")
    fork(scene, "t", "f", at=3 * TURN)
    before = shown(scene, "f")
    scene.policy(tenant="default", thread_id="t", max_messages=TURN)

    scene.run()

    assert shown(scene, "f") == scene.contents("f") == before
    assert len(scene.contents("t")) == TURN
    # What nobody shows is gone: the fourth turn.
    assert scene.seqs("t") == [*range(1, 3 * TURN + 1), *range(4 * TURN + 1, 5 * TURN + 1)]
    assert scene.count("turns") == 4
    check_no_orphans(scene)


@pytest.mark.soak
def test_what_a_fork_kept_goes_with_it(scene: Scene) -> None:
    scene.answered("t", 5, file=b"of t")
    fork(scene, "t", "f", at=3 * TURN)
    scene.policy(tenant="default", thread_id="t", max_messages=TURN)
    scene.run()

    delete(scene, "f")
    scene.run()

    assert scene.seqs("t") == list(range(4 * TURN + 1, 5 * TURN + 1))
    assert left(scene) == {"threads": 1, "messages": TURN, "turns": 1, "steps": 1, "attachments": 1}
    deleted = sum(row.details["counts"]["messages"] for row in scene.audited("retention.messages_deleted"))
    assert deleted == 4 * TURN


@pytest.mark.soak
def test_what_a_fork_keeps_is_less_when_its_own_cutoff_moves(scene: Scene) -> None:
    scene.answered("t", 5)
    fork(scene, "t", "f", at=4 * TURN)
    scene.policy(tenant="default", thread_id="t", max_messages=TURN)
    scene.policy(tenant="default", thread_id="f", max_messages=2 * TURN)

    scene.run()
    scene.run()

    assert scene.contents("f")[0] == "question 3"
    assert scene.seqs("t") == list(range(2 * TURN + 1, 5 * TURN + 1))
    assert scene.count("turns") == 3


def test_a_deleted_thread_leaves_what_its_forks_show_and_its_id(scene: Scene) -> None:
    scene.answered("t", 1, file=b"of t", idempotency_key="k1", metadata={"from": "t"})
    scene.answered("t", 2)
    fork(scene, "t", "f", at=2 * TURN)
    before = shown(scene, "f")

    delete(scene, "t")

    assert scene.row("t") is None
    assert shown(scene, "f") == scene.contents("f") == before
    files = [file.sha256 for message in scene.thread("f").messages for file in message.attachments]
    assert all(scene.files.get("default", str(sha256)) for sha256 in files)
    assert scene.count("messages") == 2 * TURN
    # A new thread of that name has nothing of the old one; a request of that key is a new one.
    scene.answered("t", 1, idempotency_key="k1")
    assert len(scene.contents("t")) == TURN
    for thread in ("t", "f"):
        delete(scene, thread)
    scene.run()
    assert left(scene) == {}


@pytest.mark.soak
def test_a_fork_of_a_fork_outlives_both(scene: Scene) -> None:
    scene.answered("t", 3)
    fork(scene, "t", "f", at=2 * TURN)
    scene.answered("f", 2)
    fork(scene, "f", "g", at=3 * TURN)
    scene.answered("g", 1)
    before = shown(scene, "g")

    for thread in ("f", "t"):
        delete(scene, thread)
        scene.run()
        assert shown(scene, "g") == scene.contents("g") == before
    assert scene.count("messages") == 4 * TURN

    delete(scene, "g")
    scene.run()
    assert left(scene) == {}


@pytest.mark.soak
def test_what_a_deletion_frees_further_up_goes_in_the_same_run(scene: Scene) -> None:
    """Though it is found behind a deletion that was opened long ago, and has to wait."""
    scene.answered("busy", 1)
    scene.send("and now?", "busy")
    scene.answered("a", 3)
    fork(scene, "a", "b", at=2 * TURN)
    scene.answered("b", 2)
    fork(scene, "b", "c", at=3 * TURN)
    scene.answered("c", 2)
    for thread in "ab":
        scene.policy(tenant="default", thread_id=thread, max_messages=TURN)
    scene.run()
    scene.database.run(sharing.open_deletion, scene.row("busy"))
    scene.policy(tenant="default", thread_id="c", max_messages=TURN)

    scene.run()

    assert [len(scene.seqs(thread)) for thread in "abc"] == [TURN] * 3


@pytest.mark.soak
def test_a_thread_goes_with_all_its_branches_and_not_before_one_of_them(scene: Scene) -> None:
    scene.answered("t", 3)
    branch(scene, "t", "a", TURN)
    branch(scene, "t/a", "b", TURN)
    scene.policy(tenant="default", idle_days=30)
    scene.age(40, "t")
    scene.age(40, "t/b")

    scene.run()

    # Somebody used one of its branches.
    assert scene.count("threads") == 3
    scene.age(40, "t/a")
    scene.run()
    scene.run()
    assert left(scene) == {}
    counted = [row.details["counts"] for row in scene.audited("retention.thread_deleted")]
    assert sorted(name for counts in counted for name in counts if name in ("threads", "branches")) == [
        "branches", "branches", "threads"
    ]  # fmt: skip


@pytest.mark.soak
def test_a_branch_is_deleted_alone_and_the_first_one_as_well(scene: Scene) -> None:
    scene.answered("t", 3)
    first = branch(scene, "t", "a", 2 * TURN)
    second = branch(scene, first, "b", TURN)
    before = shown(scene, second)

    delete_branch(scene, first)
    delete_branch(scene, "t")

    assert shown(scene, second) == before
    assert scene.row("t").chosen_key == scene.row(second).key
    assert scene.row(first) is None
    assert scene.count("messages") == TURN
    delete(scene, "t")
    assert left(scene) == {}


@pytest.mark.soak
def test_a_hold_is_on_all_branches_and_brings_back_what_they_share(scene: Scene) -> None:
    scene.answered("t", 4)
    row_id = branch(scene, "t", "a", 3 * TURN)
    before = shown(scene, row_id)
    scene.policy(tenant="default", max_messages=TURN)
    for thread in ("t", row_id):
        assert scene.cut(thread) == "cut"
    scene.database.run(deletion.remove_next_batch, key=scene.key("t"))

    scene.database.run(legal_holds.hold, tenant="default", thread_id="t")

    assert shown(scene, row_id) == before
    with pytest.raises(ThreadUnderLegalHold):
        delete(scene, "t")
    with pytest.raises(ThreadUnderLegalHold):
        run_erasure(scene.database, scene.files, Subject(tenant="default", thread_id="t"))
    scene.database.run(legal_holds.release, tenant="default", thread_id="t")
    scene.run()
    scene.run()
    assert [len(shown(scene, each)) for each in ("t", row_id)] == [TURN, TURN]
    assert scene.count("messages") == 2 * TURN


@pytest.mark.soak
def test_an_archive_has_all_that_a_fork_showed(scene: Scene) -> None:
    scene.answered("t", 3)
    fork(scene, "t", "f", at=2 * TURN)
    scene.answered("f", 1)
    scene.age(40, "f", moves_thread=False)
    scene.change("f", updated_at=scene.row("t").created_at.replace(year=2020))
    scene.policy(tenant="default", thread_id="f", idle_days=30, archive=True)

    scene.run()

    (archived,) = scene.database.run(list_archived_threads, tenant="default", thread_id="f")
    assert (archived.messages, scene.row("f")) == (3 * TURN, None)
    assert len(scene.contents("t")) == 3 * TURN


@pytest.mark.soak
async def test_a_thread_comes_back_out_of_its_archive_while_a_fork_shows_its_turns(scene: Scene) -> None:
    scene.answered("t", 3)
    fork(scene, "t", "f", at=2 * TURN)
    branch(scene, "t", "a", TURN)
    before = {row_id: shown(scene, row_id) for row_id in ("t", "f", "t/a")}
    scene.policy(tenant="default", thread_id="t", idle_days=30, archive=True)
    for row_id in ("t", "t/a"):
        scene.age(40, row_id)
    scene.run()
    assert scene.row("t") is scene.row("t/a") is None
    store = ThreadStore(scene.settings)

    for number, row_id in enumerate(("t", "t/a"), start=1):
        outcome = await store.restore_archive("t", nth=number)
        assert (outcome.messages, shown(scene, "t")) == (len(before[row_id]), before[row_id])
        delete(scene, "t")
    await store.close()

    assert shown(scene, "f") == before["f"]
    assert findings(scene) == []


@pytest.mark.soak
def test_an_export_of_a_user_has_their_branches_and_the_files_that_these_share(scene: Scene) -> None:
    scene.answered("t", 2, file=b"of t")
    scene.change("t", owner="ann")
    fork(scene, "t", "f", at=TURN)
    row_id = branch(scene, "f", "a", TURN)
    scene.change("f", chosen_key=scene.row(row_id).key)
    scene.answered("f/a", 1)
    delete(scene, "t")
    target = io.BytesIO()

    outcome = UserExport(scene.database, scene.files, Subject(tenant="default", user="ann")).write(target)

    with zipfile.ZipFile(target) as archive:
        lines = {
            name: [json.loads(line) for line in archive.read(name).decode().splitlines()]
            for name in archive.namelist()
            if name.endswith(".jsonl")
        }
        assert archive.read(f"files/{lines['files.jsonl'][0]['sha256']}") == b"of t"
    assert outcome.threads == 2
    for number, branch_id, messages in ((1, None, TURN), (2, "a", 2 * TURN)):
        header, *others = lines[f"threads/{number:04}.jsonl"]
        assert (header["thread"]["id"], header["thread"].get("branch")) == ("f", branch_id)
        assert sum(line["kind"] == "message" for line in others) == messages
    # A user's own export imports as a thread of its own.
    text = [json.dumps(line) for line in lines["threads/0002.jsonl"]]
    scene.database.run(importer.import_thread, lines=text, thread_id="again")
    assert shown(scene, "again") == shown(scene, "f/a")


@pytest.mark.soak
def test_an_erasure_of_a_thread_takes_its_branches_and_leaves_forks_whole(scene: Scene) -> None:
    scene.answered("t", 3, file=b"of t")
    branch(scene, "t", "a", TURN)
    fork(scene, "t", "f", at=TURN)
    before = shown(scene, "f")

    certificate = run_erasure(scene.database, scene.files, Subject(tenant="default", thread_id="t"))

    counts = certificate["counts"]
    assert (counts["threads"], counts["branches"], counts["messages"]) == (1, 1, 2 * TURN)
    assert shown(scene, "f") == scene.contents("f") == before
    assert certificate["digest"] == digest_of(certificate)
    assert scene.row("t") is scene.row("t/a") is None


@pytest.mark.timeout(60)
@pytest.mark.parametrize("subject", [{"thread_id": "t"}, {"user": "ann"}], ids=["thread", "user"])
def test_an_erasure_comes_to_its_end_though_a_fork_shares_what_a_branch_said(
    scene: Scene, subject: dict[str, str]
) -> None:
    scene.answered("t", 2)
    scene.change("t", owner="ann")
    scene.answered(branch(scene, "t", "a", TURN), 1)
    fork(scene, "t/a", "f")
    scene.change("f", owner="bob")
    before = shown(scene, "f")

    run_erasure(scene.database, scene.files, Subject(tenant="default", **subject))

    assert shown(scene, "f") == scene.contents("f") == before
    assert scene.row("t") is scene.row("t/a") is None
    assert left(scene) == {"threads": 3, "messages": 2 * TURN, "turns": 2, "steps": 2}
    # What is left of both goes with the fork.
    run_erasure(scene.database, scene.files, Subject(tenant="default", user="bob"))
    assert left(scene) == {}


def test_an_erasure_of_a_user_takes_what_their_deleted_threads_left(scene: Scene) -> None:
    scene.answered("t", 3, file=b"of t")
    scene.change("t", owner="ann")
    branch(scene, "t", "a", TURN)
    fork(scene, "t", "f", at=2 * TURN)
    fork(scene, "t", "bobs", at=TURN)
    scene.change("bobs", owner="bob")
    before = shown(scene, "bobs")
    delete(scene, "t")

    run_erasure(scene.database, scene.files, Subject(tenant="default", user="ann"))

    assert shown(scene, "bobs") == scene.contents("bobs") == before
    assert scene.count("messages") == TURN
    run_erasure(scene.database, scene.files, Subject(tenant="default", user="bob"))
    assert left(scene) == {}
    assert list(scene.files.list("default")) == []


@pytest.mark.soak
def test_the_doctor_finds_what_was_left_for_nobody_and_a_choice_that_is_none(scene: Scene) -> None:
    scene.answered("t", 3)
    fork(scene, "t", "f", at=TURN)
    row_id = branch(scene, "t", "a", TURN)
    scene.change("t", chosen_key=scene.row(row_id).key)
    scene.change(row_id, deleted_at=scene.row("t").created_at, history_starts_after=TURN)
    assert sorted(finding.partition(":")[0] for finding in findings(scene)) == [
        "chosen-branch-missing", "shared-history-left"
    ]  # fmt: skip

    scope = Scope(older_than_seconds=600, unclaimed_seconds=3600, upload_seconds=600)
    list(Examination(database=scene.database, files=scene.files, scope=scope, repairs=True).run())
    scene.run()

    assert findings(scene) == []
    assert (scene.row(row_id), scene.row("t").chosen_key) == (None, None)
    assert len(shown(scene, "f")) == TURN


def found(scene: Scene, words: str, **scope: Any) -> list[tuple[str, str]]:
    hits = scene.database.run(search_messages, query=words, **scope)
    return sorted((hit.thread_id, hit.branch) for hit in hits)


def test_a_search_finds_what_is_shared_once_and_where_it_is_shown(scene: Scene) -> None:
    scene.answered("t", 2)
    branch(scene, "t", "a", TURN)
    scene.send("question of a", "t/a")
    scene.claim("t/a")
    fork(scene, "t", "f", at=TURN)
    scene.change("f", owner="ann")
    assert found(scene, '"question 1"') == [("t", "main")]
    assert found(scene, "question") == [("t", "a"), ("t", "main"), ("t", "main")]
    assert found(scene, "question", user="ann") == [("f", "main")]

    scene.policy(tenant="default", thread_id="t", max_messages=TURN)
    scene.cut()
    assert found(scene, '"question 1"') == [("t", "a")]
    scene.database.run(
        lambda c: c.execute(update(tables.turns).values(state="cancelled", finished_at=tables.turns.c.created_at))
    )
    delete(scene, "t")

    assert found(scene, "question") == found(scene, "question", user="ann") == [("f", "main")]


@pytest.mark.parametrize(
    ("ranges", "merged"),
    [
        ([], []),
        ([(3, 3), (5, 4)], []),
        ([(0, 4), (2, 6), (8, 9)], [(0, 6), (8, 9)]),
        ([(4, 6), (0, 4)], [(0, 6)]),
        ([(0, 9), (2, 3)], [(0, 9)]),
    ],
)
def test_ranges_that_overlap_or_meet_are_one(ranges: list[tuple[int, int]], merged: list[tuple[int, int]]) -> None:
    assert sharing.merge([Range(*each) for each in ranges]) == [Range(*each) for each in merged]


class Tree:
    """Threads, branches and forks at random, and what each must show."""

    def __init__(self, scene: Scene, seed: int) -> None:
        self.scene, self.random = scene, Random(seed)
        self.expected: dict[str, list[str]] = {}
        self.count = 0

    def step(self) -> None:
        moves = [self.answer, self.fork, self.branch, self.delete, self.cut, self.run, self.erase, self.batch]
        move = self.random.choices(moves, weights=[3, 3, 3, 2, 3, 2, 1, 2])[0] if self.expected else self.answer
        move()
        self.check()

    def pick(self) -> str:
        return self.random.choice(sorted(self.expected))

    def name(self) -> str:
        self.count += 1
        return f"n{self.count}"

    def answer(self) -> None:
        is_new = not self.expected or self.random.random() < 0.2
        row_id = self.name() if is_new else self.pick()
        if self.is_hidden(row_id):
            return
        self.scene.answered(row_id, 1)
        self.expected[row_id] = shown(self.scene, row_id)

    def is_hidden(self, row_id: str) -> bool:
        """Whether the row is being deleted whole."""
        whole = select(pending_deletions.c.thread_key).join_from(pending_deletions, tables.threads)
        whole = whole.where(tables.threads.c.id == row_id, pending_deletions.c.whole)
        return self.scene.database.run(lambda c: c.execute(whole).first()) is not None

    def place(self, row_id: str) -> tuple[int, list[str]]:
        """A turn's end in the history, and what a branch from there shows."""
        row, contents = self.scene.row(row_id), self.expected[row_id]
        turns = self.random.randint(0, len(contents) // TURN)
        return row.history_starts_after + turns * TURN, contents[: turns * TURN]

    def fork(self) -> None:
        source, new = self.pick(), self.name()
        at, contents = self.place(source)
        fork(self.scene, source, new, at)
        self.expected[new] = contents

    def branch(self) -> None:
        source, name = self.pick(), self.name()
        at, contents = self.place(source)
        self.expected[branch(self.scene, source, name, at)] = contents

    def rows_of(self, thread: str) -> Iterator[str]:
        return (row_id for row_id in list(self.expected) if row_id.partition("/")[0] == thread)

    def delete(self) -> None:
        thread = self.pick().partition("/")[0]
        delete(self.scene, thread)
        for row_id in self.rows_of(thread):
            del self.expected[row_id]

    def erase(self) -> None:
        thread = self.pick().partition("/")[0]
        run_erasure(self.scene.database, self.scene.files, Subject(tenant="default", thread_id=thread))
        for row_id in self.rows_of(thread):
            del self.expected[row_id]

    def cut(self) -> None:
        row_id = self.pick()
        self.scene.change(row_id, agent="cut")
        if self.scene.cut(row_id) == "cut":
            self.expected[row_id] = self.expected[row_id][-2 * TURN :]
        self.scene.change(row_id, agent="a")

    def batch(self) -> None:
        self.scene.database.run(deletion.remove_next_batch, key=self.scene.key(self.pick()))

    def run(self) -> None:
        self.scene.run()

    def check(self) -> None:
        assert findings(self.scene) == []
        for row_id, contents in self.expected.items():
            assert shown(self.scene, row_id) == contents, row_id

    def end(self) -> None:
        for thread in sorted({row_id.partition("/")[0] for row_id in self.expected}):
            delete(self.scene, thread)
        # Each run comes to what the one before has freed.
        for _ in range(10):
            self.scene.run()
        assert left(self.scene) == {}
        assert findings(self.scene) == []


@pytest.mark.soak
@pytest.mark.parametrize("seed", [*range(2), *(pytest.param(n, marks=pytest.mark.endurance) for n in range(2, 40))])
def test_whatever_is_deleted_each_shows_what_it_showed_and_nothing_is_left(scene: Scene, seed: int) -> None:
    scene.policy(tenant="default", agent="cut", max_messages=2 * TURN)
    tree = Tree(scene, seed)

    for _ in range(40):
        tree.step()

    tree.end()
