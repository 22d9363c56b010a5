"""The kinds of setting: `read` takes what the file, a variable or a flag says; ValueError says what it expected."""

import ipaddress
import re
from typing import Annotated, Any, ClassVar
from urllib.parse import urlsplit

from msgspec import Meta

from k3net.model.duration import parse_duration
from k3net.model.observation import valid_name

Port = Annotated[int, Meta(ge=1, le=65535)]

_SHORTEST, _LONGEST = 0.01, 86_400.0
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_TYPE = re.compile(r"_(?=[a-z0-9-]*[a-z])(?!.*--)([a-z0-9](?:[a-z0-9-]{0,13}[a-z0-9])?)\._(?:tcp|udp)", re.I | re.A)
_DOMAIN_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", re.A)
_INTERFACE = re.compile(r"(?!\.{1,2}$)[^\s/:]{1,15}")
_TRUE = {"1", "t", "T", "TRUE", "true", "True", "on", "On", "ON", "yes", "Yes", "YES"}
_FALSE = {"0", "f", "F", "FALSE", "false", "False", "off", "Off", "OFF", "no", "No", "NO"}


def shown(raw: Any) -> str:
    """A value as an error message shows it: one line, and short."""
    text = repr(raw)
    return text if len(text) <= 50 else text[:47] + "..."


def text(raw: Any) -> str:
    """A text of one line; the value of a wrong one is not shown, for it may be a secret."""
    if isinstance(raw, (bool, int, float)):
        raise ValueError("expected a text, and this is a number or a truth value: put it in quotes")
    if not isinstance(raw, str):
        raise ValueError("expected a text")
    if _CONTROL.search(raw):
        raise ValueError("expected a text of one line, without control characters")
    return raw


def truth(raw: Any) -> bool:
    """YAML's true and false, and `on`, `off`, `yes` and `no` as Go's YAML reads them where a truth value is wanted."""
    if isinstance(raw, bool):
        return raw
    if isinstance(raw, str) and raw.lower() in ("on", "off", "yes", "no"):
        return truth_from_text(raw)
    raise ValueError(f"expected true or false, not {shown(raw)}")


def truth_from_text(raw: str) -> bool:
    """Go's `strconv.ParseBool`, and `on`, `off`, `yes`, `no`."""
    if raw in _TRUE or raw in _FALSE:
        return raw in _TRUE
    raise ValueError(f"expected true or false, not {shown(raw)}")


def whole_number(raw: Any) -> int:
    if isinstance(raw, int) and not isinstance(raw, bool):
        return raw
    raise ValueError(f"expected a whole number, not {shown(raw)}")


def number_from_text(raw: str) -> int:
    if re.fullmatch(r"[-+]?[0-9]{1,20}", raw, re.A):
        return int(raw)
    raise ValueError(f"expected a whole number, not {shown(raw)}")


class Duration(float):
    """Seconds, read from a Go duration."""

    schema: ClassVar[dict[str, Any]] = {
        "type": "string",
        "pattern": r"^\+?(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))+$",
        "examples": ["90s", "1m30s", "250ms"],
    }

    @classmethod
    def read(cls, raw: Any) -> "Duration":
        if not isinstance(raw, str):
            raise ValueError(f"expected a duration such as 90s, not {shown(raw)}")
        seconds = parse_duration(raw)
        if not _SHORTEST <= seconds <= _LONGEST:
            raise ValueError(f"expected a duration from 10ms to 24h, not {shown(raw)}")
        return cls(seconds)


