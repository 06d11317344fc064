"""The built-in agent, so that a first message is answered without any agent of one's own."""

from agent.agent import Agent
from agent.registry import register

assistant = register(Agent(name="assistant", purpose="You are a helpful assistant. Answer briefly and plainly."))
