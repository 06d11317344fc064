"""An agent whose window is bounded by tokens, so that each message of a turn is counted by the tokenizer."""

from agent.agent import Agent
from agent.models.protocol import RECALL_MODEL
from agent.offline.model import RecallModel
from agent.registry import register

register(
    Agent(name="counter", model_name=RECALL_MODEL, model=RecallModel(), purpose="Answers.", max_window_tokens=100_000)
)
