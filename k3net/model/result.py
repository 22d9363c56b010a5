"""What a probe found."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

_NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """One probe of one target; `ok` is None when it was not measured, which is never "down".

    `reason` says why it is not ok: `refused`, `timeout`, `unreachable`, `not permitted`, `local fault: ...`, and so on.
    `rtt` (the average where there were several), `rtt_min` and `rtt_max` are in seconds, `loss` is a share from 0 to 1
    of the packets `sent`, `at` monotonic seconds. `phases` are seconds by name, in the order in which they passed;
    `facts` is what else was learnt, as each probe documents it.
    """

    target: str
    probe: str
    ok: bool | None
    at: float
    rtt: float | None = None
    loss: float | None = None
    reason: str = ""
    source: str = ""
    rtt_min: float | None = None
    rtt_max: float | None = None
    sent: int = 0
    received: int = 0
    phases: Mapping[str, float] = field(default_factory=lambda: _NOTHING, hash=False)
    facts: Mapping[str, Any] = field(default_factory=lambda: _NOTHING, hash=False)
