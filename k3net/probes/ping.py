"""What is known of one target while it is pinged, and the result that comes of it."""

from dataclasses import dataclass, field

from twisted.internet.defer import Deferred

from k3net.model.result import ProbeResult
from k3net.probes.icmp_socket import Where


@dataclass(slots=True, eq=False)
class Ping:
    """`left` packets are still to be sent; `waiting` are the sequence numbers of those not answered yet."""

    target: str
    to: Where
    left: int
    interval: float
    timeout: float
    done: "Deferred[ProbeResult]"
    refused_since: float | None = None
    sent: int = 0
    waiting: set[int] = field(default_factory=set)
    rtts: list[float] = field(default_factory=list)
    trouble: str = ""
    fault: str = ""
    hop_limit: int | None = None
    ended: bool = False

    def result(self, now: float) -> ProbeResult:
        """Ok when at least half of the packets came back."""
        received = len(self.rtts)
        loss = 1 - received / self.sent if self.sent else None
        if loss is None:
            ok, reason = None, self.fault or "not sent in time"
        elif loss <= 0.5:
            ok, reason = True, ""
        else:
            ok, reason = False, self.trouble or ("loss" if received else "timeout")
        average = sum(self.rtts) / received if received else None
        return ProbeResult(
            self.target,
            "icmp",
            ok,
            now,
            rtt=average,
            rtt_min=min(self.rtts, default=None),
            rtt_max=max(self.rtts, default=None),
            loss=loss,
            reason=reason,
            sent=self.sent,
            received=received,
            facts={} if self.hop_limit is None else {"hop_limit": self.hop_limit},
        )
