"""From file, environment and flags to Settings: a flag wins over the environment, the environment over the file."""

import socket
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from k3net.config.checker_names import from_checkers_environment
from k3net.config.checks import contradictions, doubts
from k3net.config.kinds import Duration, ListenAddress, NodeName
from k3net.config.read import from_consuls_environment, from_document, from_environment, from_flags
from k3net.config.settings import Settings, build
from k3net.config.strict_yaml import LONGEST, read_yaml
from k3net.errors import ConfigError


class Loaded(NamedTuple):
    """`warnings` are lines for the log; `origins` names the file, variable or flag of each setting that has one."""

    settings: Settings
    warnings: tuple[str, ...]
    origins: Mapping[str, str]


def config_path(named: "str | None", environ: Mapping[str, str]) -> "str | None":
    """The file to read: the one named, else `CONFIG_PATH`, else none."""
    return named or environ.get("CONFIG_PATH") or None


def load(
    path: "str | None",
    environ: Mapping[str, str],
    flags: Mapping[str, Any],
    *,
    hostname: Callable[[], str] = socket.gethostname,
) -> Loaded:
    """The settings in force; `path` None reads no file, and ConfigError names origin, dotted path and reason.

    `flags` has the texts of the command line under the keys of `read.FLAGS`, None for one that was not given.
    """
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    warnings: list[str] = []
    if path is not None:
        file = path if path.isprintable() else repr(path)
        values, warnings = from_document(read_yaml(_contents(path, file), file), file)
        origins = dict.fromkeys(values, file)
    from_variables, unknown = from_environment(environ)
    warnings += unknown
    given = {**from_variables, **from_flags(flags)}
    if given.get("consul.enabled", (values.get("consul.enabled"), ""))[0]:
        given = {**from_consuls_environment(environ), **given}
    given = {
        **from_checkers_environment(environ, {**values, **{path: value for path, (value, _) in given.items()}}),
        **given,
    }
    for setting, (value, origin) in given.items():
        values[setting] = value
        origins[setting] = origin
    if not values.get("node.name"):
        values["node.name"] = _own_name(hostname)
        origins["node.name"] = "hostname"
    for setting, (value, other) in _following(values).items():
        values[setting] = value
        origins[setting] = other
    settings = build(values)
    for paths, reason in contradictions(settings):
        raise ConfigError(paths[0], reason, next((origins[at] for at in paths if at in origins), ""))
    return Loaded(settings, (*warnings, *doubts(settings)), origins)


def _contents(path: str, origin: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(LONGEST + 1)
    except OSError as error:
        raise ConfigError("", (error.strerror or str(error)).lower(), origin) from None
    except ValueError:
        raise ConfigError("", "not a path", origin) from None


def _own_name(hostname: Callable[[], str]) -> NodeName:
    try:
        name = NodeName.read(hostname().lower())
        if not name:
            raise ValueError("this machine has none")
        return name
    except ValueError as error:
        raise ConfigError("node.name", f"{error}; set node.name, NODE_NAME or --node-name", "hostname") from None


def _following(values: Mapping[str, Any]) -> dict[str, tuple[Any, str]]:
    """The settings nobody gave that follow another one, with its name: a short `peer_ttl` is probed more often."""
    follows: dict[str, tuple[Any, str]] = {}
    if values.get("debug"):
        follows["log.level"] = ("debug", "debug")
    usual = Settings().liveness
    interval = values.get("liveness.probe_interval", usual.probe_interval)
    ttl = values.get("liveness.peer_ttl", usual.peer_ttl)
    if ttl / 3 < interval and "liveness.probe_interval" not in values:
        interval = Duration(ttl / 3)
        follows["liveness.probe_interval"] = (interval, "liveness.peer_ttl")
    if interval / 2 < usual.probe_timeout:
        follows["liveness.probe_timeout"] = (Duration(interval / 2), "liveness.probe_interval")
    if values.get("consul.enabled"):
        port = values.get("consul.service_port")
        if port:
            follows["listen"] = (ListenAddress(f":{port}"), "consul.service_port")
        elif port is None and "listen" in values:
            follows["consul.service_port"] = (values["listen"].port, "listen")
    return {setting: follow for setting, follow in follows.items() if setting not in values}
