"""A summary right after the turn that passes the mark, by the processes that a user runs."""

from conversation.turn import TurnState
from tests.acceptance.installation import Installation, eventually, maintenance, worker

#: Beat does not run: only the turn's own wake-up can bring a summary.
MARKS = {
    "THREADMILL_AGENT_MODULES": "agent.assistant",
    "THREADMILL_SUMMARIZE_AFTER_MESSAGES": "6",
    "THREADMILL_SUMMARIZE_KEEP_MESSAGES": "2",
    "THREADMILL_SUMMARIZE_INTERVAL_SECONDS": "3600",
}


def test_a_thread_is_summarized_right_after_the_turn_that_passes_the_mark(installation: Installation) -> None:
    installation.start(worker("one"), maintenance(), **MARKS)

    for content in ("Please refund order #W1234567.", "How are you?", "And now?"):
        turn = installation.producer.send("t", content, agent="assistant")
        assert turn.wait(30).state is TurnState.COMPLETED

    found = "select from_seq, to_seq, content from summaries"
    eventually(lambda: installation.query(found), 30, installation.logs)

    assert installation.query(found) == [
        {"from_seq": 1, "to_seq": 4, "content": "Open tasks:\n- Please refund order #W1234567."}
    ]