class ListenAddress(str):
    """`host:port` to listen on; no host means every address of this machine, port 0 any free port."""

    __slots__ = ()
    schema: ClassVar[dict[str, Any]] = {"type": "string", "pattern": ":[0-9]{1,5}$", "examples": [":7946"]}

    @classmethod
    def read(cls, raw: Any) -> "ListenAddress":
        form = (
            re.fullmatch(r"(|localhost|[0-9.]+|\[[^\[\]]+\]):([0-9]{1,5})", raw, re.A) if isinstance(raw, str) else None
        )
        if form is None or int(form[2]) > 65535 or not _is_host(form[1]):
            raise ValueError(f"expected an address such as :7946, 127.0.0.1:8080 or [::1]:0, not {shown(raw)}")
        return cls(raw)

    @property
    def host(self) -> str:
        """An IP address without brackets, or "" for all; `localhost` is 127.0.0.1."""
        host = self.rpartition(":")[0].strip("[]")
        return "127.0.0.1" if host == "localhost" else host

    @property
    def port(self) -> int:
        return int(self.rpartition(":")[2])

    @property
    def on_loopback(self) -> bool:
        return self.host != "" and ipaddress.ip_address(self.host).is_loopback


def _is_host(host: str) -> bool:
    if host in ("", "localhost"):
        return True
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return (address.version == 6) == host.startswith("[")


class Secret(str):
    """A text that no dump and no repr shows."""

    __slots__ = ()
    schema: ClassVar[dict[str, Any]] = {"type": "string", "writeOnly": True}

    @classmethod
    def read(cls, raw: Any) -> "Secret":
        return cls(text(raw))

    def __repr__(self) -> str:
        return "'***'"


class NodeName(str):
    """A Node's name, or "" for this machine's hostname."""

    __slots__ = ()
    schema: ClassVar[dict[str, Any]] = {"type": "string", "maxLength": 253, "pattern": "^[a-z0-9.-]*$"}

    @classmethod
    def read(cls, raw: Any) -> "NodeName":
        if text(raw) and not valid_name(raw):
            raise ValueError(f"expected a DNS-1123 name (small letters, digits, '-' and '.'), not {shown(raw)}")
        return cls(raw)


class ServiceType(str):
    """A DNS-SD service type without a trailing dot (RFC 6763 section 7, RFC 6335 section 5.1)."""

    __slots__ = ()
    schema: ClassVar[dict[str, Any]] = {"type": "string", "pattern": r"^_[A-Za-z0-9-]{1,15}\._(tcp|udp)\.?$"}

    @classmethod
    def read(cls, raw: Any) -> "ServiceType":
        name = text(raw).removesuffix(".")
        if _TYPE.fullmatch(name) is None:
            raise ValueError(f"expected a DNS-SD service type such as _k3._tcp, not {shown(raw)}")
        return cls(name)


class Domain(str):
    """A DNS-SD domain in small letters, with its trailing dot."""

    __slots__ = ()
    schema: ClassVar[dict[str, Any]] = {"type": "string", "pattern": r"^[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*\.?$"}

    @classmethod
    def read(cls, raw: Any) -> "Domain":
        name = text(raw).removesuffix(".").lower()
        if len(name) > 240 or not all(_DOMAIN_LABEL.fullmatch(label) for label in name.split(".")):
            raise ValueError(f"expected a domain such as local., not {shown(raw)}")
        return cls(name + ".")


class Network(str):
    """A network in CIDR form, its host bits cleared."""

    __slots__ = ()
    schema: ClassVar[dict[str, Any]] = {"type": "string", "pattern": "^[0-9A-Fa-f.:]+/[0-9]{1,3}$"}

    @classmethod
    def read(cls, raw: Any) -> "Network":
        try:
            if not re.fullmatch(r"[0-9A-Fa-f.:]+/[0-9]{1,3}", text(raw), re.A):
                raise ValueError
            return cls(ipaddress.ip_network(raw, strict=False))
        except ValueError:
            raise ValueError(f"expected a network such as 192.168.1.0/24, not {shown(raw)}") from None


