"""Why a Node is what it is: which observation, and which rule, each of its fields comes from."""

from collections.abc import Mapping
from dataclasses import dataclass

from k3net.model.desired import node_from, readiness, telling
from k3net.model.node import Node
from k3net.model.observation import Observation


@dataclass(frozen=True)
class Because:
    """One field of a Node: its value, the source that gave it ("" for a rule alone), its age, and the rule."""

    field: str
    value: str
    source: str
    age_seconds: float | None
    rule: str


def explain(name: str, observations: Mapping[str, Observation], stored: "Node | None", now: float) -> list[Because]:
    """The fields that k3net gives a Node, in the order of the record; the others are as they are stored."""
    if stored is not None and not stored.managed:
        rule = "the stored Node has no label k3.network/managed=true: it is another's, and is never written"
        return [Because("metadata.labels", "", "store", None, rule)]
    want = node_from(name, observations, now)
    speaking = telling(observations, now)
    rows = [
        _kept("metadata.uid", stored.uid if stored else want.uid, stored is not None),
        _kept("metadata.creationTimestamp", _created(stored), stored is not None),
        Because("metadata.labels", ", ".join(sorted(want.labels)), "", None, "the same on every Node that k3net keeps"),
        _said(
            "metadata.annotations[k3.network/port]", str(want.port or ""), speaking, lambda o: o.port == want.port, now
        ),
        _last_seen(observations, now),
    ]
    pid = want.annotations.get("k3.network/pid", "")
    rows.append(
        _said("metadata.annotations[k3.network/pid]", pid, speaking, lambda o: o.meta.get("pid", "") == pid, now)
    )
    rows += [
        _said("status.addresses", address, speaking, lambda o, address=address: address in o.addresses, now)
        for address in want.internal_ips
    ]
    rows.append(_ready(observations, now))
    return rows


def _said(field: str, value: str, speaking: list[Observation], gave, now: float) -> Because:
    source = next((o for o in speaking if gave(o)), None) if value else None
    if source is None:
        return Because(field, value, "", None, "no source tells")
    held = "holds" if not source.lapsed(now) else "lapsed, and nobody says otherwise"
    return Because(field, value, source.source, round(now - source.seen_at, 3), f"the claim of {source.source} {held}")


def _kept(field: str, value: str, stored: bool) -> Because:
    return Because(
        field, value, "store" if stored else "", None, "kept as stored" if stored else "set when it is created"
    )


def _created(stored: "Node | None") -> str:
    return str(stored.manifest["metadata"].get("creationTimestamp") or "") if stored is not None else ""


def _last_seen(observations: Mapping[str, Observation], now: float) -> Because:
    seen = [o for o in observations.values() if o.source != "store"]
    newest = max(seen, key=lambda o: o.seen_at, default=None)
    field = "metadata.annotations[k3.network/lastSeen]"
    if newest is None:
        return Because(field, "", "store", None, "nobody here has seen it; kept as stored")
    rule = "the newest sighting, and never earlier than what is stored"
    return Because(field, "", newest.source, round(now - newest.seen_at, 3), rule)


def _ready(observations: Mapping[str, Observation], now: float) -> Because:
    found = readiness(observations, now)
    decisive = found.because[0] if found.because else None
    if found.status == "True":
        rule = "a claim holds and none that holds denies it: " + ", ".join(o.source for o in found.because)
    elif found.live:
        rule = "a claim that holds denies it"
    elif decisive is not None and decisive.goodbye:
        rule = "it said goodbye, and nothing has proved since that it is there"
    else:
        rule = "every claim has lapsed: " + ", ".join(f"{o.source} (ttl {o.ttl:g} s)" for o in found.because)
    telling_source = next((o for o in found.because if o.reason == found.reason), decisive)
    value = f"{found.status} ({found.reason}: {found.message})"
    if telling_source is None:
        return Because("status.conditions[Ready]", value, "", None, rule)
    age = round(now - telling_source.seen_at, 3)
    return Because("status.conditions[Ready]", value, telling_source.source, age, rule)
