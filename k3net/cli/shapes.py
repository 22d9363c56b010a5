"""JSON that came over the network, read without trust in its shape."""

import math
from collections.abc import Mapping
from typing import Any


def object_at(value: Any, *path: str) -> Mapping[str, Any]:
    """The object at `path` in `value`; an empty one where there is none."""
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}


def objects_at(value: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    """The objects in the list at `key`."""
    found = value.get(key)
    return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []


def number(value: Any) -> "float | None":
    """A finite JSON number as a float, else None."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        found = float(value)
    except OverflowError:
        return None
    return found if math.isfinite(found) else None
