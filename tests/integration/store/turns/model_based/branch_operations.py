"""Verbs of branches, said twice: as the store's functions, and as the model's."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select

from store.branches import branch_turns, branches
from store.branches.delete_branch import delete_branch
from store.retention import deletion
from store.retention.delete_thread import delete_thread
from store.tables.retention import pending_deletions
from store.threads import export as exports
from store.threads import forks, importer, repository
from store.threads.visible_threads import Viewer
from store.turns import records
from store.turns.send_request import UNLIMITED
from tests.integration.store.turns.model_based import branch_deletion as deleting
from tests.integration.store.turns.model_based import branches as model
from tests.integration.store.turns.model_based.operations import TENANT, request_of
from tests.integration.store.turns.model_based.reference import Mailbox
from tests.integration.store.turns.model_based.values import Ask

VIEWER = Viewer(TENANT)


@dataclass(frozen=True)
class Branch:
    """Make a branch behind a seq, a message, or the end."""

    address: str
    branch: str
    at: int | str | None = None
    title: str | None = None

    def on_store(self, connection: Connection) -> Any:
        made = branches.make_branch(
            connection, VIEWER, self.address, branch_id=self.branch, at=self.at, name=self.title
        )
        return made.id

    def on_model(self, mailbox: Mailbox, position: int) -> Any:
        model.make(mailbox, self.address, self.branch, self.at, self.title)
        return self.branch


@dataclass(frozen=True)
class Fork:
    address: str
    thread: str
    at: int | None = None

    def on_store(self, connection: Connection) -> Any:
        return forks.fork_visible_thread(connection, VIEWER, self.address, self.thread, at=self.at) is not None

    def on_model(self, mailbox: Mailbox, position: int) -> Any:
        return model.fork(mailbox, self.address, self.thread, self.at)


@dataclass(frozen=True)
class Regenerate:
    """Have the last question answered again."""

    ask: Ask
    branch: str

    def on_store(self, connection: Connection) -> Any:
        request = request_of(self.ask)
        made = branch_turns.regenerate(connection, VIEWER, request, UNLIMITED, branch_id=self.branch)
        return made.accepted.turn_id, made.accepted.is_new, made.before

    def on_model(self, mailbox: Mailbox, position: int) -> Any:
        return model.again(mailbox, self.ask, self.branch, position, message_id=None)


@dataclass(frozen=True)
class Edit:
    """Have another message answered in the place of one."""

    ask: Ask
    branch: str
    message: str

    def on_store(self, connection: Connection) -> Any:
        request = request_of(self.ask)
        made = branch_turns.edit_message(connection, VIEWER, request, UNLIMITED, self.message, branch_id=self.branch)
        return made.accepted.turn_id, made.accepted.is_new, made.before

    def on_model(self, mailbox: Mailbox, position: int) -> Any:
        return model.again(mailbox, self.ask, self.branch, position, message_id=self.message)


@dataclass(frozen=True)
class Choose:
    thread: str
    branch: str

    def on_store(self, connection: Connection) -> Any:
        return branches.choose_branch(connection, VIEWER, self.thread, self.branch)[1]

    def on_model(self, mailbox: Mailbox, position: int) -> Any:
        return model.choose(mailbox, self.thread, self.branch)


@dataclass(frozen=True)
class Rename:
    thread: str
    branch: str
    title: str | None

    def on_store(self, connection: Connection) -> Any:
        return branches.rename_branch(connection, VIEWER, self.thread, self.branch, self.title).name

    def on_model(self, mailbox: Mailbox, position: int) -> Any:
        model.rename(mailbox, self.thread, self.branch, self.title)
        return self.title


@dataclass(frozen=True)
class Compare:
    """List all branches, and compare two of them."""

    thread: str
    ours: str
    theirs: str

    def on_store(self, connection: Connection) -> Any:
        both = branches.compare_branches(connection, VIEWER, self.thread, self.ours, self.theirs)
        texts = (tuple(message.content for message in its) for its in (both.ours, both.theirs))
        listed = [
            (
                one.id, one.origin, one.name, one.is_chosen, one.parent,
                one.shared_to_seq, one.last_seq, one.unfinished_turns,
            )
            for one in branches.list_branches(connection, VIEWER, self.thread)
        ]  # fmt: skip
        return both.shared_to_seq, *texts, listed

    def on_model(self, mailbox: Mailbox, position: int) -> Any:
        compared = model.compare(mailbox, self.thread, self.ours, self.theirs)
        return *compared, model.listed(mailbox, self.thread)


@dataclass(frozen=True)
class DeleteBranch:
    thread: str
    branch: str

    def on_store(self, connection: Connection) -> Any:
        delete_branch(connection, VIEWER, self.thread, self.branch)

    def on_model(self, mailbox: Mailbox, position: int) -> Any:
        deleting.delete_branch(mailbox, self.thread, self.branch)


@dataclass(frozen=True)
class DeleteThread:
    thread: str

    def on_store(self, connection: Connection) -> Any:
        return delete_thread(connection, TENANT, self.thread)

    def on_model(self, mailbox: Mailbox, position: int) -> Any:
        return deleting.delete_thread(mailbox, self.thread)


@dataclass(frozen=True)
class Tidy:
    """Delete what became free, as retention's next run does."""

    def on_store(self, connection: Connection) -> Any:
        pending = select(pending_deletions.c.thread_key).order_by(pending_deletions.c.thread_key.desc())
        while keys := connection.execute(pending).scalars().all():
            outcomes = [_delete(connection, key) for key in keys]
            if not any(outcomes):
                return "stuck"
        return None

    def on_model(self, mailbox: Mailbox, position: int) -> Any:
        deleting.tidy(mailbox)


