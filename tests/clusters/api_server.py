"""A Kubernetes API server's double: TLS with certificates of a real authority, client certificates and tokens."""

import json
from base64 import b64encode
from pathlib import Path
from typing import Any

from authority import Authority
from OpenSSL import SSL
from twisted.internet import reactor
from twisted.internet.ssl import Certificate, CertificateOptions, PrivateCertificate, trustRootFromCertificates
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site

VERSION = {"major": "1", "minor": "31", "gitVersion": "v1.31.2", "platform": "linux/amd64"}
TOKEN = "a-token.of-a.user"


class ApiServer(Resource):
    """Serves `/version` on `host` to who shows TOKEN, user:pass or a certificate of `clients`.

    `behaviour` is good, slow, redirecting, garbage, another (JSON of something else), endless or broken (500).
    `certificate` and `key` are files; `seen` is what each request carried.
    """

    isLeaf = True

    def __init__(
        self,
        certificate: Any,
        key: Any,
        *,
        clients: "Authority | None" = None,
        demands: bool = False,
        host: str = "127.0.0.1",
    ):
        super().__init__()
        self._host = host
        self.behaviour = "good"
        self.seen: list[dict[str, Any]] = []
        self._clients = clients
        self._demands = demands
        self._pem = Path(certificate).read_bytes() + Path(key).read_bytes()
        self._port: Any = None
        self._number = 0

    def start(self) -> "ApiServer":
        own = PrivateCertificate.loadPEM(self._pem)
        trusted = [Certificate.loadPEM(Path(self._clients.ca).read_bytes())] if self._clients else []
        options = CertificateOptions(
            privateKey=own.privateKey.original,
            certificate=own.original,
            trustRoot=trustRootFromCertificates(trusted) if trusted else None,
        )
        if trusted and not self._demands:
            context = options.getContext()
            context.set_verify(SSL.VERIFY_PEER, lambda connection, certificate, number, depth, good: bool(good))
        self._port = reactor.listenSSL(self._number, Site(self), options, interface=self._host)
        self._number = self._port.getHost().port
        return self

    def stop(self) -> Any:
        port, self._port = self._port, None
        return None if port is None else port.stopListening()

    @property
    def url(self) -> str:
        return f"https://{self._host}:{self._number}"

    def render_GET(self, request: Any) -> Any:
        authorization = request.getHeader("authorization") or ""
        peer = request.transport.getPeerCertificate()
        self.seen.append(
            {
                "path": request.path.decode(),
                "authorization": authorization,
                "client": peer.get_subject().CN if peer is not None else "",
                "groups": request.requestHeaders.getRawHeaders("Impersonate-Group", []),
                "user": request.getHeader("Impersonate-User") or "",
            }
        )
        if self.behaviour == "slow":
            return NOT_DONE_YET
        if self.behaviour == "redirecting":
            request.redirect(b"https://127.0.0.1:1/version")
            return b""
        if self.behaviour == "garbage":
            return b"<html>\xff</html>"
        if self.behaviour == "another":
            return b'{"gitVersion": "v1\\n' + b"x" * 100 + b'"}'
        if self.behaviour == "endless":
            return b" " * 1_000_000
        if self.behaviour == "broken":
            request.setResponseCode(500)
            return b"{}"
        basic = "Basic " + b64encode(b"user:pass").decode()
        if peer is None and authorization not in (f"Bearer {TOKEN}", basic):
            request.setResponseCode(401)
            return b"{}"
        if not request.path.endswith(b"/version"):
            request.setResponseCode(404)
            return b"{}"
        return json.dumps(VERSION).encode()


def kubeconfig(server: str, *, cluster: Any = None, user: Any = None, **top: Any) -> "dict[str, Any]":
    """With one cluster, user and context; what is given is added, and a key whose value is None left out."""

    def without_none(mapping: "dict[str, Any]") -> "dict[str, Any]":
        return {key: value for key, value in mapping.items() if value is not None}

    return without_none(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "k", "cluster": without_none({"server": server, **(cluster or {})})}],
            "users": [{"name": "u", "user": without_none({"token": TOKEN} if user is None else user)}],
            "contexts": [{"name": "x", "context": {"cluster": "k", "user": "u"}}],
            "current-context": "x",
            **top,
        }
    )


def data(path: Any) -> str:
    """A file as a field that ends in `-data` holds it."""
    return b64encode(Path(path).read_bytes()).decode()
