"""The last times that a Node became Ready or stopped being it, as seen here."""

from typing import Any

from k3net.model import rfc3339
from k3net.model.node import Condition

LENGTH = 20


class History:
    """The last `LENGTH` transitions of Ready for each Node that this daemon knows."""

    def __init__(self) -> None:
        self._of: dict[str, list[tuple[float, Condition]]] = {}

    def note(self, name: str, ready: Condition, wall: float) -> None:
        """What is thought of the Node at this time of day; the same as before is no transition."""
        known = self._of.get(name)
        if known is None:
            known = self._of[name] = []  # most Nodes have one transition; a deque would make room for sixty-four
        if not known or known[-1][1].status != ready.status:
            known.append((wall, ready))
            del known[:-LENGTH]

    def keep(self, names: Any) -> None:
        """Forget the others."""
        self._of = {name: known for name, known in self._of.items() if name in names}

    def of(self, name: str) -> list[dict[str, str]]:
        """The transitions, oldest first: `at` (metav1.Time), `status`, `reason`, `message`."""
        return [
            {
                "at": rfc3339.format_seconds(wall),
                "status": ready.status,
                "reason": ready.reason,
                "message": ready.message,
            }
            for wall, ready in self._of.get(name, ())
        ]
