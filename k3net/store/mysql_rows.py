"""A row of the table that the Go programs keep Nodes in, and the Node that it says: spec/1-nodes-and-mdns.md."""

from collections.abc import Iterable, Mapping, Set
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from k3net.errors import CorruptRecord
from k3net.model import rfc3339
from k3net.model.node import MANAGED, Node
from k3net.store import records

TABLE = "k8s_core_v1_node"
CONTENT = (
    *("name", "namespace", "uid", "resource_version", "labels", "annotations"),
    *("created_at", "deleted_at", "phase", "spec", "status"),
)
"""The columns that a digest covers: all but `id`, which it also covers, and `updated_at`."""
NEEDED = ("id", *CONTENT, "updated_at")

_DIGEST = f"sha2(concat_ws(',', id, {', '.join(f'''ifnull(sha2({column}, 256), '-')''' for column in CONTENT)}), 256)"
"""The server's own digest of a row, so that nothing is converted between what is read and what is compared."""
_MANAGED = f"""json_contains(labels, '"true"', '$."{MANAGED}"')"""

SELECT = f"""
select id, name, namespace, uid, resource_version, labels, annotations,
    date_format(created_at, '%%Y-%%m-%%dT%%H:%%i:%%sZ'), deleted_at is not null, phase, spec, status, {_DIGEST}
from {TABLE}"""  # noqa: S608 - names only
SELECT_VERSIONS = f"select name, resource_version, {_DIGEST} from {TABLE}"  # noqa: S608 - names only

INSERTED = ("name", "namespace", "uid", "created_at", "phase", "labels", "annotations", "spec", "status")
_OURS = ("labels", "annotations", "phase", "spec", "status")
_FIRST = ("uid", "created_at")
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - as SQL has it; all of it is UTC
_PARTS = {"apiVersion", "kind", "metadata", "spec", "status"}
_METADATA = {"name", "namespace", "uid", "resourceVersion", "creationTimestamp", "labels", "annotations"}


def insert(count: int) -> str:
    """The statement that makes so many rows; its values are those of INSERTED, row by row."""
    marks = f"({', '.join(['%s'] * len(INSERTED))}, '1', now(3))"
    columns = f"{', '.join(INSERTED)}, resource_version, updated_at"
    return f"insert into {TABLE} ({columns}) values {', '.join([marks] * count)}"  # noqa: S608 - names only


def update(columns: Iterable[str]) -> str:
    """The statement that writes these columns, and then wants the row's id and the digest that was read."""
    changed = ", ".join(f"{column} = %s" for column in columns)
    guard = f"id = %s and {_DIGEST} = %s and {_MANAGED}"
    return f"update {TABLE} set {changed}, updated_at = now(3) where {guard}"  # noqa: S608 - names only


def beat(node: Node) -> tuple[str, list[Any]]:
    """The statement that sets the heartbeat of Ready alone in a row that is not ours, and its first values.

    It wants the next resource_version, the row's id and the digest that was read.
    """
    path = f"$.conditions[{node.ready_at}].lastHeartbeatTime"
    changed = "status = json_replace(status, %s, %s), resource_version = %s, updated_at = now(3)"
    guard = f"id = %s and {_DIGEST} = %s and not coalesce({_MANAGED}, false)"
    condition = node.manifest["status"]["conditions"][node.ready_at]
    return f"update {TABLE} set {changed} where {guard}", [path, condition["lastHeartbeatTime"]]  # noqa: S608


class Row(NamedTuple):
    """What SELECT finds."""

    id: int
    name: Any
    namespace: Any
    uid: Any
    resource_version: Any
    labels: Any
    annotations: Any
    created: Any
    deleted: int
    phase: Any
    spec: Any
    status: Any
    digest: str


def token(resource_version: object, digest: str) -> str:
    """The version of a row: "17-9f86d081884c7d65"."""
    return f"{'' if resource_version is None else resource_version}-{digest[:16]}"


def next_version(resource_version: object) -> str:
    """A number larger than the one that stands there; the Go programs write nanoseconds, and compare for equality."""
    text = str(resource_version)
    return str(int(text) + 1) if text.isascii() and text.isdecimal() and len(text) <= 100 else "1"


