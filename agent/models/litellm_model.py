"""Models that are asked through litellm, whatever their provider.

What stays true: all that is not litellm's own is shared with every other road: see `agent.models.provider_model`.
"""

from agent.models.litellm_road import LitellmRoad, close, load
from agent.models.protocol import ModelRequest
from agent.models.provider_model import ProviderModel
from agent.models.road import Road

__all__ = ["LitellmModel", "close", "load"]


class LitellmModel(ProviderModel):
    """A `Model` that asks every provider through litellm."""

    def _road_to(self, _model: str, _request: ModelRequest, /) -> Road:
        return LitellmRoad()
