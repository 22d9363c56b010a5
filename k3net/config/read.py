"""One source of settings (a YAML document, the environment, the flags) becomes values by dotted path."""

import re
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Annotated, Any, Literal, get_args, get_origin

import msgspec
from msgspec import Meta

from k3net.config import kinds
from k3net.config.network_settings import NetworkSettings, in_chart_values
from k3net.config.settings import Settings, is_section, leaves
from k3net.errors import ConfigError

FLAGS = {
    "listen": "listen",
    "service": "mdns.service",
    "domain": "mdns.domain",
    "node_name": "node.name",
    "peer_ttl": "liveness.peer_ttl",
    "register_self": "node.register_self",
    "consul_addr": "consul.addr",
    "consul_token": "consul.token",
    "service_name": "consul.service_name",
    "service_id": "consul.service_id",
    "service_port": "consul.service_port",
    "watch_interval": "consul.watch_interval",
    "health_check_interval": "consul.health_check_interval",
    "health_check_timeout": "consul.health_check_timeout",
    "deregister_after": "consul.deregister_after",
}
"""The key of each flag that sets something, and what it sets."""

OFF = ("consul", "checker.server", "checker.agent", "clusters")
"""Sections that are off until they stand in the file, also when empty there, or a flag sets one of their keys."""

_CONSULS_OWN = {"CONSUL_HTTP_ADDR": "consul.addr", "CONSUL_HTTP_TOKEN": "consul.token"}
_READERS: dict[Any, Any] = {bool: kinds.truth, int: kinds.whole_number, str: kinds.text}
_TEXT_READERS: dict[Any, Any] = {bool: kinds.truth_from_text, int: kinds.number_from_text}
_ENVIRONMENT = {"K3NET_" + leaf.path.upper().replace(".", "_"): leaf for leaf in leaves()}
_OF_OTHERS = re.compile(
    r"K3NET_(ADDR|TOKEN_FILE)|K3NET_(\w+_)?(SERVICE_(HOST|PORT(_\w+)?)|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)"
)
"""What the command line tool reads, and what Kubernetes sets for a Service whose name begins with `k3net`."""


def from_document(document: Any, origin: str) -> tuple[dict[str, Any], list[str]]:
    """The values in a document, and a warning that lists the sections of other programs."""
    if document is None:
        return {}, []
    if not isinstance(document, dict):
        raise ConfigError("", "expected a mapping of sections", origin)
    known = {field.name for field in msgspec.structs.fields(Settings)}
    others = [key for key in document if key not in known]
    for key in others:
        if near := get_close_matches(key.lower(), known, 1, 0.8):
            raise ConfigError(_name(key), f"unknown key; did you mean {near[0]}?", origin)
    values: dict[str, Any] = {}
    _read_section(Settings, {key: value for key, value in document.items() if key in known}, "", origin, values)
    of_chart = in_chart_values(document, origin)
    if of_chart is not None:
        others.remove("config")
        said: dict[str, Any] = {}
        _read_section(NetworkSettings, of_chart, "config.network.", origin, said)
        values |= {path.removeprefix("config."): value for path, value in said.items()}
    for section in OFF:
        if _stands(section, document):
            values.setdefault(f"{section}.enabled", True)
    names = ", ".join(_name(key) for key in others[:20]) + (", ..." if len(others) > 20 else "")
    return values, [f"{origin}: not for k3net, ignored: {names}"] if others else []


def _stands(section: str, document: Any) -> bool:
    for key in section.split("."):
        if not isinstance(document, dict) or key not in document:
            return False
        document = document[key]
    return True


def _read_section(section: Any, raw: dict[str, Any], prefix: str, origin: str, values: dict[str, Any]) -> None:
    kind_of = {field.name: field.type for field in msgspec.structs.fields(section)}
    for key, value in raw.items():
        path = prefix + key
        if key not in kind_of:
            known = {name.lower(): name for name in kind_of}
            near = get_close_matches(key.lower(), known, 1)
            hint = f"did you mean {known[near[0]]}?" if near else f"known here: {', '.join(kind_of)}"
            raise ConfigError(prefix + _name(key), f"unknown key; {hint}", origin)
        if value is None:
            continue
        if not is_section(kind_of[key]):
            values[path] = _read(kind_of[key], value, path, origin)
        elif isinstance(value, dict):
            _read_section(kind_of[key], value, path + ".", origin, values)
        else:
            raise ConfigError(path, f"expected a section, not {kinds.shown(value)}", origin)


