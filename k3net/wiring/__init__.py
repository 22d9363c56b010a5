"""Which parts the settings ask for, and whom each of them talks to."""

from k3net.wiring.core import open_doors, parts

__all__ = ["open_doors", "parts"]
