"""The vendor of a network card by the first half of its MAC (IEEE OUI), from the table in `netaddr`: no network."""

from functools import lru_cache

_LONGEST = 80
_LOCAL = 0x02
_LENGTHS = (6, 8)


def vendor(mac: str) -> str:
    """Its name, or "" when none is known, as for every MAC where the extra `oui` is not installed."""
    octets = bytes.fromhex(mac.replace(":", ""))
    if len(octets) not in _LENGTHS or octets[0] & _LOCAL:
        return ""
    return _organization(int.from_bytes(octets[:3], "big"))


@lru_cache(4096)
def _organization(oui: int) -> str:
    try:
        from netaddr import OUI, NotRegisteredError  # here: with its table it takes 0.1 s
    except ImportError:
        return ""
    try:
        name = OUI(oui).registration().org
    except (NotRegisteredError, ValueError):
        return ""
    return "".join(c for c in name if c.isprintable())[:_LONGEST].strip()