def from_environment(environ: Mapping[str, str]) -> tuple[dict[str, tuple[Any, str]], list[str]]:
    """The values in `K3NET_<SECTION>_<KEY>` with their variables; a warning listing unknown ones; empty is unset."""
    values = {}
    unknown = []
    for name in sorted(environ):
        if name in _ENVIRONMENT:
            leaf = _ENVIRONMENT[name]
            if environ[name]:
                values[leaf.path] = (_read_text(leaf.kind, environ[name], leaf.path, name), name)
        elif name.startswith("K3NET_") and not _OF_OTHERS.fullmatch(name):
            near = get_close_matches(name, _ENVIRONMENT, 1, 0.8)
            unknown.append(_name(name) + (f" (did you mean {near[0]}?)" if near else ""))
    if "node.name" not in values and environ.get("NODE_NAME"):
        values["node.name"] = (_read(kinds.NodeName, environ["NODE_NAME"], "node.name", "NODE_NAME"), "NODE_NAME")
    return values, [f"environment: not a setting, ignored: {', '.join(unknown)}"] if unknown else []


def from_flags(flags: Mapping[str, Any]) -> dict[str, tuple[Any, str]]:
    """The values of the flags that were given, as texts of the command line; None is a flag that was not."""
    kind_of = {leaf.path: leaf.kind for leaf in leaves()}
    values = {}
    for key, path in FLAGS.items():
        if flags.get(key) is not None:
            origin = "--" + key.replace("_", "-")
            values[path] = (_read_text(kind_of[path], flags[key], path, origin), origin)
            section = path.partition(".")[0]
            if section in OFF:
                values.setdefault(f"{section}.enabled", (True, origin))
    if flags.get("no_mdns"):
        values["mdns.enabled"] = (False, "--no-mdns")
    return values


def from_consuls_environment(environ: Mapping[str, str]) -> dict[str, tuple[Any, str]]:
    """What the variables of Consul's own tools say; empty is unset."""
    kind_of = {leaf.path: leaf.kind for leaf in leaves()}
    return {
        path: (_read(kind_of[path], environ[name], path, name), name)
        for name, path in _CONSULS_OWN.items()
        if environ.get(name)
    }


def _read_text(kind: Any, raw: str, path: str, origin: str) -> Any:
    """A setting written as one text: numbers and truth values without YAML's rules, lists with commas."""
    if get_origin(kind) is tuple:
        return _read(kind, [item.strip() for item in raw.split(",") if item.strip()], path, origin)
    base = get_args(kind)[0] if get_origin(kind) is Annotated else kind
    if base in _TEXT_READERS:
        try:
            return _read(kind, _TEXT_READERS[base](raw), path, origin)
        except ValueError as error:
            raise ConfigError(path, str(error), origin) from None
    return _read(kind, raw, path, origin)


def _read(kind: Any, raw: Any, path: str, origin: str) -> Any:
    shape = get_origin(kind)
    if shape is tuple:
        if not isinstance(raw, list):
            raise ConfigError(path, "expected a list", origin)
        return tuple(_read(get_args(kind)[0], item, f"{path}[{at}]", origin) for at, item in enumerate(raw))
    try:
        if shape is Literal:
            if raw not in get_args(kind):
                raise ValueError(f"expected one of {', '.join(get_args(kind))}, not {kinds.shown(raw)}")
            return raw
        if shape is Annotated:
            base, bounds = get_args(kind)
            return _bounded(_READERS[base](raw), bounds)
        return (_READERS.get(kind) or kind.read)(raw)
    except ValueError as error:
        raise ConfigError(path, str(error), origin) from None


def _bounded(number: int, bounds: Meta) -> int:
    if bounds.ge is not None and bounds.le is not None and not bounds.ge <= number <= bounds.le:
        raise ValueError(f"expected a number from {bounds.ge} to {bounds.le}, not {kinds.shown(number)}")
    return number


def _name(key: str) -> str:
    """A key of the user's as a message shows it: as it is, if it looks like one."""
    return key if re.fullmatch(r"[\w.-]{1,60}", key) else kinds.shown(key)
