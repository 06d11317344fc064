"""The support agent again, slow enough that its worker can be killed in the middle of a turn."""

from agent.agent import Agent
from agent.registry import register
from examples.support.agent import support

#: Seconds that `offline/recall` waits before every answer.
DELAY_SECONDS = 1.0

support_slow = register(
    Agent(
        name="support_slow",
        purpose=support.purpose,
        tools=support.tools,
        parameters={"delay_seconds": DELAY_SECONDS},
        # Else it would wait before each word.
        streams=False,
    )
)
