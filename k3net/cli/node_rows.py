"""A Node as a row of `kubectl get nodes`: corev1.Node in, cells out; a Node of any shape has a row."""

from collections.abc import Mapping
from typing import Any

from k3net.cli.shapes import object_at, objects_at
from k3net.cli.table import Column, Row
from k3net.cli.text import cell, escaped, human_duration
from k3net.model import rfc3339

_ROLE_PREFIX = "node-role.kubernetes.io/"
_LAST_SEEN = "k3.network/lastSeen"


def _status_style(status: str) -> str:
    if status.startswith("NotReady"):
        return "red"
    return "green" if status == "Ready" else "yellow"


COLUMNS = (Column("NAME"), Column("STATUS", _status_style), Column("ROLES"), Column("AGE"), Column("VERSION"))
WIDE_COLUMNS = (
    *COLUMNS,
    *(Column(title) for title in ("INTERNAL-IP", "EXTERNAL-IP", "OS-IMAGE", "KERNEL-VERSION", "CONTAINER-RUNTIME")),
    Column("LAST-SEEN"),
    Column("REASON"),
)


def row(node: Any, now: float) -> Row:
    """The cells of `kubectl get nodes` for a Node of any shape; `now` is wall-clock seconds."""
    metadata, info = object_at(node, "metadata"), object_at(node, "status", "nodeInfo")
    return (
        cell(metadata.get("name"), "<none>"),
        _status(node),
        ",".join(_roles(object_at(metadata, "labels"))) or "<none>",
        _age(metadata.get("creationTimestamp"), now),
        cell(info.get("kubeletVersion"), "<none>"),
    )


def wide_row(node: Any, now: float) -> Row:
    """`row`, the cells that `-o wide` adds to it in kubectl, then LAST-SEEN and REASON."""
    info = object_at(node, "status", "nodeInfo")
    return (
        *row(node, now),
        _address(node, "InternalIP"),
        _address(node, "ExternalIP"),
        cell(info.get("osImage"), "<unknown>"),
        cell(info.get("kernelVersion"), "<unknown>"),
        cell(info.get("containerRuntimeVersion"), "<unknown>"),
        _age(object_at(node, "metadata", "annotations").get(_LAST_SEEN), now),
        cell((_ready(node) or {}).get("reason"), "<none>"),
    )


def substance(node: Any) -> dict[str, Any]:
    """A Node without what changes each time its machine is heard: what --watch compares."""
    metadata, status = object_at(node, "metadata"), object_at(node, "status")
    annotations = {key: value for key, value in object_at(metadata, "annotations").items() if key != _LAST_SEEN}
    conditions = [
        {key: value for key, value in condition.items() if key != "lastHeartbeatTime"}
        for condition in objects_at(status, "conditions")
    ]
    metadata = {key: value for key, value in metadata.items() if key != "resourceVersion"}
    return {
        **object_at(node),
        "metadata": {**metadata, "annotations": annotations},
        "status": {**status, "conditions": conditions},
    }


def _ready(node: Any) -> "dict[str, Any] | None":
    conditions = objects_at(object_at(node, "status"), "conditions")
    return next((condition for condition in reversed(conditions) if condition.get("type") == "Ready"), None)


def _status(node: Any) -> str:
    ready = _ready(node)
    status = "Unknown" if ready is None else "Ready" if ready.get("status") == "True" else "NotReady"
    return status + ",SchedulingDisabled" * (object_at(node, "spec").get("unschedulable") is True)


def _roles(labels: Mapping[str, Any]) -> list[str]:
    roles = {key[len(_ROLE_PREFIX) :] for key in labels if key.startswith(_ROLE_PREFIX)}
    role = labels.get("kubernetes.io/role")
    return sorted(escaped(name) for name in roles | {role if isinstance(role, str) else ""} if name)


def _age(timestamp: Any, now: float) -> str:
    then = rfc3339.parse(timestamp)
    return "<unknown>" if then is None else human_duration(now - then)


def _address(node: Any, kind: str) -> str:
    addresses = objects_at(object_at(node, "status"), "addresses")
    found = next((address for address in addresses if address.get("type") == kind), {})
    return cell(found.get("address"), "<none>")
