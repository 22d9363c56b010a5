"""The settings of the daemon with their defaults: names and values of the configuration file, durations in seconds."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import msgspec
from msgspec import Meta, Struct

from k3net.config.blackbox_settings import BlackboxSettings
from k3net.config.checker_settings import CheckerSettings
from k3net.config.clusters_settings import ClustersSettings
from k3net.config.kinds import (
    ConsulAddress,
    ConsulName,
    Domain,
    Duration,
    FilePath,
    InterfaceName,
    ListenAddress,
    Network,
    NodeName,
    Port,
    Secret,
    ServiceType,
    Url,
)
from k3net.config.network_settings import NetworkSettings


class StoreType(str):
    """Which store holds the Nodes."""

    __slots__ = ()
    schema: ClassVar[dict[str, Any]] = {"enum": ["memory", "sqlite", "mysql", "etcd"]}

    @classmethod
    def read(cls, raw: Any) -> "StoreType":
        if raw not in cls.schema["enum"]:
            raise ValueError(f"expected one of {', '.join(cls.schema['enum'])}")
        return cls(raw)


class NodeSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The own Node. `goodbye` off keeps it Ready over a restart."""

    name: NodeName = NodeName("")
    register_self: bool = True
    heartbeat: Duration = Duration(30)
    goodbye: bool = True


class ApiSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    listen: ListenAddress = ListenAddress("127.0.0.1:8080")
    auth: Literal["token", "none"] = "token"
    token_files: tuple[FilePath, ...] = ()


class SqliteSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    path: FilePath = FilePath("var/k3net.db")


class MysqlSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`ca`, `cert` and `key` are PEM files, ours beside the keys of the Go programs; only those have a pool."""

    host: str = "localhost"
    port: Port = 3306
    user: str = "root"
    password: Secret = Secret("password")
    database: str = "k3"
    max_open_conns: Annotated[int, Meta(ge=0, le=1000)] = 10
    max_idle_conns: Annotated[int, Meta(ge=0, le=1000)] = 5
    ca: str = ""
    cert: str = ""
    key: str = ""


class EtcdSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`ca`, `cert` and `key` are PEM files, ours beside the Go programs' keys; an empty `ca` is the system's list."""

    endpoints: tuple[Url, ...] = (Url("http://127.0.0.1:2379"),)
    dial_timeout: Duration = Duration(5)
    username: str = ""
    password: Secret = Secret("")
    ca: str = ""
    cert: str = ""
    key: str = ""


class StorageSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Spelt as the Go programs spell it, so that one file serves both."""

    type: StoreType = StoreType("sqlite")
    sqlite: SqliteSettings = SqliteSettings()
    mysql: MysqlSettings = MysqlSettings()
    etcd: EtcdSettings = EtcdSettings()


class MdnsSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Empty `interfaces`: all that are up and can multicast. Empty `allowed_cidrs`: the networks of this machine."""

    enabled: bool = True
    interfaces: tuple[InterfaceName, ...] = ()
    service: ServiceType = ServiceType("_k3._tcp")
    domain: Domain = Domain("local.")
    allowed_cidrs: tuple[Network, ...] = ()


class ConsulSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Off until the section stands in the file or a flag asks for it. Port 0: the one that `listen` has.

    `tags` are this machine's, `only_tags` those that another must have to count.
    """

    enabled: bool = False
    addr: ConsulAddress = ConsulAddress("localhost:8500")
    token: Secret = Secret("")
    token_file: str = ""
    ca: str = ""
    cert: str = ""
    key: str = ""
    datacenter: str = ""
    namespace: str = ""
    service_name: ConsulName = ConsulName("k3-node")
    service_id: str = ""
    service_port: Annotated[int, Meta(ge=0, le=65535)] = 7946
    tags: tuple[str, ...] = ()
    only_tags: tuple[str, ...] = ()
    watch_interval: Duration = Duration(15)
    health_check_interval: Duration = Duration(10)
    health_check_timeout: Duration = Duration(3)
    deregister_after: Duration = Duration(30)


class LivenessSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    peer_ttl: Duration = Duration(90)
    probe_interval: Duration = Duration(15)
    probe_timeout: Duration = Duration(0.7)
    max_in_flight: Annotated[int, Meta(ge=1, le=10_000)] = 256


class ReconcileSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    interval: Duration = Duration(1)
    report_every: Duration = Duration(60)
    brake: bool = True


class MetricsSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    enabled: bool = True


class LogSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Empty `path`: where twistd logs."""

    level: Literal["trace", "debug", "info", "warn", "error"] = "info"
    format: Literal["text", "json"] = "text"
    path: str = ""


class Settings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Everything that can be set; `load` resolves `node.name`."""

    debug: bool = False
    node: NodeSettings = NodeSettings()
    listen: ListenAddress = ListenAddress(":7946")
    api: ApiSettings = ApiSettings()
    storage: StorageSettings = StorageSettings()
    mdns: MdnsSettings = MdnsSettings()
    consul: ConsulSettings = ConsulSettings()
    liveness: LivenessSettings = LivenessSettings()
    reconcile: ReconcileSettings = ReconcileSettings()
    network: NetworkSettings = NetworkSettings()
    checker: CheckerSettings = CheckerSettings()
    clusters: ClustersSettings = ClustersSettings()
    blackbox: BlackboxSettings = BlackboxSettings()
    metrics: MetricsSettings = MetricsSettings()
    log: LogSettings = LogSettings()


class Leaf(NamedTuple):
    """One setting: `liveness.peer_ttl`, its annotation, and its default."""

    path: str
    kind: Any
    default: Any


def is_section(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Struct)


def leaves(section: type[Struct] = Settings, prefix: str = "") -> Iterator[Leaf]:
    """Every setting, in the order of the file."""
    for field in msgspec.structs.fields(section):
        path = prefix + field.name
        if is_section(field.type):
            yield from leaves(field.type, path + ".")
        else:
            yield Leaf(path, field.type, field.default)


def build(values: Mapping[str, Any], section: Any = Settings, prefix: str = "") -> Any:
    """The tree with the values at their dotted paths, and defaults where there is none."""
    return section(
        **{
            field.name: build(values, field.type, prefix + field.name + ".")
            if is_section(field.type)
            else values.get(prefix + field.name, field.default)
            for field in msgspec.structs.fields(section)
        }
    )


def flat(settings: Settings) -> dict[str, Any]:
    """The value of every setting by its dotted path."""
    values = {}
    for leaf in leaves():
        value: Any = settings
        for name in leaf.path.split("."):
            value = getattr(value, name)
        values[leaf.path] = value
    return values
