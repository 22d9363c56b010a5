"""The part that looks after the own node's pod CIDRs, and what the others say of them."""

import os
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from twisted.internet.threads import deferToThreadPool

from k3net.config import Settings
from k3net.config.strict_yaml import read_documents
from k3net.discovery.pod_cidr import PodCidr
from k3net.model.node import Node
from k3net.parts import Part, Surroundings
from k3net.pod_cidr import Asked, find


class PodCidrWires:
    """Without an own Node there is no such part, and nothing to say."""

    def __init__(self, daemon: Surroundings, s: Settings):
        self._daemon = daemon
        self._s = s

    def part(self) -> Part:
        s = self._s
        made_of = (s.node.name, s.storage, s.network, s.reconcile.report_every, s.liveness.peer_ttl)
        return Part("pod-cidr", made_of, self.pod_cidr)

    def pod_cidr(self) -> PodCidr:
        s, d = self._s, self._daemon
        asked = Asked(
            str(s.node.name),
            read_documents,
            os.environ,
            base=s.network.podCIDR.base,
            per_node=s.network.podCIDR.perNode,
            node_local=s.network.podCIDR.nodeLocal,
            service=s.network.serviceCIDR,
        )
        return PodCidr(
            d.reactor,
            d["store"],
            name=str(s.node.name),
            find=lambda: deferToThreadPool(d.reactor, d.reactor.getThreadPool(), find, asked),
            nodes=self._nodes,
            changed=self._say,
            interval=float(s.reconcile.report_every),
            patience=float(s.reconcile.report_every + s.liveness.peer_ttl),
        )

    def cidrs(self) -> "tuple[str, ...] | None":
        """What the own Node is to carry, as `PodCidr.told`."""
        part = self._part()
        return part.told if part is not None else None

    def meta(self) -> dict[str, str]:
        """For the explanation of that."""
        part = self._part()
        return {"podCIDR": part.word} if part is not None and part.word else {}

    def info(self) -> dict[str, Any]:
        """For `/info`: what the own Node carries, and where it is from."""
        part = self._part()
        if part is None or part.answer is None:
            return {"podCIDRs": []}
        return {"podCIDRs": list(part.cidrs), "podCIDRSource": part.answer.source}

    def _part(self) -> "PodCidr | None":
        try:
            found: PodCidr = self._daemon["pod-cidr"]
        except KeyError:
            return None
        return found

    def _nodes(self) -> "Mapping[str, Node] | None":
        reconciler = self._daemon["reconcile"]
        return reconciler.stored if reconciler.last_success is not None else None

    def _say(self) -> None:
        with suppress(KeyError):  # about to be made, or gone
            self._daemon["own-node"].kick()
