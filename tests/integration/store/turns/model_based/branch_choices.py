"""What may happen to branches next, drawn from what there is."""

from dataclasses import replace
from typing import TYPE_CHECKING

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from conversation.branch_address import MAIN
from store.branches.branch_turns import branch_id_for
from tests.integration.store.turns.model_based import branches as model
from tests.integration.store.turns.model_based.branch_operations import (
    Branch,
    Choose,
    Compare,
    DeleteBranch,
    DeleteThread,
    Edit,
    Fork,
    Load,
    Regenerate,
    Rename,
    Result,
    Tidy,
)
from tests.integration.store.turns.model_based.draws import Weighed, first_of
from tests.integration.store.turns.model_based.erasure_operations import EraseThread, EraseUser
from tests.integration.store.turns.model_based.operations import request_of
from tests.integration.store.turns.model_based.values import Ask, Line

if TYPE_CHECKING:
    from tests.integration.store.turns.model_based.machine import Machine

#: Rows of threads, branches and forks at most: enough for every meeting that there is.
MANY_ROWS = 9


def operations(machine: "Machine") -> Weighed:
    """Each verb of branches that there is something for, with how often it is drawn."""
    rows = there(machine)
    if not rows:
        return []
    found: Weighed = [(3, reads), (1, deletes_all)]
    if len(machine.model.threads) < MANY_ROWS:
        found += [(3, branches), (2, forks), (6, again)]
    if len(rows) > 1:
        found += [(4, chooses), (1, renames), (1, compares), (3, deletes)]
    if any(row.is_pending for row in machine.model.threads.values()):
        found.append((2, lambda _: st.just(Tidy())))
    return found


def that_wait(machine: "Machine") -> Weighed:
    """Those that take locks, or look at what others change."""
    found: Weighed = []
    if there(machine):
        found.append((1, deletes_all))
    if there(machine) and len(machine.model.threads) < MANY_ROWS:
        found += [(1, branches), (2, again), (1, forks)]
    if len(there(machine)) > 1:
        found += [(2, chooses), (2, deletes)]
    return found


def there(machine: "Machine") -> list[str]:
    """The rows that somebody can name."""
    return sorted(name for name, row in machine.model.threads.items() if not row.is_deleted)


def addresses(machine: "Machine") -> list[str]:
    """Those of all rows, and threads by their ids."""
    names = there(machine)
    return [*names, *(name if "/" in name else f"{name}/{MAIN}" for name in names)]


def row_of(machine: "Machine", address: str) -> str:
    """The row that a message for this address goes to."""
    return model.row_for(machine.model, address)


def _split(name: str) -> tuple[str, str]:
    thread, _, branch = name.partition("/")
    return thread, branch or MAIN


def _idle(machine: "Machine") -> list[str]:
    """Of rows where nothing waits or runs, the addresses; one whose thread stands for it may go by that."""
    busy = {turn.thread for turn in machine.model.unfinished()}
    return [one for one in addresses(machine) if model.resolve(machine.model, one) not in busy]


def _known_lines(machine: "Machine", name: str) -> list[Line]:
    """What a row says, without the questions of agents: the store names those itself."""

    def is_known(line: Line) -> bool:
        turn = machine.model.turns.get(line.turn)
        return line.is_reply or (turn is not None and turn.parent is None)

    return list(filter(is_known, model.lines(machine.model, name)))


def _places(machine: "Machine", address: str) -> SearchStrategy[int | str | None]:
    name = model.resolve(machine.model, address)
    last_seq = machine.model.threads[name].last_seq
    ids = [line.message_id for line in _known_lines(machine, name)]
    numbers = st.sampled_from([None, None, *range(last_seq + 1), last_seq + 1])
    return st.one_of(numbers, st.sampled_from([*ids, "nothing"])) if ids else numbers


def branches(machine: "Machine") -> SearchStrategy[Branch]:
    def of(address: str) -> SearchStrategy[Branch]:
        titles = st.sampled_from([None, "one", "two"])
        return st.builds(Branch, st.just(address), _branch_ids(machine), _places(machine, address), titles)

    return st.sampled_from(addresses(machine)).flatmap(of)


def _branch_ids(machine: "Machine") -> SearchStrategy[str]:
    return st.builds(machine.new_id, st.just("e")).map(lambda made: made.replace("-", "")[-12:])


def forks(machine: "Machine") -> SearchStrategy[Fork]:
    def of(address: str) -> SearchStrategy[Fork]:
        seqs = _places(machine, address).map(lambda place: place if isinstance(place, int) else None)
        return st.builds(Fork, st.just(address), st.builds(machine.new_id, st.just("f")), seqs)

    return st.sampled_from(addresses(machine)).flatmap(of)


