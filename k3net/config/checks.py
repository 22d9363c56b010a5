"""What settings may not say together, each fine by itself."""

from collections.abc import Iterator
from typing import NamedTuple

from k3net.config.checker_names import REQUIRED_OF_AGENTS
from k3net.config.clusters_settings import ClustersSettings
from k3net.config.kinds import ListenAddress
from k3net.config.settings import ConsulSettings, EtcdSettings, MysqlSettings, Settings
from k3net.model.duration import format_duration


class Contradiction(NamedTuple):
    """`paths` are the settings it takes, the one to change first."""

    paths: tuple[str, ...]
    reason: str


def contradictions(settings: Settings) -> Iterator[Contradiction]:
    """Each pair of settings that cannot both hold."""
    liveness = settings.liveness
    if liveness.probe_timeout >= liveness.probe_interval:
        yield Contradiction(
            ("liveness.probe_timeout", "liveness.probe_interval"),
            f"{format_duration(liveness.probe_timeout)} is not shorter than"
            f" liveness.probe_interval ({format_duration(liveness.probe_interval)})",
        )
    if liveness.probe_interval >= liveness.peer_ttl:
        yield Contradiction(
            ("liveness.probe_interval", "liveness.peer_ttl"),
            f"{format_duration(liveness.probe_interval)} is not shorter than liveness.peer_ttl"
            f" ({format_duration(liveness.peer_ttl)}), so peers would lapse between two probes",
        )
    if settings.reconcile.report_every < settings.reconcile.interval:
        yield Contradiction(
            ("reconcile.report_every", "reconcile.interval"),
            f"{format_duration(settings.reconcile.report_every)} is shorter than"
            f" reconcile.interval ({format_duration(settings.reconcile.interval)})",
        )
    api = settings.api
    if not api.listen.on_loopback and api.auth == "token" and not api.token_files:
        yield Contradiction(
            ("api.token_files", "api.listen", "api.auth"),
            f"api.listen is {api.listen}, which other machines reach: name a token file, or say api.auth: none",
        )
    hosts = {api.listen.host, settings.listen.host}
    if api.listen.port == settings.listen.port != 0 and (len(hosts) == 1 or "" in hosts):
        yield Contradiction(("api.listen", "listen"), f"{api.listen} is taken by listen ({settings.listen})")
    if settings.storage.type == "mysql":
        yield from _of_mysql(settings.storage.mysql)
    if settings.storage.type == "etcd":
        yield from _of_etcd(settings.storage.etcd)
    if settings.consul.enabled:
        yield from _of_consul(settings.consul)
    if settings.clusters.enabled:
        yield from _of_clusters(settings.clusters, {"listen": settings.listen, "api.listen": api.listen})
    yield from _of_checker(settings)
    if settings.mdns.enabled and len(settings.node.name) > 63:
        yield Contradiction(
            ("node.name", "mdns.enabled"),
            "longer than 63 characters, the most a DNS-SD instance can have (RFC 6763 section 4.1.1)",
        )


def _of_mysql(mysql: MysqlSettings) -> Iterator[Contradiction]:
    for name in ("host", "user", "database"):
        if not getattr(mysql, name):
            yield Contradiction((f"storage.mysql.{name}", "storage.type"), "is empty")
    if bool(mysql.cert) != bool(mysql.key):
        with_it, lacking = ("cert", "key") if mysql.cert else ("key", "cert")
        yield Contradiction(
            (f"storage.mysql.{lacking}", f"storage.mysql.{with_it}"), f"is missing beside storage.mysql.{with_it}"
        )


def _of_etcd(etcd: EtcdSettings) -> Iterator[Contradiction]:
    if not etcd.endpoints:
        yield Contradiction(("storage.etcd.endpoints", "storage.type"), "expected at least one URL")
    if bool(etcd.cert) != bool(etcd.key):
        with_it, lacking = ("cert", "key") if etcd.cert else ("key", "cert")
        yield Contradiction(
            (f"storage.etcd.{lacking}", f"storage.etcd.{with_it}"), f"is missing beside storage.etcd.{with_it}"
        )
    plain = next((endpoint for endpoint in etcd.endpoints if not endpoint.startswith("https:")), None)
    if plain is not None and (etcd.ca or etcd.cert):
        named = "ca" if etcd.ca else "cert"
        yield Contradiction(
            ("storage.etcd.endpoints", f"storage.etcd.{named}"),
            f"{plain} is not https, and storage.etcd.{named} is for TLS",
        )


