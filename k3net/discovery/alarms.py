"""What an operator has to look at, while it goes on."""

from typing import Any

from k3net.log import make_logger

_LASTS = 300.0
_MOST = 100


class Alarms:
    """Texts, each raised until it was not for five minutes; logged when it begins; at most a hundred at a time."""

    def __init__(self, clock: Any):
        self._clock = clock
        self._raised: dict[str, float] = {}
        self._log = make_logger()

    def __call__(self, text: str) -> None:
        """Raise it, or go on with it."""
        if text not in self._raised:
            self._forget()
            if len(self._raised) >= _MOST:
                return
            self._log.error("{alarm}", alarm=text)
        self._raised[text] = self._clock.seconds()

    def standing(self) -> tuple[str, ...]:
        """Those that are raised, in order of their texts."""
        self._forget()
        return tuple(sorted(self._raised))

    def _forget(self) -> None:
        now = self._clock.seconds()
        self._raised = {text: at for text, at in self._raised.items() if now - at <= _LASTS}
