"""What is asked of the export, and how its options read: the same for `twistd k3net-export` and `k3net export`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any

from k3net.errors import ConfigError
from k3net.model.duration import parse_duration

Network = IPv4Network | IPv6Network

FORMATS = ("json", "yaml", "cmd", "table")
FAMILIES: Mapping[str, tuple[int, ...]] = {"4": (4,), "6": (6,), "all": (4, 6)}
HELP = {
    "cidr": "keep only neighbours in this network; may be repeated (the networks of this machine's interfaces)",
    "timeout": "for the whole export; what is known then is printed (15s)",
    "format": "json, yaml, cmd (a line each: ip name mac) or table (json)",
    "output": "file to write, whole or not at all (standard output)",
    "resolve-dns": "ask /etc/hosts and DNS for names: true or false (true)",
    "dns-timeout": "for each name (250ms)",
    "family": "4, 6 or all (4)",
}
DEFAULTS = {"timeout": "15s", "format": "json", "resolve-dns": "true", "dns-timeout": "250ms", "family": "4"}
_TRUTHS = {"true": True, "1": True, "t": True, "false": False, "0": False, "f": False}
_MOST_CIDRS = 256
_LONGEST_WAIT = 86400.0


@dataclass(frozen=True)
class Request:
    """`cidrs` are () for the networks of this machine; durations are seconds; `output` is "" for standard output."""

    cidrs: tuple[Network, ...] = ()
    timeout: float = 15.0
    format: str = "json"
    output: str = ""
    resolve_dns: bool = True
    dns_timeout: float = 0.25
    families: tuple[int, ...] = (4,)


def is_truth(word: str) -> bool:
    return word.lower() in _TRUTHS


def parse_request(words: Mapping[str, Any]) -> Request:
    """The request in the options' texts (`cidr` is a list of them), None where one is not given; ConfigError."""
    given: dict[str, str] = {**DEFAULTS, **{name: words[name] for name in DEFAULTS if words.get(name) is not None}}
    if given["format"] not in FORMATS:
        raise ConfigError("", f"unsupported --format={_shown(given['format'])} (json, yaml, cmd or table)")
    if given["family"] not in FAMILIES:
        raise ConfigError("", f"unsupported --family={_shown(given['family'])} (4, 6 or all)")
    if not is_truth(given["resolve-dns"]):
        raise ConfigError("--resolve-dns", f"expected true or false, not {_shown(given['resolve-dns'])}")
    output = words.get("output")
    if output is not None and (not output or "\0" in output):
        raise ConfigError("--output", "expected the path of a file")
    families = FAMILIES[given["family"]]
    return Request(
        cidrs=_cidrs(words.get("cidr") or (), families),
        timeout=_duration("--timeout", given["timeout"]),
        format=given["format"],
        output=output or "",
        resolve_dns=_TRUTHS[given["resolve-dns"].lower()],
        dns_timeout=_duration("--dns-timeout", given["dns-timeout"]),
        families=families,
    )


def _cidrs(texts: Sequence[str], families: tuple[int, ...]) -> tuple[Network, ...]:
    if len(texts) > _MOST_CIDRS:
        raise ConfigError("--cidr", f"at most {_MOST_CIDRS} of them")
    found = []
    for text in texts:
        try:
            if "/" not in text:
                raise ValueError(text)
            network = ip_network(text.strip(), strict=False)
        except ValueError:
            raise ConfigError("--cidr", f"expected a network as 192.168.1.0/24, not {_shown(text)}") from None
        if network.version not in families:
            raise ConfigError(
                "--cidr", f"{network} is IPv{network.version}: ask with --family {network.version} or all"
            )
        found.append(network)
    return tuple(dict.fromkeys(found))


def _duration(option: str, text: str) -> float:
    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise ConfigError(option, str(error)) from None
    if not 0 < seconds <= _LONGEST_WAIT:
        raise ConfigError(option, f"expected more than 0 and at most 24h, not {_shown(text)}")
    return seconds


def _shown(given: object) -> str:
    """A plain word as it is, all else quoted."""
    text = str(given)[:80]
    return text if text.isascii() and text.isalnum() else repr(text)
