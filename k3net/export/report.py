"""What an export says: the answer of `spec/6-export.md`."""

from dataclasses import dataclass
from typing import Any

from k3net.export.devices import Device
from k3net.export.request import Network
from k3net.model import rfc3339
from k3net.model.duration import format_duration


@dataclass(frozen=True)
class Report:
    """`scanned_at` is wall-clock seconds, `duration` seconds; `notes` say, a line each, what is missing."""

    cidrs: tuple[Network, ...]
    scanned_at: float
    duration: float
    devices: tuple[Device, ...]
    notes: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        return {
            "mode": "neighbor-table",
            "cidrs": [str(network) for network in self.cidrs],
            "scannedAt": rfc3339.format_nanos(self.scanned_at),
            "duration": format_duration(self.duration),
            "count": len(self.devices),
            "devices": [device.as_json() for device in self.devices],
        }
