"""The settings of the section `clusters`: names and values of the configuration file, durations in seconds."""

from typing import Annotated, Any, ClassVar, Literal

from msgspec import Meta, Struct

from k3net.config.kinds import Domain, Duration, FilePath, ListenAddress


class InternalAddress(ListenAddress):
    """A ListenAddress, or "" for none."""

    __slots__ = ()
    schema: ClassVar[dict[str, Any]] = {"type": "string", "pattern": "^$|:[0-9]{1,5}$", "examples": [":8081"]}

    @classmethod
    def read(cls, raw: Any) -> "InternalAddress":
        return cls("" if raw == "" else ListenAddress.read(raw))


class Allowance(str):
    """What a kubeconfig may hold that is refused by default: it acts on the machine of k3net, or trusts too much."""

    __slots__ = ()
    schema: ClassVar[dict[str, Any]] = {
        "enum": ["exec", "auth-provider", "files", "proxy-url", "insecure-skip-tls-verify", "impersonation"]
    }

    @classmethod
    def read(cls, raw: Any) -> "Allowance":
        if raw not in cls.schema["enum"]:
            raise ValueError(f"expected one of {', '.join(cls.schema['enum'])}")
        return cls(raw)


class InstancesSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How the other instances are found: by the `first` method that yields one, or by all, `merge`d."""

    discovery: Literal["first", "merge"] = "first"
    domain: Domain = Domain("cluster.local.")


class ClustersSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Off until the section stands in the file.

    `token_files` are for users, `internal_token_files` for the instances among themselves, where a certificate of
    `internal_ca` will do, too; with an `internal_server_name` the certificate of each is to be for that name, and not
    for the address at which it was found. Of `key_files` the first key encrypts, and all decrypt.
    """

    enabled: bool = False
    token_files: tuple[FilePath, ...] = ()
    internal_listen: InternalAddress = InternalAddress("")
    internal_token_files: tuple[FilePath, ...] = ()
    internal_ca: str = ""
    internal_cert: str = ""
    internal_key: str = ""
    internal_server_name: str = ""
    key_files: tuple[FilePath, ...] = ()
    allow: tuple[Allowance, ...] = ()
    instances: InstancesSettings = InstancesSettings()
    fan_out: Annotated[int, Meta(ge=1, le=1000)] = 10
    timeout: Duration = Duration(5)
    catch_up: Duration = Duration(60)
    check_interval: Duration = Duration(60)
    check_timeout: Duration = Duration(5)
