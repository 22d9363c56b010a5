"""The vendor of a network card by the first half of its MAC (IEEE OUI), from the table in `netaddr`: no network."""

from collections.abc import Callable
from functools import lru_cache

_LONGEST = 80
_LOCAL = 0x02
_SHORTEST = 3


def vendors() -> Callable[[str], str]:
    """Gives the vendor of a MAC, "" when none is known; of every MAC where the extra `oui` is not installed."""
    try:
        from netaddr import OUI, NotRegisteredError
    except ImportError:
        return _unknown

    @lru_cache(4096)
    def by_oui(oui: int) -> str:
        try:
            return _printable(OUI(oui).registration().org)
        except (NotRegisteredError, ValueError):
            return ""

    def vendor(mac: str) -> str:
        octets = bytes.fromhex(mac.replace(":", ""))
        if len(octets) < _SHORTEST or octets[0] & _LOCAL:
            return ""
        return by_oui(int.from_bytes(octets[:3], "big"))

    return vendor


def _unknown(_: str) -> str:
    return ""


def _printable(text: str) -> str:
    return "".join(c for c in text if c.isprintable())[:_LONGEST].strip()
