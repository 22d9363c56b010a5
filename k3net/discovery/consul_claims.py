"""From an answer of Consul to what it claims of each machine (spec/2-consul.md); pure."""

from collections.abc import Iterable
from dataclasses import dataclass

from k3net.discovery.consul_api import Check, Entry
from k3net.model.observation import usable_address, valid_name

_LONGEST_MESSAGE = 255
_NODE_MAINTENANCE = "_node_maintenance"
_SERVICE_MAINTENANCE = "_service_maintenance:"


@dataclass(frozen=True, slots=True)
class Claim:
    """What Consul says of one machine: the instance of it that counts, and `others`, which name the same one."""

    name: str
    service_id: str
    ready: bool
    message: str
    addresses: tuple[str, ...]
    port: int
    hostname: str
    pid: str
    others: tuple[str, ...] = ()


def claims(entries: Iterable[Entry], service_name: str, own_id: str = "") -> tuple[dict[str, Claim], int]:
    """The claims by Node name, and how many instances name no Node.

    Of several instances that name the same Node `own_id` counts, else one that is ready, else the one registered last.
    """

    def rank(entry: Entry) -> tuple[bool, bool, int, str, str]:
        service = entry.service
        return service.id == own_id, is_ready(entry.checks), service.modified, service.id, entry.node.name

    chosen: dict[str, Entry] = {}
    others: dict[str, list[Entry]] = {}
    unnamed = 0
    for entry in entries:
        name = node_name(entry, service_name)
        if not name:
            unnamed += 1
            continue
        before = chosen.get(name)
        if before is None:
            chosen[name] = entry
            continue
        last, first = (entry, before) if rank(entry) > rank(before) else (before, entry)
        chosen[name] = last
        others.setdefault(name, []).append(first)
    return {name: _claim(name, entry, others.get(name, ())) for name, entry in chosen.items()}, unnamed


def node_name(entry: Entry, service_name: str) -> str:
    """Meta `node`, else the service's id without its `<service>-`, else Consul's node; "" when that is no Node name."""
    service = entry.service
    name = (service.meta or {}).get("node", "").strip()
    if not name and service.id.startswith(service_name + "-"):
        name = service.id[len(service_name) + 1 :]
    name = name or entry.node.name.lower()
    return name if valid_name(name) else ""


def is_ready(checks: "Iterable[Check] | None") -> bool:
    """No check is critical; a warning is ready."""
    return all(check.status != "critical" for check in checks or ())


def verdict(checks: "Iterable[Check] | None") -> str:
    """What the checks say, in one short line that changes only when one of them changes its status."""
    listed = sorted(checks or (), key=lambda check: check.id)
    critical = [_named(check) for check in listed if check.status == "critical"]
    warning = [_named(check) for check in listed if check.status == "warning"]
    if critical:
        return _line(f"critical in Consul: {', '.join(critical)}")
    if warning:
        return _line(f"warning in Consul: {', '.join(warning)}")
    return "passing in Consul" if listed else "registered in Consul, without checks"


def _named(check: Check) -> str:
    if check.id == _NODE_MAINTENANCE or check.id.startswith(_SERVICE_MAINTENANCE):
        whose = "node" if check.id == _NODE_MAINTENANCE else "service"
        return f"{whose} maintenance" + (f" ({check.notes})" if check.notes else "")
    return check.name or check.id


def _claim(name: str, entry: Entry, others: Iterable[Entry]) -> Claim:
    service = entry.service
    address = usable_address(service.address or entry.node.address)
    pid = (service.meta or {}).get("pid", "").strip()
    return Claim(
        name=name,
        service_id=service.id,
        ready=is_ready(entry.checks),
        message=verdict(entry.checks),
        addresses=() if address is None else (str(address),),
        port=service.port if 0 < service.port <= 65535 else 0,
        hostname=_line(entry.node.name),
        pid=pid if pid.isascii() and pid.isdecimal() and len(pid) <= 10 else "",
        others=tuple(
            f"{_line(other.service.id)} on {_line(other.node.name)}" for other in others if is_ready(other.checks)
        ),
    )


def _line(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text)[:_LONGEST_MESSAGE]
