"""resolv.conf(5): whom this machine asks, and for which names; pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address

_MOST_SERVERS = 3
_MOST_DOMAINS = 6
_MOST_DOTS = 15
_LONGEST_NAME = 253
_LONGEST_LABEL = 63


@dataclass(frozen=True)
class Resolv:
    servers: tuple[str, ...] = ("127.0.0.1",)
    search: tuple[str, ...] = ()
    ndots: int = 1

    def candidates(self, name: str) -> Iterator[str]:
        """The names that `name` may stand for, without their last dot, in the order in which they are asked."""
        if name.endswith("."):
            yield name[:-1]
            return
        absolute_first = name.count(".") >= self.ndots
        if absolute_first:
            yield name
        yield from (f"{name}.{domain}" for domain in self.search if domain)
        if not absolute_first:
            yield name


def parse_resolv(text: str) -> Resolv:
    """What is not understood is passed over, as the C library does; no server means one on this machine."""
    servers: list[str] = []
    search: tuple[str, ...] = ()
    ndots = 1
    for line in text.splitlines():
        word, *rest = line.split() or [""]
        if word == "nameserver" and rest and _is_address(rest[0]):
            servers.append(rest[0])
        elif word in ("search", "domain") and rest:
            search = tuple(domain.strip(".") for domain in rest[:_MOST_DOMAINS])
        elif word == "options":
            for option in rest:
                key, _, value = option.partition(":")
                if key == "ndots" and value.isascii() and value.isdigit():
                    ndots = min(int(value[:3]), _MOST_DOTS)
    return Resolv(tuple(servers[:_MOST_SERVERS]) or Resolv.servers, search, ndots)


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def is_dns_name(name: str) -> bool:
    """Whether it can be asked for: ASCII labels of 1 to 63 bytes, 253 in all (RFC 1035 section 2.3.4)."""
    bare = name.removesuffix(".")
    return (
        0 < len(bare) <= _LONGEST_NAME
        and all(0 < len(label) <= _LONGEST_LABEL for label in bare.split("."))
        and all("!" <= letter <= "~" for letter in bare)
    )
