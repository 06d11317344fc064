"""The methods of `ThreadStore` for summaries.

What stays true: no message is changed or removed by any of them.
"""

from dataclasses import replace

from conversation.arguments import INTEGER_MAX, check_whole_number
from conversation.errors import InvalidInput
from conversation.quotation import quote
from conversation.summary import SummarizedAgent, Summary
from conversation.validation import check_id
from store.open_store import OpenStore
from store.summaries import repository
from store.summaries.summarize import defaults_of, summarize_to_low_mark


class ThreadSummaries(OpenStore):
    """The methods of `ThreadStore` for summaries: writing, listing and restoring them."""

    async def summarize_thread(
        self, thread_id: str, agent: SummarizedAgent, *, keep_messages: int | None = None
    ) -> list[Summary]:
        """Have all turns but the newest summarized, as `agent` does it; returns the summaries, oldest first.

        Those of the newest turns that together have no more than `keep_messages` (without it, what the
        agent and the settings say) stay as they are. A long history is covered in several steps. Raises
        `ThreadNotFound`, and `ModelError` where a summary cannot be used: those before it stay.
        """
        check_id("thread_id", thread_id)
        if not hasattr(agent, "summarizer") or not hasattr(agent, "water_marks"):
            raise InvalidInput("agent", f"is {quote(agent)}", "pass an Agent")
        defaults = defaults_of(self.settings)
        marks = agent.water_marks(defaults)
        if keep_messages is not None:
            keep_messages = check_whole_number("keep_messages", keep_messages, minimum=1, maximum=INTEGER_MAX)
            marks = replace(marks, high_messages=0, high_tokens=0, low_messages=keep_messages, low_tokens=0)
        return await summarize_to_low_mark(self.database, self.tenant, thread_id, agent.summarizer(defaults), marks)

    async def list_summaries(self, thread_id: str) -> list[Summary]:
        """List all summaries of a thread, withdrawn ones among them, the newest first.

        Raises `ThreadNotFound`.
        """
        return await self._run_on_thread(repository.list_summaries, thread_id)

    async def restore_summary(self, thread_id: str) -> Summary | None:
        """Withdraw the thread's summary: models read the one before it again, or the messages themselves.

        For a day no new one is written by itself. Returns the summary that was withdrawn; None if
        the thread had none. Raises `ThreadNotFound`, and `InvalidInput` where retention deleted messages
        that would have to come back.
        """
        return await self._run_on_thread(repository.restore, thread_id)
