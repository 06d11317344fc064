"""The settings: what an operator sets by variables of the environment."""

from store.settings.secret_files import export_key_files
from store.settings.settings import Settings, current, load
from store.settings.variables import OLD_PREFIX, variable

__all__ = ["OLD_PREFIX", "Settings", "current", "export_key_files", "load", "variable"]
