"""What the observations of a peer ask for: its readiness, and the Node it should have."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from k3net.model.node import MANAGED, Node
from k3net.model.observation import SOURCES, Observation, in_family_order

_DERIVED = ("liveness", "store")
_MOST_TELLING = ("own", "consul", "liveness", "mdns", "checker", "store")


@dataclass(frozen=True)
class Readiness:
    """What the observations say of a peer: `status` "True" or "False", and `because` of which of them.

    `live` says that the machine is seen, or denied, now; not so after a lapse or a goodbye.
    """

    status: str
    reason: str
    message: str
    because: tuple[Observation, ...]
    live: bool = False


def readiness(observations: Mapping[str, Observation], now: float) -> Readiness:
    """Ready while a claim holds and none that holds denies it.

    A goodbye ends what its own source and the probes said; later only a connect that proved whose port it was counts
    again, and not even that for a machine that is gone from Consul and that multicast does not vouch for. The own
    node's goodbye ends everything. The adopted word of the store counts only while no source of this
    daemon speaks.
    """
    live = [observations[s] for s in SOURCES if s in observations and not observations[s].lapsed(now)]
    goodbyes = [observations[s] for s in SOURCES if s in observations and observations[s].goodbye]
    left = max(goodbyes, key=lambda o: o.seen_at, default=None)
    spoken = [o for o in live if o.source not in _DERIVED]
    if left is not None and (left.source == "own" or (not spoken and _deregistered(observations))):
        live = []
    elif left is not None and not spoken:
        live = [o for o in live if o.source == "liveness" and o.seen_at > left.seen_at and o.meta.get("node")]
    elif any(o.source != "store" for o in live):
        live = [o for o in live if o.source != "store"]
    denial = next((o for o in live if not o.ready), None)
    if denial is not None:
        return Readiness("False", denial.reason or "NotReady", denial.message, (denial,), live=_is_news(denial))
    if not live:
        if left is not None:
            return Readiness("False", left.reason or "PeerGoodbye", left.message or "peer said goodbye", (left,))
        told = observations.get("store")
        if told is not None and not told.ready and len(observations) == 1:
            return Readiness("False", told.reason or "NotReady", told.message, (told,))
        return Readiness("False", "PeerExpired", "peer ttl exceeded", tuple(observations.values()))
    best = min(live, key=lambda o: _MOST_TELLING.index(o.source))
    return Readiness("True", best.reason, best.message, tuple(live), live=any(map(_is_news, live)))


def _deregistered(observations: Mapping[str, Observation]) -> bool:
    """Whether Consul said goodbye for it, and no multicast of it stands that said none."""
    consul, mdns = observations.get("consul"), observations.get("mdns")
    return consul is not None and consul.goodbye and (mdns is None or mdns.goodbye)


def _is_news(o: Observation) -> bool:
    """Whether a source of this daemon sees or denies the machine now; what is only held to is none."""
    return o.source != "store" and "held" not in o.meta


def lapses_next(observations: Mapping[str, Observation], now: float) -> float:
    """Until when (monotonic) the answer of `node_from` holds if nothing more is heard."""
    return min((o.lapses_at for o in observations.values() if not o.lapsed(now)), default=float("inf"))


def whereabouts(observations: Mapping[str, Observation], now: float) -> tuple[tuple[str, ...], int]:
    """The addresses (IPv4 first) and the port that a peer is known by; () and 0 when no source tells."""
    said = telling(observations, now)
    addresses = in_family_order(address for o in said for address in o.addresses)
    return addresses, next((o.port for o in said if o.port), 0)


def telling(observations: Mapping[str, Observation], now: float) -> list[Observation]:
    """The sources that tell where a peer is: those whose claims hold, else all."""
    said = [observations[s] for s in SOURCES if s in observations]
    return [o for o in said if not o.lapsed(now) and o.source not in _DERIVED] or said


def node_from(name: str, observations: Mapping[str, Observation], now: float) -> Node:
    """The Node that these observations ask for at `now` (monotonic); no times in it (see `Node.stamped`)."""
    said = telling(observations, now)
    addresses, port = whereabouts(observations, now)
    hostname = next((o.meta["hostname"] for o in said if o.meta.get("hostname")), name)
    pid = next((o.meta["pid"] for o in said if "pid" in o.meta), "")
    pod_cidrs = next((o.pod_cidrs for o in said if o.pod_cidrs is not None), None)
    ready = readiness(observations, now)
    annotations = {"k3.network/port": str(port)} if port else {}
    if pid:
        annotations["k3.network/pid"] = pid
    found_by = {"discovery": "consul"} if any(map(_by_consul, observations.values())) else {}
    manifest: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "uid": f"consul-node-{name}" if _only_by_consul(observations) else f"node-{name}",
            "labels": {"kubernetes.io/hostname": name, MANAGED: "true", "k3.network/discovered": "true", **found_by},
            "annotations": annotations,
        },
        "spec": {"podCIDR": pod_cidrs[0], "podCIDRs": list(pod_cidrs)} if pod_cidrs else {},
        "status": {
            "phase": "Running",
            "addresses": [
                {"type": "Hostname", "address": hostname},
                *({"type": "InternalIP", "address": address} for address in addresses),
            ],
            "conditions": [{"type": "Ready", "status": ready.status, "reason": ready.reason, "message": ready.message}],
        },
    }
    consul = observations.get("consul")
    beats = ready.status == "True" and consul is not None and not consul.lapsed(now) and _is_news(consul)
    return Node(name, manifest, live=ready.live, beats=beats, without_pod_cidrs=pod_cidrs == ())


def _by_consul(o: Observation) -> bool:
    return o.meta.get("discovery") == "consul"


def _only_by_consul(observations: Mapping[str, Observation]) -> bool:
    said = [o for o in observations.values() if o.source not in _DERIVED]
    return bool(said) and all(map(_by_consul, said))
