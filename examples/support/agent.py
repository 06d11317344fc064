"""The support agent, for workers with THREADMILL_AGENT_MODULES=examples.support.agent."""

from examples.support.tools import TOOLS
from threadmill import Agent, register

support = register(
    Agent(
        name="support",
        purpose=(
            "You answer customers of Fernhollow Outfitters, a shop for camping gear. Find out who writes and "
            "which order it is about before you change anything. Amounts are in cents: write them as euros. "
            "Say what you did in one or two plain sentences. When no tool helps, transfer to a human."
        ),
        tools=TOOLS,
    )
)