def _delete(connection: Connection, key: int) -> bool:
    """Whether the row of a deletion is done with."""
    while (outcome := deletion.remove_next_batch(connection, key)) is not None and not outcome.is_over:
        pass
    return deletion.remove_thread(connection, key) is not None


@dataclass(frozen=True)
class Load:
    """Read what a thread or branch shows, and what an export of it has, and then an import of that."""

    address: str

    def on_store(self, connection: Connection) -> Any:
        shown = _load(connection, self.address)
        exported = _export(connection, self.address)
        with connection.begin_nested() as attempt:
            importer.import_thread(connection, exported, tenant=TENANT, thread_id="copy")
            again = _export(connection, "copy")
            attempt.rollback()
        # One branch alone comes in as a thread.
        said = _said(exported)
        assert list(said.values()) == list(_said(again).values()), "a copy says something else"
        return shown, said

    def on_model(self, mailbox: Mailbox, position: int) -> Any:
        name = model.resolve(mailbox, self.address)
        shown = tuple(line.text for _, line in model.in_view(mailbox, name))
        return shown, model.exported(mailbox, self.address)


def _load(connection: Connection, address: str) -> tuple[str, ...]:
    return tuple(message.content for message in repository.load(connection, TENANT, address).messages or [])


def _export(connection: Connection, address: str) -> list[dict[str, Any]]:
    export, lines = exports.Export(TENANT, address), list[dict[str, Any]]()
    while page := export.read_next_page(connection):
        lines += page
    return lines


def _said(exported: list[dict[str, Any]]) -> dict[str, list[tuple[str, bool]]]:
    """What each branch says: what it shares of one before it, and what is its own."""
    said = dict[str, list[tuple[str, bool]]]()
    for line in exported:
        if line["kind"] == "thread":
            header = line["thread"]
            branch, shares = header.get("branch", "main"), header.get("shares")
            said[branch] = said[shares["branch"]][: shares["to_seq"]] if shares else []
        if line["kind"] == "message":
            said[branch].append((line["content"], line.get("rolled_back", False)))
    return said


@dataclass(frozen=True)
class Result:
    """Read what a turn came to, by its own id."""

    turn: str

    def on_store(self, connection: Connection) -> Any:
        result = records.read_result(connection, self.turn)
        return result.state.value, tuple(message.content for message in result.messages)

    def on_model(self, mailbox: Mailbox, position: int) -> Any:
        return model.answer_to(mailbox, self.turn)
