"""How the daemon does: every loop, every dependency and every alarm, for `/readyz` and the metrics."""

from collections.abc import Iterable
from typing import Any

from k3net.services import Dependency, Periodic

_GRACE = 10.0


def loop_is_well(loop: Periodic, now: float) -> bool:
    """Whether its last call succeeded, within three intervals and a little."""
    if loop.failing_since is not None or loop.started_at is None:
        return False
    since = loop.started_at if loop.last_success is None else loop.last_success
    return now - since <= 3 * loop.interval + _GRACE


def readiness(
    loops: Iterable[Periodic], dependencies: Iterable[Dependency], alarms: Iterable[str], now: float
) -> tuple[bool, dict[str, Any]]:
    """Whether all is well, and the report that `/readyz` gives; alarms are for people and change nothing."""
    told = [
        {
            "name": loop.name,
            "ok": loop_is_well(loop, now),
            "age_seconds": None if loop.last_success is None else round(now - loop.last_success, 3),
            "failures": loop.failures,
            "error": loop.last_error,
        }
        for loop in loops
    ]
    needs = [
        {
            "name": need.name,
            "ok": need.since is None,
            "since_seconds": None if need.since is None else round(now - need.since, 3),
            "error": need.error,
        }
        for need in dependencies
    ]
    report = {"loops": told, "dependencies": needs, "alarms": list(alarms)}
    return all(row["ok"] for row in (*told, *needs)), report
