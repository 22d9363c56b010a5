"""RFC 3339 times as Kubernetes writes them; all times here are wall-clock seconds since the epoch, in UTC."""

import math
import re
from datetime import datetime, timedelta, timezone

_FORM = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):([0-5]\d|60)(?:\.(\d{1,18}))?(?:([Zz])|([+-])([01]\d|2[0-3]):([0-5]\d))",
    re.ASCII,
)
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def format_seconds(wall: float) -> str:
    """`2026-11-20T18:15:47Z`: metav1.Time, whole seconds."""
    return (_EPOCH + timedelta(seconds=math.floor(wall))).isoformat()[:-6] + "Z"


def format_nanos(wall: float) -> str:
    """`2026-11-20T18:15:47.25Z`: Go's RFC3339Nano, trailing zeros dropped."""
    whole = math.floor(wall)
    digits = f"{round((wall - whole) * 10**9):09d}"
    if len(digits) > 9:
        whole, digits = whole + 1, "0"
    fraction = digits.rstrip("0")
    return format_seconds(whole)[:-1] + (f".{fraction}" if fraction else "") + "Z"


def parse(text: object) -> "float | None":
    """The time in an RFC 3339 text, or None when it is not one."""
    form = _FORM.fullmatch(text) if isinstance(text, str) else None
    if form is None:
        return None
    year, month, day, hour, minute, second, fraction, _, sign, off_hours, off_minutes = form.groups()
    try:
        moment = datetime(
            int(year), int(month), int(day), int(hour), int(minute), min(int(second), 59), tzinfo=timezone.utc
        )
    except ValueError:
        return None
    wall = (moment - _EPOCH).total_seconds() + (int(second) - min(int(second), 59))
    if sign:
        wall -= (1 if sign == "+" else -1) * (int(off_hours) * 3600 + int(off_minutes) * 60)
    return wall + (float(f"0.{fraction}") if fraction else 0.0)
