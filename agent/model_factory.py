"""The models by name. Slow libraries are imported only for the models that need them."""

from functools import cache

from agent.models.protocol import RECALL_MODEL, Model
from agent.offline.model import RecallModel


@cache
def model_for(name: str) -> Model:
    """The model of that name, shared by every agent of the process."""
    if name == RECALL_MODEL:
        return RecallModel()
    return _litellm()


def preload(name: str) -> None:
    """Import what the model of that name needs: seconds for litellm, so before a worker consumes."""
    if name != RECALL_MODEL:
        from agent.models import litellm_model

        litellm_model.load()


@cache
def _litellm() -> Model:
    from agent.models.litellm_model import LitellmModel

    return LitellmModel()
