"""The methods of `ThreadStore` that know the branches of threads."""

from functools import partial

from conversation.branch_address import checked_address_of, new_branch_id
from conversation.thread import Thread
from conversation.validation import check_id
from store.branches import branches
from store.branches.branches import Branch, Comparison
from store.branches.delete_branch import delete_branch
from store.open_store import OpenStore
from store.threads import repository
from store.threads.visible_threads import Viewer


class ThreadBranches(OpenStore):
    """The methods of `ThreadStore` for branches."""

    async def branch(
        self, thread_id: str, *, at: int | str | None = None, name: str | None = None, branch: str | None = None
    ) -> Branch:
        """A new branch behind a message, by its id or `seq`, of the chosen branch or of `branch`; none is chosen by it.

        Its history is shared, so it costs the same however long that is. Raises `ThreadNotFound`, `BranchNotFound`,
        `MessageNotFound`, `LimitReached`, and `InvalidInput` where `at` parts a tool call from its result.
        """
        make = partial(branches.make_branch, branch_id=new_branch_id(), at=at, name=name)
        return await self.database.run_async(make, self._viewer, checked_address_of(thread_id, branch))

    async def get_branch(self, thread_id: str, branch: str, *, last: int | None = None) -> Thread:
        """A working copy as `get_thread` gives one, of this branch; it is saved to it. Raises `BranchNotFound`."""
        load = partial(repository.load, last=last)
        return self._set_home(await self.database.run_async(load, self.tenant, checked_address_of(thread_id, branch)))

    async def list_branches(self, thread_id: str) -> list[Branch]:
        """All branches of a thread, the oldest first. Raises `ThreadNotFound`."""
        return await self.database.run_async(branches.list_branches, self._viewer, check_id("thread_id", thread_id))

    async def choose_branch(self, thread_id: str, branch: str) -> Branch:
        """The branch for which the thread's id stands from now on. Raises `BranchNotFound`, `BranchInUse`."""
        of_branch = check_id("thread_id", thread_id), branch
        chosen, _ = await self.database.run_async(branches.choose_branch, self._viewer, *of_branch)
        return chosen

    async def rename_branch(self, thread_id: str, branch: str, name: str | None) -> Branch:
        """The branch with another name, or none. Raises `ThreadNotFound`, `BranchNotFound`."""
        of_branch = check_id("thread_id", thread_id), branch
        return await self.database.run_async(branches.rename_branch, self._viewer, *of_branch, name)

    async def compare_branches(self, thread_id: str, ours: str, theirs: str) -> Comparison:
        """The messages of two branches behind what they share. Raises `ThreadNotFound`, `BranchNotFound`."""
        of_thread = check_id("thread_id", thread_id), ours, theirs
        return await self.database.run_async(branches.compare_branches, self._viewer, *of_thread)

    async def delete_branch(self, thread_id: str, branch: str) -> None:
        """Deletion of a branch; what others share of it stays for them.

        Raises `ThreadNotFound`, `BranchNotFound`, `BranchInUse` and `ThreadUnderLegalHold`.
        """
        await self.database.run_async(delete_branch, self._viewer, check_id("thread_id", thread_id), branch)

    @property
    def _viewer(self) -> Viewer:
        return Viewer(self.tenant)
