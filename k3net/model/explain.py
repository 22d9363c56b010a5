"""Why a Node is what it is: which observation, and which rule, each of its fields comes from."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from k3net.model.desired import readiness, telling, whereabouts
from k3net.model.node import LAST_SEEN, MANAGED, POD_CIDR_CONFLICT, Node
from k3net.model.observation import Observation

_NAME_LABEL = "kubernetes.io/hostname"
_FOUND_LABEL = "k3.network/discovered"
_PORT = "k3.network/port"
_PID = "k3.network/pid"
_CIDR_WORD = "podCIDR"  # in the own node's meta: how its pod CIDRs came about, or why there are none
_VOUCHED = "reached by "  # as k3net.reconciler.adoption.vouched has it
_KEPT = "kept as stored"
_ALIKE = "the same on every Node that k3net keeps"
_FOREIGN = "as stored: the Node is another's"
_UNSEEN = "as stored: nobody here has seen the machine"


@dataclass(frozen=True)
class Because:
    """One field of a Node, its value, and the rule that chose it.

    `source` is that of the observation which gave the value, "store" for what the record had, "" for a rule alone.
    `observer` is the daemon that made the observation, "store" or "" likewise; `age_seconds` is the observation's.
    """

    field: str
    value: str
    source: str
    observer: str
    age_seconds: float | None
    rule: str


def explain(
    shown: Node, observations: Mapping[str, Observation], stored: "Node | None", now: float, *, observer: str
) -> list[Because]:
    """The fields of `shown` that k3net gives a Node, in the order of the record; the others are as they are stored.

    `shown` is what the observations and the stored record make of the Node at `now` (monotonic), `observer` this
    daemon's name.
    """
    if stored is not None and not stored.managed:
        return [_kept(field, value, _FOREIGN) for field, _, value in _fields(shown)]
    if not observations:
        return [_kept(field, value, _UNSEEN) for field, _, value in _fields(shown)]
    account = _Account(observations, stored, now, observer)
    rows = [account.of(field, key, value) for field, key, value in _fields(shown)]
    return rows if shown.pod_cidrs else [*rows, *account.lacking()]


def _fields(node: Node) -> Iterator[tuple[str, str, str]]:
    """Field, the key within it, value."""
    metadata, status = node.manifest["metadata"], node.manifest.get("status") or {}
    yield "metadata.uid", "", node.uid
    yield "metadata.creationTimestamp", "", str(metadata.get("creationTimestamp") or "")
    for label in (_NAME_LABEL, MANAGED, _FOUND_LABEL):
        yield f"metadata.labels[{label}]", label, node.labels.get(label, "")
    for annotation in (LAST_SEEN, _PORT, _PID):
        yield f"metadata.annotations[{annotation}]", annotation, node.annotations.get(annotation, "")
    if node.pod_cidrs:
        yield "spec.podCIDRs", "", ", ".join(node.pod_cidrs)
    yield "status.phase", "", str(status.get("phase") or "")
    for kind, address in node.addresses:
        yield f"status.addresses[{kind}]", kind, address
    ready = node.ready
    why = ": ".join(text for text in (ready.reason, ready.message) if text)
    yield "status.conditions[Ready]", "Ready", f"{ready.status} ({why})" if why else ready.status
    for condition in node.conditions:
        if condition.type == POD_CIDR_CONFLICT:
            told = f"{condition.status} ({condition.reason}: {condition.message})"
            yield f"status.conditions[{POD_CIDR_CONFLICT}]", POD_CIDR_CONFLICT, told


def _kept(field: str, value: str, rule: str = _KEPT) -> Because:
    return Because(field, value, "store", "store", None, rule)


def _ruled(field: str, value: str, rule: str) -> Because:
    return Because(field, value, "", "", None, rule)


class _Account:
    """Of a Node that k3net keeps, and that a source of this daemon or the store has told of."""

    def __init__(self, observations: Mapping[str, Observation], stored: "Node | None", now: float, observer: str):
        self._observations = observations
        self._stored = stored
        self._now = now
        self._observer = observer
        self._said = telling(observations, now)

    def of(self, field: str, key: str, value: str) -> Because:
        match field.partition("[")[0]:
            case "metadata.uid":
                return self._once(field, value, "uid", "made of the name, as none is stored")
            case "metadata.creationTimestamp":
                return self._once(field, value, "creationTimestamp", "set by the first write of k3net")
            case "metadata.annotations":
                return self._annotation(field, key, value)
            case "spec.podCIDRs":
                return self._pod_cidrs(field, value)
            case "status.addresses":
                return self._address(field, key, value)
            case "status.conditions" if key == "Ready":
                return self._ready(field, value)
            case "status.conditions":
                return _ruled(field, value, "the pod CIDRs of the stored Nodes, compared by the Node's writer")
        return _ruled(field, value, _ALIKE)

    def _once(self, field: str, value: str, key: str, rule: str) -> Because:
        given = self._stored is not None and self._stored.manifest["metadata"].get(key)
        return _kept(field, value) if given else _ruled(field, value, rule)

    def _annotation(self, field: str, key: str, value: str) -> Because:
        if key == LAST_SEEN:
            return self._last_seen(field, value)
        if key == _PORT:
            return self._told(field, value, next((o for o in self._said if o.port), None))
        first = next((o for o in self._said if "pid" in o.meta), None)
        return self._told(field, value, first if first and first.meta["pid"] else None)

    def _seen(self, field: str, value: str, o: Observation, rule: str) -> Because:
        return Because(field, value, o.source, self._by(o), round(self._now - o.seen_at, 3), rule)

    def _by(self, o: Observation) -> str:
        if o.source == "store":
            return "store"
        vouched = o.source == "liveness" and o.message.startswith(_VOUCHED)
        return o.message.removeprefix(_VOUCHED) if vouched else self._observer

    def _told(self, field: str, value: str, o: "Observation | None") -> Because:
        if o is None:
            return _kept(field, value, f"{_KEPT}: no source tells") if value else _ruled(field, "", "no source tells")
        if not o.lapsed(self._now):
            return self._seen(field, value, o, f"the claim of {o.source} holds")
        end = "said goodbye" if o.goodbye else "has lapsed"
        return self._seen(field, value, o, f"the last that is known: {o.source} {end}, and no other claim tells")

    def lacking(self) -> Iterator[Because]:
        """Why there are no pod CIDRs, if a source says it."""
        o = next((o for o in self._said if o.meta.get(_CIDR_WORD)), None)
        if o is not None:
            yield self._seen("spec.podCIDRs", "", o, o.meta[_CIDR_WORD])

    def _pod_cidrs(self, field: str, value: str) -> Because:
        o = next((o for o in self._said if o.pod_cidrs), None)
        told = self._told(field, value, o)
        word = "" if o is None or o.lapsed(self._now) else o.meta.get(_CIDR_WORD, "")
        return replace(told, rule=word) if word else told

    def _address(self, field: str, kind: str, value: str) -> Because:
        addresses, _ = whereabouts(self._observations, self._now)
        record = self._stored.addresses if self._stored is not None else ()
        if kind not in ("Hostname", "InternalIP"):
            return _kept(field, value)
        if record and not addresses:
            return _kept(field, value, f"{_KEPT}: no source tells")
        if kind == "InternalIP":
            return self._told(field, value, next((o for o in self._said if value in o.addresses), None))
        named = next((o for o in self._said if o.meta.get("hostname")), None)
        return self._told(field, value, named) if named else _ruled(field, value, "the Node's name: no source tells")

    def _last_seen(self, field: str, value: str) -> Because:
        had = self._stored.annotations.get(LAST_SEEN, "") if self._stored is not None else ""
        sightings = [o for o in self._observations.values() if o.source != "store"]
        if not sightings:
            return _kept(field, value, _UNSEEN) if had else _ruled(field, value, "nobody here has seen the machine")
        if value == had:
            return _kept(field, value, f"{_KEPT}: no sighting here is newer, and it never goes back")
        return self._seen(field, value, max(sightings, key=lambda o: o.seen_at), "the newest sighting")

    def _ready(self, field: str, value: str) -> Because:
        found = readiness(self._observations, self._now)
        told = (o for o in found.because if (o.reason, o.message) == (found.reason, found.message))
        decisive = next(told, found.because[0])
        names = ", ".join(o.source for o in found.because)
        if found.status == "True" and not found.live:
            rule = "the stored word holds until it lapses, or a source of this daemon speaks"
        elif found.status == "True" and found.because == (self._observations.get("liveness"),) and self._left():
            rule = "it said goodbye, but a connect since then proved that it is there"
        elif found.status == "True":
            rule = f"a claim holds and none that holds denies it: {names}"
        elif decisive.goodbye:
            rule = "it said goodbye, and nothing has proved since then that it is there"
        elif found.live:
            rule = "a claim that holds denies it"
        elif len(found.because) == 1 and decisive.source == "store" and not decisive.ready:
            rule = "stored as not ready, and no claim of this daemon's own holds"
        else:
            decisive = max(found.because, key=lambda o: o.lapses_at)
            rule = "every claim has lapsed: " + ", ".join(f"{o.source} (ttl {o.ttl:g} s)" for o in found.because)
        return self._seen(field, value, decisive, rule)

    def _left(self) -> bool:
        return any(o.goodbye for o in self._observations.values())