class InterfaceName(str):
    """A name Linux can give to a network interface."""

    __slots__ = ()
    schema: ClassVar[dict[str, Any]] = {"type": "string", "minLength": 1, "maxLength": 15}

    @classmethod
    def read(cls, raw: Any) -> "InterfaceName":
        if _INTERFACE.fullmatch(text(raw)) is None:
            raise ValueError(f"expected an interface name such as eth0, not {shown(raw)}")
        return cls(raw)


class FilePath(str):
    """The path of a file."""

    __slots__ = ()
    schema: ClassVar[dict[str, Any]] = {"type": "string", "minLength": 1}

    @classmethod
    def read(cls, raw: Any) -> "FilePath":
        if not text(raw):
            raise ValueError("expected a path")
        return cls(raw)


class ConsulAddress(str):
    """Where Consul's HTTP API is: `host:port`, also with `http://` or `https://` before it; no port means 8500."""

    __slots__ = ()
    _FORM = re.compile(r"(https?://)?([A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]+\])(?::([0-9]{1,5}))?/?", re.A)
    schema: ClassVar[dict[str, Any]] = {"type": "string", "examples": ["localhost:8500", "https://[::1]:8501"]}

    @classmethod
    def read(cls, raw: Any) -> "ConsulAddress":
        form = cls._FORM.fullmatch(text(raw))
        if form is None or not 0 < int(form[3] or 8500) < 65536 or (form[2].startswith("[") and not _is_host(form[2])):
            raise ValueError(f"expected an address such as localhost:8500 or https://[::1]:8501, not {shown(raw)}")
        return cls(raw)

    @property
    def url(self) -> str:
        """Without a slash at its end."""
        form = self._FORM.fullmatch(self)
        assert form is not None  # `read` saw to it
        return f"{form[1] or 'http://'}{form[2]}:{form[3] or 8500}"


class ConsulName(str):
    """The name of a service in Consul: letters, digits, `-`, `.` and `_`."""

    __slots__ = ()
    schema: ClassVar[dict[str, Any]] = {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,128}$"}

    @classmethod
    def read(cls, raw: Any) -> "ConsulName":
        if re.fullmatch(r"[A-Za-z0-9._-]{1,128}", text(raw), re.A) is None:
            raise ValueError(f"expected a service name such as k3-node, not {shown(raw)}")
        return cls(raw)


class Url(str):
    """An http or https URL of a server; it carries no user name or password, so it can be shown."""

    __slots__ = ()
    schema: ClassVar[dict[str, Any]] = {"type": "string", "pattern": "^https?://[^@]+$"}

    @classmethod
    def read(cls, raw: Any) -> "Url":
        try:
            parts = urlsplit(raw if isinstance(raw, str) and not re.search(r"[\s\x00-\x1f]", text(raw)) else "")
            usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        except ValueError:
            usable = False
        if not usable:
            raise ValueError("expected a URL such as http://127.0.0.1:2379")
        if "@" in raw:
            raise ValueError("expected a URL without a user name or password")
        return cls(raw)


class ServerUrl(str):
    """The Url of a server whose paths are ours, without a slash at its end; or "" for none."""

    __slots__ = ()
    schema: ClassVar[dict[str, Any]] = {"type": "string", "pattern": "^(https?://[^@?#]+)?$"}

    @classmethod
    def read(cls, raw: Any) -> "ServerUrl":
        if raw == "":
            return cls("")
        url = Url.read(raw)
        if "?" in url or "#" in url:
            raise ValueError("expected a URL without a query, such as http://checker:8080")
        return cls(url.rstrip("/"))


class IpAddress(str):
    """An IP address in its shortest form, or "" for none."""

    __slots__ = ()
    schema: ClassVar[dict[str, Any]] = {"type": "string", "pattern": "^[0-9A-Fa-f.:]*$"}

    @classmethod
    def read(cls, raw: Any) -> "IpAddress":
        try:
            if "%" in text(raw):
                raise ValueError
            return cls(ipaddress.ip_address(raw) if raw else "")
        except ValueError:
            raise ValueError(f"expected an IP address, not {shown(raw)}") from None
