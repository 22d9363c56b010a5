"""What a probe found."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """One probe of one target; `ok` is None when it was not measured, which is never "down".

    `reason` says why it is not ok: `refused`, `timeout`, `unreachable`, `not permitted`, `local fault: ...`, and so on.
    `rtt` is in seconds, `loss` a share from 0 to 1, `at` monotonic seconds.
    """

    target: str
    probe: str
    ok: bool | None
    at: float
    rtt: float | None = None
    loss: float | None = None
    reason: str = ""
    source: str = ""
