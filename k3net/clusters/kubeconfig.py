"""A kubeconfig (clientcmd v1): read, and refused when it is none, or would have this machine do what it says."""

import re
from base64 import b64decode
from binascii import Error as NotBase64
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

from k3net.config.kinds import shown
from k3net.config.strict_yaml import read_yaml
from k3net.credentials import client_tls
from k3net.errors import BadRequest, ConfigError

LARGEST = 128 << 10
"""Bytes; a kubeconfig of one cluster has about ten thousand."""

_MOST_ENTRIES = 100
_TOKEN = re.compile(r"[\x21-\x7e]{1,16384}")
_CLUSTER_FILES = {"certificate-authority": "certificate-authority-data"}
_USER_FILES = {
    "client-certificate": "client-certificate-data",
    "client-key": "client-key-data",
    "tokenFile": "token",
}
_IMPERSONATION = ("as", "as-uid", "as-groups", "as-user-extra")


class BadKubeconfig(BadRequest):
    """What is no kubeconfig, lacks something, or has what is not allowed: the text says what, and quotes no secret."""


@dataclass(frozen=True, repr=False)
class Kubeconfig:
    """What the current context of a kubeconfig says: where the API server is, how it is believed, and who asks.

    `ca`, `certificate` and `key` are PEM texts, b"" for none; `files` are those to be read instead, by field.
    `impersonate` are headers, by name. `foreign` names what k3net keeps but does not do itself: `exec`, `proxy-url`.
    """

    server: str
    server_name: str = ""
    verify: bool = True
    ca: bytes = b""
    certificate: bytes = b""
    key: bytes = b""
    token: str = ""
    username: str = ""
    password: str = ""
    files: tuple[tuple[str, str], ...] = ()
    impersonate: tuple[tuple[str, str], ...] = ()
    foreign: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"Kubeconfig({self.server!r}, ***)"


def read_kubeconfig(text: str, allow: Collection[str] = ()) -> Kubeconfig:
    """The current context of this text; BadKubeconfig.

    `allow` has names of `clusters.allow`; what is not allowed is refused in every entry, also in one that is not used.
    Takes up to a second of processor time for the worst text of LARGEST bytes: call it in a thread.
    """
    top = _mapping(_document(text), "the kubeconfig")
    for field, wanted in (("kind", "Config"), ("apiVersion", "v1")):
        if top.get(field) not in (None, "", wanted):
            raise BadKubeconfig(f"{field} is not {wanted}")
    clusters, users, contexts = (_entries(top, kind) for kind in ("cluster", "user", "context"))
    for name, cluster in clusters.items():
        _check_cluster(cluster, f"cluster {shown(name)}", allow)
    for name, user in users.items():
        _check_user(user, f"user {shown(name)}", allow)
    context = _named(contexts, _text(top, "current-context", "the kubeconfig"), "context", "current-context")
    where = f"context {shown(top['current-context'])}"
    cluster_name, user_name = _text(context, "cluster", where), _text(context, "user", where)
    cluster = _named(clusters, cluster_name, "cluster", where)
    user = _named(users, user_name, "user", where)
    found = _kubeconfig(cluster, f"cluster {shown(cluster_name)}", user, f"user {shown(user_name)}")
    if not found.files:
        _check_certificates(found, f"cluster {shown(cluster_name)}", f"user {shown(user_name)}")
    return found


def _document(text: str) -> Any:
    try:
        data = text.encode()
    except UnicodeEncodeError:
        raise BadKubeconfig("not UTF-8") from None
    if len(data) > LARGEST:
        raise BadKubeconfig(f"longer than {LARGEST >> 10} KiB")
    try:
        document = read_yaml(data, "")
    except ConfigError as error:
        quotes_nothing = re.sub(r"(duplicate key) .*", r"\1", error.reason)
        raise BadKubeconfig(f"not YAML as a kubeconfig is: {quotes_nothing}") from None
    if not isinstance(document, dict):
        raise BadKubeconfig("not a kubeconfig: expected a mapping with clusters, contexts and users")
    return document


