"""Nodes that claim pod CIDRs, many in a process: python pod_cidr_claimers.py PLACE

For each line {"names": [...], "service": CIDR} on its stdin they all start at once, each as new as after a restart;
then the line {name: {"cidrs": [...], "trouble": TEXT}} comes out.
"""

import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from contracts import manifest_of
from store.places import store_at
from twisted.internet.defer import Deferred, gatherResults, inlineCallbacks
from twisted.internet.task import react
from twisted.internet.threads import deferToThread

from k3net.config.strict_yaml import read_documents
from k3net.discovery.pod_cidr import PodCidr
from k3net.model.node import Node
from k3net.model.plan import Create, Update
from k3net.pod_cidr import Asked, find
from k3net.store.threaded import ThreadedStore

BASE = "10.244.0.0/16"


@inlineCallbacks
def live(reactor: Any, store: ThreadedStore, nodes: Any, name: str, service: str) -> Any:
    """One node: it claims, and writes its Node; what it holds then."""
    asked = Asked(name, read_documents, {}, base=BASE, service=service, root="/nowhere")
    settled: Deferred[None] = Deferred()
    part = PodCidr(
        reactor,
        store,
        name=name,
        find=lambda: find(asked),
        nodes=lambda: nodes,
        changed=lambda: settled.called or settled.callback(None),
    )
    part.startService()
    yield settled
    yield part.stopService()
    manifest = manifest_of(name)
    manifest["spec"] = {"podCIDR": part.cidrs[0], "podCIDRs": list(part.cidrs)} if part.cidrs else {}
    have = nodes.get(name)
    yield store.apply([Create(Node(name, manifest)) if have is None else Update(Node(name, manifest), have.version)])
    return name, {"cidrs": part.cidrs, "trouble": part.trouble}


@inlineCallbacks
def main(reactor: Any, place: str) -> Any:
    store = ThreadedStore(reactor, lambda: store_at(place), deadline=60.0)
    store.startService()
    yield store.identity()
    print("ready", flush=True)
    while line := (yield deferToThread(sys.stdin.readline)):
        order = json.loads(line)
        nodes = {node.name: node for node in (yield store.list())}
        found = yield gatherResults([live(reactor, store, nodes, name, order["service"]) for name in order["names"]])
        print(json.dumps(dict(found)), flush=True)
    yield store.stopService()


if __name__ == "__main__":
    react(main, sys.argv[1:])
