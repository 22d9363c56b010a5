"""How values of the API become text: safe for a terminal, and in kubectl's forms."""

import json
import math
from typing import Any

_DAY = 24
_YEAR = 365 * _DAY


def escaped(text: str) -> str:
    """`text` on one line, with what a terminal would act on or hide (controls, bidi) as `\\x1b`, `\\n`, `\\u202e`."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def cell(value: object, default: str) -> str:
    """A string of the API as a table shows it; `default` for one that is empty or of another type."""
    return escaped(value) if isinstance(value, str) and value else default


def human_duration(seconds: float) -> str:
    """`42s`, `3m10s`, `5h2m`, `3d4h`, `2y10d`: k8s.io/apimachinery duration.HumanDuration, with its `<invalid>`."""
    if not math.isfinite(seconds) or seconds <= -2:
        return "<invalid>"
    whole = max(0, int(seconds))
    minutes, hours = whole // 60, whole // 3600
    days, years = hours // _DAY, hours // _YEAR
    if whole < 120:
        return f"{whole}s"
    if minutes < 10:
        return _two(minutes, "m", whole % 60, "s")
    if minutes < 180:
        return f"{minutes}m"
    if hours < 8:
        return _two(hours, "h", minutes % 60, "m")
    if hours < 2 * _DAY:
        return f"{hours}h"
    if hours < 8 * _DAY:
        return _two(days, "d", hours % _DAY, "h")
    if hours < 2 * _YEAR:
        return f"{days}d"
    return _two(years, "y", days % 365, "d") if hours < 8 * _YEAR else f"{years}y"


def _two(large: int, large_unit: str, small: int, small_unit: str) -> str:
    return f"{large}{large_unit}{small}{small_unit}" if small else f"{large}{large_unit}"


def json_text(value: Any) -> str:
    """`value` as indented JSON; in its strings, what `escaped` would change stands as `\\u` escapes."""
    lines = json.dumps(value, indent=4, ensure_ascii=False).split("\n")
    return "\n".join(line if line.isprintable() else "".join(map(_json_character, line)) for line in lines)


def _json_character(c: str) -> str:
    if c.isprintable():
        return c
    return "\\u007f" if c == "\x7f" else json.dumps(c)[1:-1]


def yaml_text(value: Any) -> str:
    """`value` as a YAML document in the order of its keys; all in ASCII when `escaped` would change any of it."""
    import yaml

    raw = json.dumps(value, ensure_ascii=False)
    printable = raw.isprintable()
    # libyaml is fast and cannot write lone surrogates.
    fast = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    return yaml.dump(
        value,
        Dumper=fast if printable else yaml.SafeDumper,
        sort_keys=False,
        default_flow_style=False,
        allow_unicode=printable,
        width=2**31 - 1,
    ).rstrip("\n")
