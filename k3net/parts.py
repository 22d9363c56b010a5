"""A part of the daemon, and what it is made of."""

from collections.abc import Callable
from typing import Any, NamedTuple


class Part(NamedTuple):
    """A service to be made by `make()`; when `made_of` (settings) differs after a reload, it is made anew."""

    name: str
    made_of: Any
    make: Callable[[], Any]
