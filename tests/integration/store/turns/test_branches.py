"""Branches on each database and both roads: history that is shared, turns on any branch, the choice between them."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import func, select

from conversation.attachment import Attachment
from conversation.branch_address import MAIN, new_branch_id
from conversation.errors import (
    BranchInUse,
    BranchNotFound,
    IdempotencyConflict,
    InvalidInput,
    MessageNotFound,
    ThreadNotFound,
)
from conversation.events import MessageDone, ThreadEvent, ThreadSwitched
from conversation.ids import new_id
from conversation.message import Message, ToolCall
from conversation.turn import ClaimedTurn, Completed
from store import tables
from store.branches.branch_turns import BranchTurn, branch_id_for, edit_message, regenerate
from store.branches.branches import Branch, choose_branch, compare_branches, list_branches, make_branch, rename_branch
from store.branches.delete_branch import delete_branch
from store.database.engine import Database
from store.files.blob_rows import confirm, reserve
from store.threads import repository
from store.threads.forks import fork
from store.threads.listing import ThreadFilter
from store.threads.thread_views import list_views, read_view
from store.threads.visible_threads import Viewer
from store.turns import inbox
from store.turns.event_rows import resume_thread_events
from store.turns.message_pages import list_messages
from store.turns.send_request import UNLIMITED, SendRequest
from tests.integration.store.turns.test_lifecycle import Store, answer

ADA = Viewer("default")


class Desk(Store):
    """The verbs of branches beside those of turns."""

    def ask(self, content: str, thread: str = "t", reply: str = "") -> ClaimedTurn:
        """Send a message, and answer it."""
        accepted = self.send(content, thread)
        return self.answer(accepted.address, reply or f"re: {content}")

    def answer(self, address: str, reply: str) -> ClaimedTurn:
        claimed = self.claim_turn(self.worker(), address)
        self.settle(claimed, answer(reply), release=True)
        return claimed

    def regenerate(self, thread: str = "t", **options: Any) -> BranchTurn:
        request = self.request(None, thread, **options)
        return self.database.run(regenerate, ADA, request, UNLIMITED, branch_id=branch_id_for(request))

    def edit(self, message_id: str, content: str, thread: str = "t", **options: Any) -> BranchTurn:
        request = self.request(content, thread, **options)
        return self.database.run(edit_message, ADA, request, UNLIMITED, message_id, branch_id=branch_id_for(request))

    def request(self, content: str | None, thread: str, **options: Any) -> SendRequest:
        message = None if content is None else Message(role="user", content=content)
        return SendRequest(
            turn_id=new_id(), tenant="default", thread_id=thread, message=message, agent="assistant", **options
        )

    def branch(self, thread: str = "t", *, at: int | str | None = None, name: str | None = None) -> Branch:
        return self.database.run(make_branch, ADA, thread, branch_id=new_branch_id(), at=at, name=name)

    def choose(self, branch: str, thread: str = "t") -> str | None:
        return self.database.run(choose_branch, ADA, thread, branch)[1]

    def delete(self, branch: str, thread: str = "t") -> None:
        self.database.run(delete_branch, ADA, thread, branch)

    def branches(self, thread: str = "t") -> list[Branch]:
        return self.database.run(list_branches, ADA, thread)

    def contents(self, thread: str = "t") -> list[str]:
        """What stands there, read as a whole and in pages from both ends."""
        loaded = self.database.run(repository.load, "default", thread)
        whole = [(message.seq, message.content) for message in loaded.messages]
        assert self.pages(thread, "asc") == whole
        assert self.pages(thread, "desc") == whole[::-1]
        return [content for _, content in whole]

    def pages(self, thread: str, order: Any) -> list[tuple[int | None, str]]:
        shown: list[tuple[int | None, str]] = []
        cursor = None
        while True:
            page = self.database.run(list_messages, ADA, thread, limit=2, cursor=cursor, order=order)
            shown += [(message.seq, message.content) for message in page.messages]
            if (cursor := page.next_cursor) is None:
                return shown

    def events(self, thread: str = "t", after: int = 0) -> list[ThreadEvent]:
        return list(self.database.run(resume_thread_events, "default", thread, after=after).events)

    def count(self, table: Any) -> int:
        with self.database.engine.begin() as connection:
            return int(connection.execute(select(func.count()).select_from(table)).scalar_one())


@pytest.fixture
def desk(any_database: Database) -> Desk:
    desk = Desk(any_database)
    desk.worker()
    return desk


def window(claimed: ClaimedTurn) -> list[str]:
    return [message.content for message in claimed.window]


def test_a_regenerated_answer_stands_on_a_branch_and_the_old_one_can_be_chosen_again(desk: Desk) -> None:
    desk.ask("1")
    desk.ask("2")

    again = desk.regenerate()
    claimed = desk.answer(again.accepted.address, "another")

    assert window(claimed) == ["1", "re: 1", "2"]
    assert desk.contents() == ["1", "re: 1", "2", "another"]
    first, second = desk.branches()
    assert (first.id, first.origin, first.is_chosen, first.parent) == (MAIN, None, False, None)
    assert (second.origin, second.is_chosen, second.parent, second.shared_to_seq) == ("regenerate", True, MAIN, 3)
    assert desk.choose(MAIN) == f"t/{second.id}"
    assert desk.contents() == ["1", "re: 1", "2", "re: 2"]
    assert desk.contents(f"t/{second.id}") == ["1", "re: 1", "2", "another"]
    desk.ask("3")
    assert desk.contents(f"t/{MAIN}") == ["1", "re: 1", "2", "re: 2", "3", "re: 3"]
    assert len(desk.contents(f"t/{second.id}")) == 4


def test_an_answer_is_asked_for_again_and_again_from_the_same_question(desk: Desk) -> None:
    desk.ask("1")

    for number in range(3):
        desk.answer(desk.regenerate().accepted.address, f"try {number}")

    assert [(each.parent, each.shared_to_seq) for each in desk.branches()[1:]] == [(MAIN, 1)] * 3
    assert desk.contents() == ["1", "try 2"]
    assert desk.count(tables.messages) == 5


def test_a_changed_message_is_answered_on_a_branch_from_before_it(desk: Desk) -> None:
    desk.ask("1")
    changed = desk.ask("2")
    desk.ask("3")

    edited = desk.edit(changed.window[-1].id, "two")
    assert window(desk.answer(edited.accepted.address, "ah")) == ["1", "re: 1", "two"]

    assert desk.contents() == ["1", "re: 1", "two", "ah"]
    assert len(desk.contents("t/main")) == 6


def test_the_first_message_can_be_changed_too(desk: Desk) -> None:
    first = desk.ask("1")

    edited = desk.edit(first.window[0].id, "one")
    desk.answer(edited.accepted.address, "ah")

    assert desk.contents() == ["one", "ah"]
    assert (desk.branches()[1].parent, desk.branches()[1].shared_to_seq) == (None, 0)


def test_a_changed_message_keeps_its_files(desk: Desk) -> None:
    file = Attachment(filename="a.txt", content=b"words")
    file.sha256, file.size, file.media_type, file.content = "a" * 64, 5, "text/plain", None
    desk.database.run(confirm, "default", desk.database.run(reserve, "default", [file]))
    desk.send(None, message=Message(role="user", content="look", attachments=[file]))
    claimed = desk.answer("t", "seen")

    edited = desk.edit(claimed.window[0].id, "look closely")
    again = desk.answer(edited.accepted.address, "seen well")
    third = desk.ask("and now?")

    assert [each.sha256 for each in again.window[0].attachments] == ["a" * 64]
    assert [each.sha256 for each in third.window[0].attachments] == ["a" * 64]
    shared = desk.branch(f"t/{MAIN}", at=1)
    (message,) = desk.database.run(repository.load, "default", f"t/{shared.id}").messages
    assert [each.sha256 for each in message.attachments] == ["a" * 64]


def test_branches_of_branches_read_each_part_where_it_stands(desk: Desk) -> None:
    address, expected = "t", []
    for depth in range(6):
        desk.ask(f"q{depth}", address)
        expected += [f"q{depth}", f"re: q{depth}"]
        desk.ask("left behind", address)
        branch = desk.branch(address, at=len(expected), name=f"depth {depth}")
        address = f"t/{branch.id}"

        assert desk.contents(address) == expected

    assert window(desk.ask("last", address)) == [*expected, "last"]
    assert [each.parent for each in desk.branches()][:3] == [None, MAIN, desk.branches()[1].id]
    assert desk.contents() == ["q0", "re: q0", "left behind", "re: left behind"]


def test_system_messages_of_what_is_shared_stay_in_every_window(desk: Desk) -> None:
    desk.send(None, message=Message(role="system", content="be kind"))
    desk.answer("t", "yes")
    for number in range(4):
        desk.ask(str(number))
    branch = desk.branch()
    desk.send("last", f"t/{branch.id}")
    claimant = desk.worker()
    claimant.max_messages["assistant"] = 2

    claimed = desk.claim_turn(claimant, f"t/{branch.id}")

    assert window(claimed)[0] == "be kind"
    assert window(claimed)[-1] == "last"
    assert len(claimed.window) < 6


def test_turns_on_two_branches_run_at_once_and_each_has_its_own_order(desk: Desk) -> None:
    desk.ask("1")
    branch = desk.branch()
    here, there = desk.send("here"), desk.send("there", f"t/{branch.id}")

    first, second = desk.claim_turn(desk.worker(), here.address), desk.claim_turn(desk.worker(), there.address)
    desk.settle(second, answer("b"), release=True)
    desk.settle(first, answer("a"), release=True)

    assert desk.contents() == ["1", "re: 1", "here", "a"]
    assert desk.contents(f"t/{branch.id}") == ["1", "re: 1", "there", "b"]


def test_a_message_goes_to_the_branch_that_is_chosen_or_to_the_one_that_is_named(desk: Desk) -> None:
    desk.ask("1")
    branch = desk.branch(name="other")
    desk.choose(branch.id)

    assert desk.send("2").address == f"t/{branch.id}"
    assert desk.send("3", f"t/{MAIN}").address == "t"
    assert desk.send("4", f"t/{branch.id}").address == f"t/{branch.id}"
    with pytest.raises(BranchNotFound, match="no branch 'none'"):
        desk.send("5", "t/none")
    with pytest.raises(BranchNotFound):
        desk.send("5", "new/none")
    with pytest.raises(ThreadNotFound):
        desk.contents("new")


def test_choosing_twice_changes_nothing_more(desk: Desk) -> None:
    desk.ask("1")
    branch = desk.branch()

    assert (desk.choose(branch.id), desk.choose(branch.id)) == ("t", None)
    with pytest.raises(BranchNotFound):
        desk.choose("none")


def test_a_branch_on_which_a_worker_answers_is_chosen_when_that_is_over(desk: Desk) -> None:
    desk.ask("1")
    branch = desk.branch()
    desk.send("2", f"t/{branch.id}")
    worker = desk.worker()
    claimed = desk.claim_turn(worker, f"t/{branch.id}")

    with pytest.raises(BranchInUse, match="answers a message"):
        desk.choose(branch.id)
    with pytest.raises(BranchInUse, match="is not over"):
        desk.regenerate(f"t/{branch.id}")
    desk.kill(worker)
    assert desk.choose(branch.id) == "t"

    taken_over = desk.claim_turn(desk.worker(), f"t/{branch.id}")
    assert (taken_over.id, taken_over.lease.fencing_token > claimed.lease.fencing_token) == (claimed.id, True)
    desk.settle(taken_over, answer("two"), release=True)
    assert desk.contents() == ["1", "re: 1", "2", "two"]


def test_the_same_request_twice_is_one_branch(desk: Desk) -> None:
    desk.ask("1")
    options = {"idempotency_key": "k"}

    once, twice = desk.regenerate(**options), desk.regenerate(**options)
    desk.answer(once.accepted.address, "b")
    thrice = desk.regenerate(**options)

    assert {each.accepted.turn_id for each in (once, twice, thrice)} == {once.accepted.turn_id}
    assert [each.accepted.is_new for each in (once, twice, thrice)] == [True, False, False]
    assert len(desk.branches()) == 2
    with pytest.raises(IdempotencyConflict):
        desk.regenerate(idempotency_key="k", metadata={"other": 1})


def test_the_same_request_is_known_again_whoever_wrote_to_its_branch_since(desk: Desk) -> None:
    desk.ask("1")
    once = desk.regenerate(idempotency_key="k")
    desk.send("2", once.accepted.address, agent="clerk", allow_unknown_agent=True)
    # Its row is written anew, behind that of the other turn.
    desk.answer(once.accepted.address, "b")

    again = desk.regenerate(idempotency_key="k")

    assert (again.accepted.turn_id, again.accepted.is_new) == (once.accepted.turn_id, False)


def test_what_cannot_be_answered_again_or_changed_is_refused(desk: Desk) -> None:
    desk.send("1")
    with pytest.raises(BranchInUse):
        desk.regenerate()
    claimed = desk.claim_turn(desk.worker())
    calls = (ToolCall("c", "look", "{}"),)
    replies = (
        Message(role="assistant", tool_calls=calls),
        Message(role="tool", tool_call_id="c", content="x"),
        Message(role="assistant", content="done"),
    )
    desk.settle(claimed, Completed(messages=replies), release=True)

    with pytest.raises(MessageNotFound, match=r"^message_id:"):
        desk.edit("none", "x")
    with pytest.raises(InvalidInput, match="role 'assistant'"):
        desk.edit(replies[0].id, "x")
    with pytest.raises(InvalidInput, match="parts a tool call"):
        desk.branch(at=replies[0].id)
    with pytest.raises(MessageNotFound, match=r"^at:"):
        desk.branch(at="none")
    assert desk.branch(at=replies[1].id).shared_to_seq == 3
    desk.database.run(repository.ensure_thread, "default", "empty")
    with pytest.raises(MessageNotFound, match="nothing was asked"):
        desk.regenerate("empty")


def test_title_metadata_and_owner_are_the_same_on_all_branches(desk: Desk) -> None:
    desk.send("1", user="ada")
    desk.answer("t", "a")
    branch = desk.branch()
    copy = desk.database.run(repository.load, "default", f"t/{branch.id}")
    copy.title, copy.metadata["a"] = "new", 1
    desk.database.run(repository.save, copy, new=[])

    loaded = desk.database.run(repository.load, "default", "t")
    views = desk.database.run(list_views, ThreadFilter(user="ada"), limit=10)

    assert (loaded.title, loaded.metadata["a"], loaded.user, loaded.branch) == ("new", 1, "ada", MAIN)
    assert [(view.id, view.title) for view in views] == [("t", "new")]


def test_a_working_copy_is_saved_to_the_branch_that_it_was_loaded_from(desk: Desk) -> None:
    desk.ask("1")
    copy = desk.database.run(repository.load, "default", "t")
    desk.choose(desk.branch().id)

    copy.add_message(Message(role="user", content="late"))
    desk.database.run(repository.save, copy, new=copy.new_messages)

    assert desk.contents() == ["1", "re: 1"]
    assert desk.contents(f"t/{MAIN}") == ["1", "re: 1", "late"]


def test_a_message_that_is_shared_is_not_stored_again(desk: Desk) -> None:
    desk.ask("1")
    branch = desk.branch()
    copy = desk.database.run(repository.load, "default", f"t/{branch.id}")

    repeated = [replace(message, seq=None) for message in copy.messages]
    outcome = desk.database.run(repository.save, copy, new=[*repeated, Message(role="user", content="new")])

    assert sorted(outcome.seqs.values()) == [1, 2, 3]
    assert desk.contents(f"t/{branch.id}") == ["1", "re: 1", "new"]


def test_branches_are_named_and_compared_behind_what_they_share(desk: Desk) -> None:
    desk.ask("1")
    branch = desk.branch(name="plan b")
    desk.ask("here")
    desk.ask("there", f"t/{branch.id}")

    comparison = desk.database.run(compare_branches, ADA, "t", MAIN, branch.id)

    assert comparison.shared_to_seq == 2
    assert [each.content for each in comparison.ours] == ["here", "re: here"]
    assert [each.content for each in comparison.theirs] == ["there", "re: there"]
    renamed = desk.database.run(rename_branch, ADA, "t", branch.id, "plan c")
    assert (branch.name, renamed.name) == ("plan b", "plan c")
    assert desk.database.run(rename_branch, ADA, "t", branch.id, None).name is None


def test_a_deleted_branch_leaves_what_others_share_of_it(desk: Desk) -> None:
    desk.ask("1")
    middle = desk.branch(name="middle")
    desk.ask("shared", f"t/{middle.id}")
    last = desk.branch(f"t/{middle.id}")
    desk.ask("gone", f"t/{middle.id}")

    desk.delete(middle.id)

    assert [each.id for each in desk.branches()] == [MAIN, last.id]
    assert desk.contents(f"t/{last.id}") == ["1", "re: 1", "shared", "re: shared"]
    with pytest.raises(BranchNotFound):
        desk.contents(f"t/{middle.id}")
    assert desk.count(tables.messages) == 4
    desk.delete(last.id)
    assert [each.id for each in desk.branches()] == [MAIN]


def test_a_branch_that_is_needed_is_not_deleted(desk: Desk) -> None:
    desk.ask("1")
    branch, busy = desk.branch(), desk.branch()
    desk.choose(branch.id)
    desk.send("2", f"t/{busy.id}")

    with pytest.raises(BranchInUse, match="is chosen"):
        desk.delete(branch.id)
    with pytest.raises(BranchInUse, match="is not over"):
        desk.delete(busy.id)
    with pytest.raises(InvalidInput, match="first one"):
        desk.delete(MAIN)
    with pytest.raises(BranchNotFound):
        desk.delete("none")
    assert len(desk.branches()) == 3


def test_a_fork_of_a_branch_is_a_thread_of_its_own(desk: Desk) -> None:
    desk.ask("1")
    branch = desk.branch()
    desk.ask("there", f"t/{branch.id}")
    desk.choose(branch.id)

    copy = desk.database.run(fork, "default", "t", "copy")
    desk.ask("on", "copy")

    assert [each.content for each in copy.messages] == ["1", "re: 1", "there", "re: there"]
    assert desk.contents("copy") == ["1", "re: 1", "there", "re: there", "on", "re: on"]
    assert [each.id for each in desk.branches("copy")] == [MAIN]
    assert len(desk.branches()) == 2


def test_another_answer_is_to_the_last_question_though_a_turn_without_one_came_after_it(desk: Desk) -> None:
    desk.ask("1")
    desk.ask("2")
    # As a turn that only takes up a call.
    taken_up = desk.database.run(inbox.accept, desk.request(None, "t"), UNLIMITED)
    desk.answer(taken_up.address, "done")

    claimed = desk.answer(desk.regenerate().accepted.address, "another")
    once_more = desk.answer(desk.regenerate().accepted.address, "a third one")

    assert window(claimed) == window(once_more) == ["1", "re: 1", "2"]


def test_viewers_hear_of_a_switch_behind_all_that_they_saw(desk: Desk) -> None:
    desk.ask("1")
    seen = desk.events()
    again = desk.regenerate()
    desk.answer(again.accepted.address, "b")

    behind = desk.events(after=seen[-1].number or 0)
    whole = desk.events()

    switch = behind[0]
    assert isinstance(switch, ThreadSwitched)
    assert (switch.thread_id, switch.shared_to_seq, f"t/{switch.branch}") == ("t", 1, again.accepted.address)
    assert [e.message.content for e in behind if isinstance(e, MessageDone)] == ["b"]
    assert [e.message.content for e in whole if isinstance(e, MessageDone)] == ["1", "b"]
    numbers = [event.number or 0 for event in whole]
    assert numbers == sorted(set(numbers))
    page = desk.database.run(list_messages, ADA, "t", limit=9)
    told = [event.number or 0 for event in whole if isinstance(event, MessageDone)]
    # Whoever has read the page goes on behind the switch.
    assert [page.numbers[each.id] for each in page.messages] == [max(number, switch.number) for number in told]
    assert read_last_event(desk) == numbers[-1]


def test_after_a_switch_back_nothing_is_told_twice(desk: Desk) -> None:
    desk.ask("1")
    desk.answer(desk.regenerate().accepted.address, "b")
    seen = desk.events()[-1].number or 0
    desk.choose(MAIN)
    desk.database.run(
        repository.save,
        desk.database.run(repository.load, "default", "t"),
        new=[Message(role="user", content="pushed")],
    )
    desk.ask("2")

    events = desk.events(after=seen)

    assert isinstance(events[0], ThreadSwitched)
    assert events[0].branch == MAIN
    assert [e.message.content for e in events if isinstance(e, MessageDone)] == ["pushed", "2", "re: 2"]
    assert desk.events(after=events[1].number or 0)[0].number == (events[2].number or 0)
    assert read_last_event(desk) == events[-1].number


def read_last_event(desk: Desk) -> int:
    (listed,) = desk.database.run(list_views, ThreadFilter(), limit=9)
    view = desk.database.run(read_view, ADA, "t")
    assert listed == view
    return view.last_event_id


@pytest.mark.parametrize("verb", ["regenerate", "choose"])
def test_of_two_at_once_one_is_chosen_and_both_are_there(desk: Desk, verb: str) -> None:
    desk.ask("1")
    made = [desk.branch(), desk.branch()]

    def run(number: int) -> object:
        return desk.regenerate() if verb == "regenerate" else desk.choose(made[number].id)

    with ThreadPoolExecutor(2) as pool:
        outcomes = list(pool.map(lambda number: attempt(run, number), range(2)))

    branches = desk.branches()
    assert [each.is_chosen for each in branches].count(True) == 1
    assert len(branches) == 3 + sum(isinstance(each, BranchTurn) for each in outcomes)


def attempt(run: Any, number: int) -> object:
    try:
        return run(number)
    except BranchInUse as error:
        # The other one was first, and its turn waits on the branch that is chosen now.
        return error