def again(machine: "Machine") -> SearchStrategy[Regenerate | Edit]:
    """On rows where nothing runs more often than on others."""
    return first_of(_idle(machine), addresses(machine)).flatmap(lambda address: _again(machine, address))


def _again(machine: "Machine", address: str) -> SearchStrategy[Regenerate | Edit]:
    name = model.resolve(machine.model, address)
    asked = [line.message_id for line in _known_lines(machine, name) if not line.is_reply]
    any_of = [line.message_id for line in _known_lines(machine, name)]
    asks = st.builds(
        Ask,
        turn=st.builds(machine.new_id, st.just("b")),
        thread=st.just(address),
        content=st.none(),
        agent=st.sampled_from(["assistant"] * 4 + ["clerk"]),
        allow_unknown=st.just(True),
        key=st.sampled_from([None, None, "k", "m"]),
    )
    keys = _branch_ids(machine)
    anew = st.builds(_regenerate, asks, keys)
    if not asked:
        return anew
    contents = st.sampled_from(["better", "other"])
    messages = first_of(asked, any_of)
    return st.one_of(anew, st.builds(_edit, asks, contents, keys, messages))


def _regenerate(ask: Ask, branch: str) -> Regenerate:
    return Regenerate(ask, _branch_for(ask, branch))


def _edit(ask: Ask, content: str, branch: str, message: str) -> Edit:
    ask = replace(ask, content=content)
    return Edit(ask, _branch_for(ask, branch), message)


def _branch_for(ask: Ask, branch: str) -> str:
    return branch if ask.key is None else branch_id_for(request_of(ask))


def chooses(machine: "Machine") -> SearchStrategy[Choose]:
    return _any_branch(machine).map(lambda name: Choose(*_split(name)))


def renames(machine: "Machine") -> SearchStrategy[Rename]:
    return st.builds(
        lambda name, title: Rename(*_split(name), title), _any_branch(machine), st.sampled_from([None, "x"])
    )


def compares(machine: "Machine") -> SearchStrategy[Compare]:
    def of(name: str) -> SearchStrategy[Compare]:
        thread, branch = _split(name)
        others = [_split(one)[1] for one in model.rows_of(machine.model, thread)]
        return st.builds(Compare, st.just(thread), st.just(branch), st.sampled_from([*others, "nothing"]))

    return _any_branch(machine).flatmap(of)


def _any_branch(machine: "Machine") -> SearchStrategy[str]:
    names = there(machine)
    return first_of([name for name in names if "/" in name], names)


def deletes(machine: "Machine") -> SearchStrategy[DeleteBranch]:
    """What a producer's open transaction sends to is not deleted: whoever does that waits for it."""
    return first_of([name for name in there(machine) if "/" in name and not _is_sent_to(machine, name)], ["x"]).map(
        lambda name: DeleteBranch(*_split(name))
    )


def _deletes_thread(machine: "Machine") -> SearchStrategy[DeleteThread]:
    firsts = [name for name in there(machine) if "/" not in name and not _is_sent_to(machine, name)]
    return st.sampled_from([*firsts, "nothing"]).map(DeleteThread)


def deletes_all(machine: "Machine") -> SearchStrategy[DeleteThread | EraseThread | EraseUser]:
    """A thread is deleted, or it or a user is erased: what is more than one transaction is drawn less often."""
    threads = [_deletes_thread(machine), _deletes_thread(machine), _erases_thread(machine)]
    if machine.open_send is not None:
        return st.one_of(threads)
    # The second one asks in threads of the first.
    users = st.sampled_from(["ann", "bob", "bob", "bob"]).map(EraseUser)
    return st.one_of(*threads, users, users)


def _erases_thread(machine: "Machine") -> SearchStrategy[EraseThread]:
    """One that has branches more often than others."""
    firsts = [name for name in there(machine) if "/" not in name and not _is_sent_to(machine, name)]
    with_more = [name for name in firsts if len(model.rows_of(machine.model, name)) > 1]
    return first_of(with_more, [*firsts, "nothing"]).map(EraseThread)


def _is_sent_to(machine: "Machine", name: str) -> bool:
    """Whether a producer has an open transaction on a row's thread, or on one that goes with it."""
    if machine.open_send is None:
        return False
    thread = machine.open_send.send.ask.thread.partition("/")[0]
    first = machine.model.threads.get(thread)
    return name.partition("/")[0] in (thread, *(first.ancestors if first else ()))


def reads(machine: "Machine") -> SearchStrategy[Load | Result]:
    turns = list(machine.model.turns)
    loads = st.sampled_from(addresses(machine)).map(Load)
    return st.one_of(loads, st.sampled_from(turns).map(Result)) if turns else loads
