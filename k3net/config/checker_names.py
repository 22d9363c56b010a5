"""The names that the Go server and client have for their settings; they count only where our section is on."""

from collections.abc import Callable, Mapping
from typing import Any

from k3net.config import kinds
from k3net.config.kinds import Duration, IpAddress, ListenAddress, ServerUrl
from k3net.config.settings import Settings
from k3net.errors import ConfigError

REQUIRED_OF_AGENTS = {
    "node_ip": "NODE_IP",
    "pod_ip": "POD_IP",
    "pod_name": "POD_NAME",
    "namespace": "NAMESPACE",
    "server_url": "SERVER_URL",
}
"""What an agent cannot do without: the key in `checker.agent`, and its variable."""


def _seconds(raw: str) -> Duration:
    number = int(raw) if raw.isascii() and raw.isdigit() and len(raw) < 6 else 0
    if not 1 <= number <= 86_400:
        raise ValueError(f"expected whole seconds from 1 to 86400, not {kinds.shown(raw)}")
    return Duration(number)


def _port(raw: str) -> int:
    number = int(raw) if raw.isascii() and raw.isdigit() and len(raw) < 6 else 0
    if not 1 <= number <= 65_535:
        raise ValueError(f"expected a port from 1 to 65535, not {kinds.shown(raw)}")
    return number


def _level(raw: str) -> str:
    if raw.lower() not in ("debug", "info", "warn", "error"):
        raise ValueError(f"expected one of debug, info, warn, error, not {kinds.shown(raw)}")
    return raw.lower()


_Names = Mapping[str, tuple[str, Callable[[str], Any]]]
_LEVEL: _Names = {"LOG_LEVEL": ("log.level", _level)}
_OF_SERVER: _Names = {
    "CACHE_KEY_SECOND": ("checker.server.expiry", _seconds),
    "REPORT_INTERVAL": ("checker.server.report_interval", _seconds),
    "HTTP_PORT": ("api.listen", _port),
}
_OF_AGENT: _Names = {
    "NODE_IP": ("checker.agent.node_ip", IpAddress.read),
    "POD_IP": ("checker.agent.pod_ip", IpAddress.read),
    "POD_NAME": ("checker.agent.pod_name", kinds.text),
    "NAMESPACE": ("checker.agent.namespace", kinds.text),
    "SERVER_URL": ("checker.agent.server_url", ServerUrl.read),
    "HEARTBEAT_INTERVAL": ("checker.agent.heartbeat", _seconds),
    "TEST_PORT": ("checker.agent.test_port", _port),
    "CLIENT_PORT": ("checker.agent.client_port", _port),
    "CUSTOM_SERVICE_NAME": ("checker.agent.service_name", kinds.text),
    "CUSTOM_SERVICE_PORT": ("checker.agent.service_port", _port),
}


def from_checkers_environment(environ: Mapping[str, str], values: Mapping[str, Any]) -> "dict[str, tuple[Any, str]]":
    """The values in the variables of spec/3-checker.md; `values` says which role is on. Empty is unset; ConfigError.

    `HTTP_PORT` is the port of `api.listen`, whose host stays.
    """
    names: dict[str, tuple[str, Callable[[str], Any]]] = {}
    for role, known in (("server", _OF_SERVER), ("agent", _OF_AGENT)):
        if values.get(f"checker.{role}.enabled"):
            names |= {**known, **_LEVEL}
    found = {}
    for name, (path, read) in names.items():
        if not environ.get(name):
            continue
        try:
            value = read(environ[name])
        except ValueError as error:
            raise ConfigError(path, str(error), name) from None
        if name == "HTTP_PORT":
            host = values.get(path, Settings().api.listen).rpartition(":")[0]
            value = ListenAddress(f"{host}:{value}")
        found[path] = (value, name)
    return found
