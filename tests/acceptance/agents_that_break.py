"""A user's module with a mistake in it: two agents of one name."""

from agent.agent import Agent
from agent.registry import register

register(Agent(name="twin", purpose="One."))
register(Agent(name="twin", purpose="Another."))
