"""The settings: what an operator sets by variables of the environment."""

from store.settings.settings import Settings, current, load
from store.settings.variables import OLD_PREFIX, variable

__all__ = ["OLD_PREFIX", "Settings", "current", "load", "variable"]
