"""An agent whose window is bounded by tokens, so that a worker counts each message that it shows."""

from agent.agent import Agent
from agent.models.protocol import RECALL_MODEL
from agent.offline.model import RecallModel
from agent.registry import register

register(
    Agent(name="counting", model_name=RECALL_MODEL, model=RecallModel(), purpose="Answer.", max_window_tokens=100_000)
)