def _entries(top: "dict[str, Any]", kind: str) -> "dict[str, dict[str, Any]]":
    """`clusters: [{name: a, cluster: {...}}]` by name."""
    raw = top.get(f"{kind}s")
    if raw is None:
        raise BadKubeconfig(f"no {kind}s")
    if not isinstance(raw, list) or len(raw) > _MOST_ENTRIES:
        raise BadKubeconfig(f"{kind}s: expected a list of at most {_MOST_ENTRIES}")
    found: dict[str, dict[str, Any]] = {}
    for at, item in enumerate(raw):
        where = f"{kind}s[{at}]"
        name = _text(_mapping(item, where), "name", where)
        if name in found:
            raise BadKubeconfig(f"{where}: a second {kind} {shown(name)}")
        found[name] = _mapping(item.get(kind) or {}, where)
    return found


def _named(found: "dict[str, dict[str, Any]]", name: str, kind: str, by: str) -> "dict[str, Any]":
    if name not in found:
        raise BadKubeconfig(f"no {kind} {shown(name)}, which {by} names")
    return found[name]


def _check_cluster(cluster: "dict[str, Any]", where: str, allow: Collection[str]) -> None:
    if cluster.get("insecure-skip-tls-verify") not in (None, False, True):
        raise BadKubeconfig(f"{where}: insecure-skip-tls-verify: expected true or false")
    _refuse(cluster, ["insecure-skip-tls-verify"], "insecure-skip-tls-verify", where, allow)
    _refuse(cluster, ["proxy-url"], "proxy-url", where, allow)
    _refuse(cluster, _CLUSTER_FILES, "files", where, allow)


def _check_user(user: "dict[str, Any]", where: str, allow: Collection[str]) -> None:
    _refuse(user, ["exec"], "exec", where, allow)
    _refuse(user, ["auth-provider"], "auth-provider", where, allow)
    _refuse(user, _USER_FILES, "files", where, allow)
    _refuse(user, _IMPERSONATION, "impersonation", where, allow)


def _refuse(entry: "dict[str, Any]", fields: Collection[str], name: str, where: str, allow: Collection[str]) -> None:
    present = next((field for field in fields if entry.get(field)), None)
    if present is not None and name not in allow:
        instead = {**_CLUSTER_FILES, **_USER_FILES}.get(present)
        advice = f"use {instead}, or let" if instead else "let"
        raise BadKubeconfig(f"{where}: {present} is refused here; {advice} the operator add {name} to clusters.allow")


def _kubeconfig(cluster: "dict[str, Any]", cluster_at: str, user: "dict[str, Any]", user_at: str) -> Kubeconfig:
    files = {field: _text(cluster, field, cluster_at) for field in _CLUSTER_FILES if cluster.get(field)}
    files |= {field: _text(user, field, user_at) for field in _USER_FILES if user.get(field)}
    if _text(cluster, "certificate-authority-data", cluster_at, ""):
        files.pop("certificate-authority", None)  # data wins, as in client-go
    for field in ("client-certificate", "client-key"):
        if _text(user, f"{field}-data", user_at, ""):
            files.pop(field, None)
    token = _text(user, "token", user_at, "") or _provided_token(user, user_at)
    if token and not _TOKEN.fullmatch(token):
        raise BadKubeconfig(f"{user_at}: token is not printable ASCII without spaces")
    verify = not cluster.get("insecure-skip-tls-verify")
    found = Kubeconfig(
        server=_server(_text(cluster, "server", cluster_at), cluster_at),
        server_name=_text(cluster, "tls-server-name", cluster_at, ""),
        verify=verify,
        ca=_data(cluster, "certificate-authority-data", cluster_at) if verify else b"",
        certificate=_data(user, "client-certificate-data", user_at),
        key=_data(user, "client-key-data", user_at),
        token=token,
        username=_text(user, "username", user_at, ""),
        password=_text(user, "password", user_at, ""),
        files=tuple(files.items()),
        impersonate=tuple(_impersonation(user, user_at)),
        foreign=tuple(name for name, entry in (("exec", user), ("proxy-url", cluster)) if entry.get(name)),
    )
    _check_identity(found, user_at)
    return found


