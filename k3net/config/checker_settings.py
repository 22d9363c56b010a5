"""The `checker` section: what the server expects of the agents, and what an agent does (spec/3-checker.md)."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from k3net.config.kinds import Duration, FilePath, IpAddress, Port, ServerUrl


class CheckerServerSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Off until the section stands in the file. Its routes join `api.listen`; a token of `token_files` is an agent's.

    `members` are servers that share this one's work, by URL; a name stands for every address it resolves to.
    """

    enabled: bool = False
    token_files: tuple[FilePath, ...] = ()
    expiry: Duration = Duration(15)
    report_interval: Duration = Duration(300)
    members: tuple[ServerUrl, ...] = ()


class CheckerAgentSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Off until the section stands in the file. An empty `service_name` tests no service."""

    enabled: bool = False
    server_url: ServerUrl = ServerUrl("")
    token_file: str = ""
    node_ip: IpAddress = IpAddress("")
    pod_ip: IpAddress = IpAddress("")
    pod_name: str = ""
    namespace: str = ""
    heartbeat: Duration = Duration(5)
    round: Duration = Duration(60)
    test_port: Port = 22
    client_port: Port = 6100
    service_name: str = ""
    service_port: Port = 80
    full_mesh_limit: Annotated[int, Meta(ge=1, le=10_000)] = 200
    neighbours: Annotated[int, Meta(ge=1, le=1000)] = 10
    packets_per_second: Annotated[int, Meta(ge=1, le=100_000)] = 2000


class CheckerSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`auth` none lets in agents without a token, as the Go programs are."""

    auth: Literal["token", "none"] = "token"
    server: CheckerServerSettings = CheckerServerSettings()
    agent: CheckerAgentSettings = CheckerAgentSettings()
