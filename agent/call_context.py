"""The context of a tool call in a run, and the files of its result.

What stays true: files of a result are stored before the journal points to them.
"""

from collections.abc import Sequence

from agent.call_decisions import CallDecisions
from agent.files.thread_files import ThreadFiles
from agent.run_state import RunState
from agent.tools.questions import CallQuestions
from agent.tools.result import ToolResult, failure
from agent.tools.run_context import RunContext
from conversation.attachment import Attachment
from conversation.branch_address import split_address
from conversation.errors import FileRejected, LimitReached
from conversation.message import ToolCall
from conversation.replay import JournalledResult


def build_context(state: RunState, decisions: CallDecisions, index: int, call: ToolCall) -> RunContext:
    """Build the context of one call."""
    claimed = state.claimed
    return RunContext(
        tenant=claimed.tenant,
        thread_id=split_address(claimed.thread_id)[0],
        turn_id=claimed.id,
        call_id=call.id,
        # By its index, which a resume finds again: ids of calls may repeat within a turn.
        idempotency_key=f"{claimed.id}-{index}",
        user=claimed.user,
        thread_owner=claimed.thread_owner,
        metadata=claimed.metadata,
        attempt=claimed.attempt,
        deadline=state.deadline,
        questions=CallQuestions(decisions.answers(index)),
        thread_files=ThreadFiles(
            state.dependencies.attachments, claimed.tenant, claimed.thread_id, lambda: _turn_files(state)
        ),
    )


def _turn_files(state: RunState) -> Sequence[Attachment]:
    """The files that the turn brought so far, also those of the runs that this one is nested in."""
    runs = reversed(list(state.lineage))
    return [file for run in runs for message in run.transcript.messages for file in message.attachments]


async def store_files(state: RunState, tool_result: ToolResult) -> JournalledResult:
    """Store the files of a result, which the journal and the tool's message then point to."""
    attachments: Sequence[Attachment] = ()
    if tool_result.files:
        unstored_files = [file.to_attachment() for file in tool_result.files]
        try:
            attachments = await state.dependencies.attachments.store_all(state.claimed.tenant, unstored_files)
        except (FileRejected, LimitReached) as error:
            # The tool did its work, but what it brought may not be kept: the model can do without.
            return JournalledResult(failure(type(error).__name__, str(error)).content, "failed")
    return JournalledResult(tool_result.content, tool_result.outcome, tuple(attachments))
