"""The settings of the section `blackbox`: what `/probe?target=` may be asked about."""

import ipaddress
import re
from typing import Any, ClassVar

from msgspec import Struct

from k3net.config.kinds import shown, text

_NAME = re.compile(
    r"(?=.{1,253}$)(\*\.)?[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*"
)


class AllowedTarget(str):
    """A network, an address, a host name, or `*.example.org` for every name below example.org."""

    __slots__ = ()
    schema: ClassVar[dict[str, Any]] = {
        "type": "string",
        "pattern": r"^(\*\.)?[A-Za-z0-9_.:/-]+$",
        "examples": ["10.0.0.0/8", "db.example.org", "*.svc.cluster.local"],
    }

    @classmethod
    def read(cls, raw: Any) -> "AllowedTarget":
        wanted = text(raw).lower().removesuffix(".")
        try:
            return cls(ipaddress.ip_network(wanted, strict=False))
        except ValueError:
            if _NAME.fullmatch(wanted) and not wanted.rpartition(".")[2].isdigit():
                return cls(wanted)
        raise ValueError(f"expected a network, an address or a host name, not {shown(raw)}")


class BlackboxSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Known peers may always be probed. `ca` is a PEM file that https targets are believed by, "" this machine's."""

    allowed_targets: tuple[AllowedTarget, ...] = ()
    ca: str = ""
