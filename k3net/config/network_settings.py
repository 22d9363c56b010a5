"""The settings of the section `network`: where this node's pods have their addresses; spelt as HeadCNI's chart does."""

from collections.abc import Mapping
from typing import Any, ClassVar

from msgspec import Struct

from k3net.config.kinds import text
from k3net.errors import ConfigError
from k3net.model.cidr import Sizes, networks


class Cidrs(str):
    """A network, or one of each family with a comma between them, without host bits; "" for none."""

    __slots__ = ()
    schema: ClassVar[dict[str, Any]] = {
        "type": "string",
        "pattern": "^$|^[0-9A-Fa-f.:]+/[0-9]{1,3}(, *[0-9A-Fa-f.:]+/[0-9]{1,3})?$",
        "examples": ["10.244.0.0/16", "10.42.0.0/16,2001:db8:42::/56"],
    }

    @classmethod
    def read(cls, raw: Any) -> "Cidrs":
        return cls(",".join(map(str, networks(text(raw)))))


class NodeSize(str):
    """The prefix length of a node's subnet: `/24`, or `/24,/64` to say that of IPv6 too."""

    __slots__ = ()
    schema: ClassVar[dict[str, Any]] = {"type": "string", "pattern": "^/?[0-9]{1,3}(, */?[0-9]{1,3})?$"}

    @classmethod
    def read(cls, raw: Any) -> "NodeSize":
        Sizes.read(text(raw))
        return cls(raw)


class PodCidrSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`base` is the cluster CIDR, `nodeLocal` this node's own; empty: what the files of this machine say."""

    base: Cidrs = Cidrs("")
    perNode: NodeSize = NodeSize("/24")
    nodeLocal: Cidrs = Cidrs("")


class NetworkSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    podCIDR: PodCidrSettings = PodCidrSettings()
    serviceCIDR: Cidrs = Cidrs("")


def in_chart_values(document: Mapping[str, Any], origin: str) -> "dict[str, Any] | None":
    """What the values of HeadCNI's chart say under `config.network` that is ours; None when they have no such part.

    ConfigError when the file says it under `network` as well.
    """
    config = document.get("config")
    if not isinstance(config, dict) or not isinstance(config.get("network"), dict):
        return None
    if document.get("network") is not None:
        raise ConfigError("config.network", "the file has network, too; say it once", origin)
    return {key: value for key, value in config["network"].items() if str(key).lower() in ("podcidr", "servicecidr")}
