"""The agent that is there from the start, so that a first message has somebody to answer it."""

from agent.agent import Agent
from agent.registry import register

assistant = register(
    Agent(name="assistant", purpose="You are a helpful assistant. Answer briefly and plainly.")
)
