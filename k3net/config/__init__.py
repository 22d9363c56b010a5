"""The settings: YAML, environment and flags become one frozen, typed tree; an error names the place it came from."""

from k3net.config.load import Loaded, load
from k3net.config.settings import Settings

__all__ = ["Loaded", "Settings", "load"]