def read(name: str, rows: Iterable[Row]) -> Node | CorruptRecord | None:
    """What the rows of this name (none of them deleted) say; two that claim it are corrupt."""
    rows = list(rows)
    if len(rows) > 1:
        ids = ", ".join(str(row.id) for row in rows)
        return CorruptRecord(name, f"{len(rows)} rows have this name, with ids {ids}")
    try:
        return _node(name, rows[0]) if rows else None
    except CorruptRecord as error:
        return error


def by_name(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """Rows by their exact names, whatever the column's collation takes for equal."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(name_of(row.name), []).append(row)
    return found


def name_of(column: Any) -> str:
    """The name in a column, which may be one of bytes."""
    return column.decode(errors="backslashreplace") if isinstance(column, bytes) else str(column)


def is_text(name: str) -> bool:
    """Whether a column can hold it: no lone surrogate."""
    return not any("\ud800" <= character <= "\udfff" for character in name)


def columns(node: Node) -> dict[str, Any]:
    """The values to write, by column; ValueError when the table has no column for a part of the manifest."""
    manifest, metadata = node.manifest, node.manifest["metadata"]
    _refuse_others(manifest, _PARTS, "")
    _refuse_others(metadata, _METADATA, "metadata.")
    status = manifest.get("status") or {}
    return {
        "name": node.name,
        "namespace": _text(metadata, "namespace"),
        "uid": _text(metadata, "uid") or None,
        "created_at": _moment(metadata.get("creationTimestamp")),
        "phase": _text(status, "phase"),
        **{
            key: records.fragment(part[key]) if key in part else None
            for key, part in (("labels", metadata), ("annotations", metadata), ("spec", manifest), ("status", manifest))
        },
    }


def changes(have: Node, want: Mapping[str, Any]) -> dict[str, Any]:
    """Of the values to write those that differ from what is stored; uid and creation are set once and stay."""
    old = columns(have)
    changed = {key: want[key] for key in _OURS if want[key] != old[key]}
    return changed | {key: want[key] for key in _FIRST if old[key] is None and want[key] is not None}


def _node(name: str, row: Row) -> Node:
    texts = {"labels": row.labels, "annotations": row.annotations, "spec": row.spec, "status": row.status}
    size = sum(len(text) for text in texts.values() if text is not None)
    if size > records.LARGEST:
        raise CorruptRecord(name, f"{size} characters, more than {records.LARGEST}")
    parts = {key: records.parse(name, text) for key, text in texts.items() if text is not None}
    metadata: dict[str, Any] = {"name": name}
    metadata |= {key: value for key, value in (("namespace", row.namespace), ("uid", row.uid)) if value}
    if row.created and not row.created.startswith("0000"):
        metadata["creationTimestamp"] = row.created
    metadata |= {key: parts[key] for key in ("labels", "annotations") if key in parts}
    manifest: dict[str, Any] = {"apiVersion": "v1", "kind": "Node", "metadata": metadata}
    manifest |= {key: parts[key] for key in ("spec", "status") if key in parts}
    status = manifest.get("status")
    if row.phase and (status is None or (isinstance(status, dict) and status.get("phase") != row.phase)):
        manifest["status"] = {**(status or {}), "phase": row.phase}  # the Go programs believe the column too
    return Node.from_manifest(manifest, token(row.resource_version, row.digest), name)


def _refuse_others(part: Mapping[str, Any], known: Set[str], prefix: str) -> None:
    unknown = sorted(part.keys() - known)
    if unknown:
        raise ValueError(f"{prefix}{unknown[0]}: the table has no column for it")


def _text(part: Mapping[str, Any], key: str) -> str:
    value = part.get(key)
    if value is None or isinstance(value, str):
        return value or ""
    raise ValueError(f"{key}: expected a text")


def _moment(timestamp: Any) -> str | None:
    if not timestamp:
        return None
    wall = rfc3339.parse(timestamp)
    try:
        if wall is not None:
            return (_EPOCH + timedelta(seconds=wall)).isoformat(" ", "milliseconds")
    except OverflowError:
        pass
    raise ValueError("metadata.creationTimestamp: expected an RFC 3339 time")