def _check_identity(found: Kubeconfig, where: str) -> None:
    files = dict(found.files)
    certificate = found.certificate or files.get("client-certificate")
    key = found.key or files.get("client-key")
    if bool(certificate) != bool(key):
        lacking = "client-key-data" if certificate else "client-certificate-data"
        raise BadKubeconfig(f"{where}: no {lacking} beside its other half")
    if ":" in found.username:
        raise BadKubeconfig(f"{where}: username has a colon")
    if not (certificate or found.token or found.username or "tokenFile" in files or "exec" in found.foreign):
        raise BadKubeconfig(
            f"{where}: no credentials; expected client-certificate-data with client-key-data, token,"
            " or username with password"
        )


def _check_certificates(found: Kubeconfig, cluster_at: str, user_at: str) -> None:
    where = f"{cluster_at}: certificate-authority-data"
    try:
        client_tls(found.ca or None)
        where = f"{user_at}: client-certificate-data with client-key-data"
        client_tls(None, found.certificate or None, found.key or None)
    except ValueError as error:
        raise BadKubeconfig(f"{where}: {error}") from None


def _server(url: str, where: str) -> str:
    """Without a slash at its end."""
    try:
        parts = urlsplit(url)
        usable = parts.hostname and parts.port != 0 and re.fullmatch(r"[\x21-\x7e]{1,2048}", url)
    except ValueError:
        usable = False
    if not usable:
        raise BadKubeconfig(f"{where}: server is not a URL such as https://10.0.0.1:6443")
    if parts.scheme != "https":
        raise BadKubeconfig(f"{where}: server is not https://, so credentials would be sent in plain text")
    if "@" in parts.netloc or "?" in url or "#" in url:
        raise BadKubeconfig(f"{where}: server has a user name, a query or a fragment in its URL")
    return url.rstrip("/")


def _provided_token(user: "dict[str, Any]", where: str) -> str:
    """What an auth-provider has left behind: client-go had it in `access-token` or `id-token`."""
    if not user.get("auth-provider"):
        return ""
    kept = _mapping(_mapping(user["auth-provider"], where).get("config") or {}, where)
    return _text(kept, "id-token", where, "") or _text(kept, "access-token", where, "")


def _impersonation(user: "dict[str, Any]", where: str) -> "Iterator[tuple[str, str]]":
    """The headers of `as`, `as-uid`, `as-groups` and `as-user-extra` (Kubernetes, "User impersonation")."""
    pairs = [("Impersonate-User", user.get("as")), ("Impersonate-Uid", user.get("as-uid"))]
    pairs += [("Impersonate-Group", group) for group in _list(user.get("as-groups"), where, "as-groups")]
    for key, values in _mapping(user.get("as-user-extra") or {}, where).items():
        name = f"Impersonate-Extra-{quote(key, safe='')}"
        pairs += [(name, value) for value in _list(values, where, "as-user-extra")]
    for name, value in pairs:
        if value is not None:
            if not isinstance(value, str) or not re.fullmatch(r"[\x20-\x7e]{1,1024}", value):
                raise BadKubeconfig(f"{where}: a value of {name} is not a text of printable ASCII")
            yield name, value


def _list(raw: Any, where: str, field: str) -> "list[Any]":
    if not isinstance(raw or [], list) or len(raw or []) > _MOST_ENTRIES:
        raise BadKubeconfig(f"{where}: {field}: expected a list of at most {_MOST_ENTRIES}")
    return raw or []


def _data(entry: "dict[str, Any]", field: str, where: str) -> bytes:
    try:
        return b64decode("".join(_text(entry, field, where, "").split()), validate=True)
    except (NotBase64, ValueError):
        raise BadKubeconfig(f"{where}: {field} is not base64") from None


def _mapping(raw: Any, where: str) -> "dict[str, Any]":
    if not isinstance(raw, dict):
        raise BadKubeconfig(f"{where}: expected a mapping")
    return raw


def _text(entry: "dict[str, Any]", field: str, where: str, default: "str | None" = None) -> str:
    """The text of this field; without a `default` it has to be there."""
    raw = entry.get(field)
    if raw is None or raw == "":
        if default is None:
            raise BadKubeconfig(f"{where}: no {field}")
        return default
    if not isinstance(raw, str):
        raise BadKubeconfig(f"{where}: {field}: expected a text; put it in quotes")
    return raw
