"""The own node: this machine's word about itself."""

from collections.abc import Callable, Mapping
from typing import Any

from twisted.internet.defer import Deferred

from k3net.model.observation import Observation
from k3net.services import Periodic


class OwnNode(Periodic):
    """Observes this machine every `interval` seconds; its last word is a goodbye, unless `goodbye` is False.

    `facts()` gives what to claim: `addresses`, `port`, `meta`; `word()` the reason and message. While `may_speak()` is
    False (another machine has the name, or may have it) nothing is claimed, and it is asked again after `retry`
    seconds.
    """

    def __init__(
        self,
        clock: Any,
        observe: Callable[[Observation], object],
        *,
        name: str,
        facts: Callable[[], Mapping[str, Any]],
        may_speak: Callable[[], bool] = lambda: True,
        word: Callable[[], tuple[str, str]] = lambda: ("LANDiscovery", "discovered via mDNS"),
        interval: float = 30.0,
        retry: float = 0.1,
        goodbye: bool = True,
    ):
        super().__init__(clock, interval, self.report, name="own-node")
        self._observe = observe
        self._peer = name
        self._facts = facts
        self._may_speak = may_speak
        self._word = word
        self._retry = retry
        self._spoke = False
        self.goodbye = goodbye

    def report(self, beats: int = 3) -> None:
        if not self._may_speak():
            self.again_in(self._retry)
            return
        reason, message = self._word() if beats else ("PeerGoodbye", "k3net was stopped")
        self._observe(
            Observation(
                peer=self._peer,
                source="own",
                seen_at=self._clock.seconds(),
                ttl=beats * self._interval,
                reason=reason,
                message=message,
                **self._facts(),
            )
        )
        self._spoke = beats > 0

    def stopService(self) -> "Deferred[None] | None":
        stopped = super().stopService()
        if self.goodbye and self._spoke:
            self.report(beats=0)
        return stopped
