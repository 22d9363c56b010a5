"""Go durations, as Go's `time.ParseDuration` reads them and `time.Duration.String` prints them."""

import re

_UNITS = {
    "ns": 10**0,
    "us": 10**3,
    "µs": 10**3,
    "μs": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
}
_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h)", re.ASCII)
_LIMIT = 2**63


def parse_duration(text: str) -> float:
    """Seconds in a Go duration (`90s`, `1m30s`, `250ms`, `-1h`, `0`); ValueError says what is expected."""
    body = text.strip()
    sign = -1 if body.startswith("-") else 1
    body = body[1:] if body[:1] in ("+", "-") else body
    if body == "0":
        return 0.0
    nanos = 0.0
    at = 0
    while at < len(body):
        part = _PART.match(body, at)
        if part is None:
            break
        nanos += float(part[1]) * _UNITS[part[2]]
        at = part.end()
    if not body or at != len(body) or nanos >= _LIMIT:
        raise ValueError(f"expected a duration such as 90s, 1m30s or 250ms, not {text[:40]!r}")
    return sign * nanos / 10**9


def format_duration(seconds: float) -> str:
    """The shortest Go form of a time in seconds: `1m30s`, `12.3ms`, `850ns`, `0s`."""
    nanos = round(seconds * 10**9)
    if nanos == 0:
        return "0s"
    sign, nanos = ("-", -nanos) if nanos < 0 else ("", nanos)
    if nanos < 10**9:
        unit = next(u for u in ("ms", "µs", "ns") if nanos >= _UNITS[u])
        return sign + _decimal(nanos, _UNITS[unit]) + unit
    hours, rest = divmod(nanos, _UNITS["h"])
    minutes, rest = divmod(rest, _UNITS["m"])
    text = _decimal(rest, 10**9) + "s"
    if hours:
        return f"{sign}{hours}h{minutes}m{text}"
    return f"{sign}{minutes}m{text}" if minutes else sign + text


def _decimal(nanos: int, unit: int) -> str:
    whole, rest = divmod(nanos, unit)
    digits = str(rest).rjust(len(str(unit)) - 1, "0").rstrip("0")
    return f"{whole}.{digits}" if digits else str(whole)
