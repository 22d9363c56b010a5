"""What the search for a pod CIDR ends in, and what each source said on the way."""

from dataclasses import dataclass
from typing import Any, NamedTuple

from k3net.errors import ConfigError
from k3net.model.cidr import Net, Sizes, overlap, within

DEFAULT = "default"
"""The source of an answer that nothing on this machine or in its settings says."""


class Told(NamedTuple):
    """The networks that a source gives; `source` and `key` say where they stand, `guess` that nobody wrote them."""

    nets: tuple[Net, ...]
    source: str
    key: str = ""
    guess: bool = False

    def __str__(self) -> str:
        where = f"{self.source}, {self.key}" if self.key else self.source
        return f"{listed(self.nets)} ({where})"


class Said(NamedTuple):
    """What a source said of the `node`, the `cluster` or the `service` CIDR, in words; `chosen` when that counts."""

    about: str
    source: str
    answer: str
    chosen: bool = False


@dataclass(frozen=True)
class Answer:
    """A node's pod CIDRs, IPv4 or IPv6 or one of each; `exact` is False for a hash, which may be inaccurate.

    `source` is config, environment, file:<path>, hash or default; `message` is the line for the log. `cluster` is
    empty when nobody says it and the node's lies outside the default.
    """

    node: str
    cidrs: tuple[Net, ...]
    cluster: tuple[Net, ...]
    service: tuple[Net, ...]
    source: str
    exact: bool
    message: str
    sizes: Sizes

    def as_json(self) -> dict[str, Any]:
        """`podCIDR` and `podCIDRs` as in corev1.NodeSpec."""
        cidrs, cluster, service = (list(map(str, nets)) for nets in (self.cidrs, self.cluster, self.service))
        return {
            "node": self.node,
            "podCIDR": cidrs[0],
            "podCIDRs": cidrs,
            "clusterCIDRs": cluster,
            "serviceCIDRs": service,
            "source": self.source,
            "exact": self.exact,
            "message": self.message,
        }


def listed(nets: tuple[Net, ...]) -> str:
    return ", ".join(map(str, nets))


def check(node: Told, cluster: Told, service: Told, sizes: Sizes) -> None:
    """ConfigError when these cannot all hold; it names the two that clash, and where they stand."""
    for net in node.nets:
        if net.prefixlen > sizes.of(net):
            raise _wrong(node, f"{net} is smaller than a node's /{sizes.of(net)}, which network.podCIDR.perNode says")
        for whole in cluster.nets:
            if within(whole, net):
                raise _wrong(node, f"{net} is not one node's: it holds the whole cluster CIDR {cluster}")
            if whole.version == net.version and not within(net, whole) and not cluster.guess:
                raise _wrong(node, f"{net} lies outside the cluster CIDR {cluster}")
    clash = overlap(node.nets, service.nets)
    if clash:
        raise _wrong(node, f"{clash[0]} overlaps the service CIDR {service}")


def _wrong(told: Told, reason: str) -> ConfigError:
    return ConfigError(told.key, reason, told.source.removeprefix("file:"))