def _of_consul(consul: ConsulSettings) -> Iterator[Contradiction]:
    if bool(consul.cert) != bool(consul.key):
        with_it, lacking = ("cert", "key") if consul.cert else ("key", "cert")
        yield Contradiction((f"consul.{lacking}", f"consul.{with_it}"), f"is missing beside consul.{with_it}")
    if (consul.ca or consul.cert) and not consul.addr.url.startswith("https:"):
        named = "ca" if consul.ca else "cert"
        yield Contradiction(
            ("consul.addr", f"consul.{named}"), f"{consul.addr} is not https, and consul.{named} is for TLS"
        )


def _of_clusters(clusters: ClustersSettings, taken: "dict[str, ListenAddress]") -> Iterator[Contradiction]:
    listen = clusters.internal_listen
    if listen and not (clusters.internal_token_files or clusters.internal_ca):
        yield Contradiction(
            ("clusters.internal_token_files", "clusters.internal_listen"),
            "what clusters.internal_listen serves is for other instances only: name a token file, or"
            " clusters.internal_ca for their certificates",
        )
    if clusters.internal_ca and not clusters.internal_cert:
        yield Contradiction(
            ("clusters.internal_cert", "clusters.internal_ca"), "is missing beside clusters.internal_ca"
        )
    if bool(clusters.internal_cert) != bool(clusters.internal_key):
        with_it, lacking = ("cert", "key") if clusters.internal_cert else ("key", "cert")
        yield Contradiction(
            (f"clusters.internal_{lacking}", f"clusters.internal_{with_it}"),
            f"is missing beside clusters.internal_{with_it}",
        )
    if clusters.internal_server_name and not clusters.internal_cert:
        yield Contradiction(
            ("clusters.internal_cert", "clusters.internal_server_name"),
            "is missing beside clusters.internal_server_name",
        )
    for name, other in taken.items() if listen else ():
        if other.port == listen.port != 0 and (other.host == listen.host or "" in (other.host, listen.host)):
            yield Contradiction(("clusters.internal_listen", name), f"{listen} is taken by {name} ({other})")


def _of_checker(settings: Settings) -> Iterator[Contradiction]:
    checker, api = settings.checker, settings.api
    guarded = checker.auth == "token" and not api.listen.on_loopback
    if checker.server.enabled and guarded and not (checker.server.token_files or api.token_files):
        yield Contradiction(
            ("checker.server.token_files", "checker.server.enabled", "checker.auth"),
            f"agents report to {api.listen}: name a token file, or say checker.auth: none",
        )
    for at, url in enumerate(checker.server.members):
        if checker.server.enabled and not url.startswith("http://"):
            yield Contradiction(
                (f"checker.server.members[{at}]", "checker.server.members"),
                f"servers speak http to each other, not {url.partition(':')[0] or 'nothing'}",
            )
    missing = [key for key in REQUIRED_OF_AGENTS if not getattr(checker.agent, key)]
    if checker.agent.enabled and missing:
        names = ", ".join(f"{key} ({REQUIRED_OF_AGENTS[key]})" for key in missing)
        yield Contradiction(("checker.agent", "checker.agent.enabled"), f"missing: {names}")


def doubts(settings: Settings) -> Iterator[str]:
    """What is allowed and hardly meant, a line each."""
    checker = settings.checker
    if checker.server.enabled and checker.agent.enabled and checker.agent.heartbeat >= checker.server.expiry:
        yield (
            f"checker.agent.heartbeat ({format_duration(checker.agent.heartbeat)}) is not below checker.server.expiry"
            f" ({format_duration(checker.server.expiry)}): agents will seem gone between two heartbeats"
        )
