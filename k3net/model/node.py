"""Node records: a view of the corev1 JSON that keeps every field it does not know."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from k3net.errors import CorruptRecord
from k3net.model import rfc3339

MANAGED = "k3.network/managed"
LAST_SEEN = "k3.network/lastSeen"
POD_CIDR_CONFLICT = "PodCIDRConflict"
"""Type of the condition of a Node whose pod CIDR another Node says, too."""

_OWN_ADDRESSES = ("Hostname", "InternalIP")
_POD_CIDRS = ("podCIDR", "podCIDRs")


@dataclass(frozen=True, slots=True)
class Condition:
    """corev1.NodeCondition; times are wall-clock seconds, or None."""

    type: str
    status: str
    reason: str = ""
    message: str = ""
    last_transition: float | None = None
    last_heartbeat: float | None = None


@dataclass(frozen=True)
class Node:
    """A view of one `v1` Node: `manifest` is the whole JSON object, with every field that k3net does not know.

    `version` is the store's own token, "" when the Node is not stored. `last_seen` (wall-clock seconds) is set on one
    that observations ask for, and becomes the annotation `k3.network/lastSeen` when the Node is stamped; `live` says
    that a source of this daemon sees or denies the machine now, `beats` that Consul vouches for it now,
    `without_pod_cidrs` that it has none, and its record is to say so.
    """

    name: str
    manifest: Mapping[str, Any]
    version: str = ""
    last_seen: float | None = None
    live: bool = False
    beats: bool = False
    without_pod_cidrs: bool = False

    @classmethod
    def from_manifest(cls, manifest: Any, version: str = "", name: str = "") -> "Node":
        """Read a stored JSON object; CorruptRecord when a part that k3net reads has the wrong shape."""
        found = _part(manifest, "metadata", name).get("name") if isinstance(manifest, dict) else None
        if not isinstance(found, str) or not found:
            raise CorruptRecord(name, "metadata.name: expected a text")
        if name and found != name:
            raise CorruptRecord(name, f"metadata.name: names another Node, {found[:80]!r}")
        if manifest.get("kind", "Node") != "Node":
            raise CorruptRecord(found, "kind: expected Node")
        metadata, status = _part(manifest, "metadata", found), _part(manifest, "status", found)
        _part(manifest, "spec", found)
        for key in ("labels", "annotations"):
            if any(not isinstance(value, str) for value in _part(metadata, key, found).values()):
                raise CorruptRecord(found, f"metadata.{key}: expected texts")
        for key in ("addresses", "conditions"):
            items = status.get(key)
            if items is not None and not (isinstance(items, list) and all(isinstance(i, dict) for i in items)):
                raise CorruptRecord(found, f"status.{key}: expected a list of objects")
        return cls(found, manifest, version)

    @property
    def labels(self) -> Mapping[str, str]:
        return self._metadata.get("labels") or {}

    @property
    def annotations(self) -> Mapping[str, str]:
        return self._metadata.get("annotations") or {}

    @property
    def uid(self) -> str:
        return _text(self._metadata, "uid")

    @property
    def managed(self) -> bool:
        """Whether k3net may change it: label `k3.network/managed` is exactly "true"."""
        return self.labels.get(MANAGED) == "true"

    @property
    def addresses(self) -> tuple[tuple[str, str], ...]:
        """(type, address) pairs of corev1.NodeAddress."""
        return tuple((_text(a, "type"), _text(a, "address")) for a in self._status.get("addresses") or ())

    @property
    def internal_ips(self) -> tuple[str, ...]:
        return tuple(address for kind, address in self.addresses if kind == "InternalIP")

    @property
    def conditions(self) -> tuple[Condition, ...]:
        return tuple(map(_condition, self._status.get("conditions") or ()))

    def says(self, condition: str) -> bool:
        """Whether it has a condition of this type."""
        return any(c.get("type") == condition for c in self._status.get("conditions") or ())

    @cached_property
    def ready(self) -> Condition:
        """The Ready condition; status "Unknown" when there is none."""
        found = (c for c in self._status.get("conditions") or () if c.get("type") == "Ready")
        return next(map(_condition, found), Condition("Ready", "Unknown"))

    @property
    def pod_cidrs(self) -> tuple[str, ...]:
        spec = self.manifest.get("spec") or {}
        several = spec.get("podCIDRs")
        cidrs = several if isinstance(several, list) and several else [spec.get("podCIDR")]
        return tuple(cidr for cidr in cidrs if isinstance(cidr, str) and cidr)

    @property
    def port(self) -> int:
        text = self.annotations.get("k3.network/port", "")
        return int(text) if text.isascii() and text.isdecimal() and len(text) <= 5 and int(text) <= 65535 else 0

    @property
    def seen(self) -> float | None:
        """The annotation `k3.network/lastSeen`, wall-clock seconds."""
        return rfc3339.parse(self.annotations.get(LAST_SEEN))

    @property
    def _metadata(self) -> Mapping[str, Any]:
        return self.manifest["metadata"]

    @property
    def _status(self) -> Mapping[str, Any]:
        return self.manifest.get("status") or {}

    def carrying(self, have: "Node") -> "Node":
        """`have` with what this Node asks for, and everything else of `have` as it was; times are for `stamped`."""
        want = self.manifest
        manifest = dict(have.manifest)
        manifest["apiVersion"], manifest["kind"] = "v1", "Node"
        metadata = manifest["metadata"] = dict(have.manifest["metadata"])
        for key in ("labels", "annotations"):
            metadata[key] = {**(metadata.get(key) or {}), **want["metadata"][key]}
        metadata["uid"] = metadata.get("uid") or want["metadata"]["uid"]
        if self.pod_cidrs:
            manifest["spec"] = {**(manifest.get("spec") or {}), **want["spec"]}
        elif self.without_pod_cidrs and have.pod_cidrs:
            manifest["spec"] = {key: value for key, value in manifest["spec"].items() if key not in _POD_CIDRS}
        status = manifest["status"] = dict(manifest.get("status") or {})
        status["phase"] = want["status"]["phase"]
        kept = status.get("addresses") or []
        if self.internal_ips or not kept:
            others = [address for address in kept if address.get("type") not in _OWN_ADDRESSES]
            status["addresses"] = [*want["status"]["addresses"], *others]
        status["conditions"] = status.get("conditions") or []
        for condition in want["status"]["conditions"]:
            status["conditions"] = _with(status["conditions"], condition)
        return Node(self.name, manifest, have.version, self.last_seen)

    def beating(self, now: float) -> "Node | None":
        """This Node with the heartbeat of its Ready condition brought forward to `now` (wall clock), and nothing else.

        None when it has no such heartbeat, or a later one.
        """
        at = self.ready_at
        beat = self.ready.last_heartbeat
        text = rfc3339.format_seconds(now)
        if at is None or beat is None or (rfc3339.parse(text) or 0.0) <= beat:
            return None
        conditions = list(self._status["conditions"])
        conditions[at] = {**conditions[at], "lastHeartbeatTime": text}
        return replace(self, manifest={**self.manifest, "status": {**self._status, "conditions": conditions}})

    @property
    def ready_at(self) -> int | None:
        """Where in the conditions the first that is Ready stands."""
        conditions = self._status.get("conditions") or ()
        return next((at for at, c in enumerate(conditions) if c.get("type") == "Ready"), None)

    def stamped(self, now: float) -> "Node":
        """This Node with the times of a report at `now` (wall clock); lastSeen never goes back."""
        manifest = dict(self.manifest)
        metadata = manifest["metadata"] = dict(manifest["metadata"])
        if not metadata.get("creationTimestamp"):
            metadata["creationTimestamp"] = rfc3339.format_seconds(now)
        seen = max((t for t in (self.seen, self.last_seen) if t is not None), default=None)
        if seen is not None and seen != self.seen:
            metadata["annotations"] = {
                **(metadata.get("annotations") or {}),
                LAST_SEEN: rfc3339.format_nanos(seen),
            }
        status = manifest["status"] = dict(self._status)
        at = rfc3339.format_seconds(now)
        status["conditions"] = [
            {**c, "lastHeartbeatTime": at, "lastTransitionTime": c.get("lastTransitionTime") or at}
            if c.get("type") in ("Ready", POD_CIDR_CONFLICT)
            else c
            for c in status.get("conditions") or ()
        ]
        return replace(self, manifest=manifest)


def _part(parent: Any, key: str, name: str) -> Mapping[str, Any]:
    part = parent.get(key) if isinstance(parent, dict) else None
    if part is not None and not isinstance(part, dict):
        raise CorruptRecord(name, f"{key}: expected an object")
    return part or {}


def _text(part: Mapping[str, Any], key: str) -> str:
    value = part.get(key)
    return value if isinstance(value, str) else ""


def _condition(c: Mapping[str, Any]) -> Condition:
    return Condition(
        _text(c, "type"),
        _text(c, "status") or "Unknown",
        _text(c, "reason"),
        _text(c, "message"),
        rfc3339.parse(c.get("lastTransitionTime")),
        rfc3339.parse(c.get("lastHeartbeatTime")),
    )


def _with(conditions: list[dict[str, Any]], want: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Those with `want` in the place of the first of its type, or at the end."""
    new = []
    found = False
    for c in conditions:
        if c.get("type") == want["type"] and not found:
            found = True
            kept = dict(c)
            if c.get("status") != want["status"]:
                kept.pop("lastTransitionTime", None)
            new.append({**kept, **want})
        else:
            new.append(c)
    return new if found else [*new, dict(want)]
