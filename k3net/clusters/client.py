"""How a cluster's API server is asked: by what its kubeconfig says, and nothing of it in any text."""

import re
from base64 import b64encode
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from msgspec import Struct
from twisted.internet.defer import Deferred, inlineCallbacks

from k3net.clusters.kubeconfig import Kubeconfig
from k3net.credentials import client_tls
from k3net.errors import K3netError
from k3net.http import BrokenAnswer, ConnectFailed, FetchError, Response, fetch

_LONGEST_ANSWER = 64 << 10
_LARGEST_FILE = 1 << 20
_FIELD_OF_FILE = {
    "certificate-authority": "ca",
    "client-certificate": "certificate",
    "client-key": "key",
    "tokenFile": "token",
}


class Unusable(K3netError):
    """The kubeconfig, or the server's answer to its credentials, will not do: somebody has to mend it."""


class Unreachable(K3netError):
    """The API server did not answer as one does; it may later."""


class Version(Struct, frozen=True, rename={"git_version": "gitVersion"}):
    """`GET /version` (apimachinery version.Info), as far as it is shown."""

    git_version: str
    platform: str = ""


class Client:
    """Asks one API server with the credentials of one kubeconfig; Unusable when these cannot be used.

    Reads the files that the kubeconfig names, if any: make it in a thread.
    """

    def __init__(self, reactor: Any, kubeconfig: Kubeconfig):
        self._reactor = reactor
        self.server = kubeconfig.server
        if kubeconfig.foreign:
            raise Unusable(f"k3net itself does not do what the kubeconfig asks for: {', '.join(kubeconfig.foreign)}")
        files = ", ".join(field for field, _ in kubeconfig.files)
        kubeconfig = _with_files(kubeconfig)
        try:
            self._tls: Callable[[str], Any] = client_tls(
                kubeconfig.ca or None,
                kubeconfig.certificate or None,
                kubeconfig.key or None,
                server_name=kubeconfig.server_name,
                verify=kubeconfig.verify,
            )
        except ValueError as error:
            raise Unusable(f"{files}: {error}" if files else str(error)) from None
        self._headers: dict[str, str | list[str]] = {"Accept": "application/json", **_authorization(kubeconfig)}
        for name in dict(kubeconfig.impersonate):
            self._headers[name] = [value for other, value in kubeconfig.impersonate if other == name]

    def __repr__(self) -> str:
        return f"Client({self.server!r}, ***)"

    def ask(self, path: str, *, timeout: float = 5.0, max_bytes: int = _LONGEST_ANSWER) -> "Deferred[Response]":
        """`GET path`, which begins with a slash; fails as `k3net.http.fetch` does."""
        return fetch(
            self._reactor,
            "GET",
            self.server + path,
            headers=self._headers,
            timeout=timeout,
            max_bytes=max_bytes,
            tls=self._tls,
        )

    @inlineCallbacks
    def version(self, *, timeout: float = 5.0):
        """The Version of the API server; Unusable, Unreachable."""
        try:
            answer = yield self.ask("/version", timeout=timeout)
            if answer.status in (401, 403):
                raise Unusable(f"the server does not take these credentials ({answer.status})")
            if answer.status != 200:
                raise Unreachable(f"GET /version was answered with status {answer.status}")
            version = answer.json(Version)
            if not re.fullmatch(r"[\x21-\x7e]{1,64}", version.git_version):
                raise Unreachable("what answers is no Kubernetes API server")
            return version
        except BrokenAnswer:
            raise Unreachable("what answers is no Kubernetes API server") from None
        except ConnectFailed as error:
            wrong = error.reason.startswith("TLS: ") and "closed" not in error.reason
            raise (Unusable if wrong else Unreachable)(_told(error.reason)) from None
        except FetchError as error:
            raise Unreachable(error.reason) from None


def _told(reason: str) -> str:
    if "certificate verify failed" in reason:
        return f"{reason}: the server's has expired, or is not of the authority that the kubeconfig names"
    return reason


def _authorization(kubeconfig: Kubeconfig) -> "dict[str, str]":
    if kubeconfig.token:
        return {"Authorization": f"Bearer {kubeconfig.token}"}
    if kubeconfig.username:
        pair = f"{kubeconfig.username}:{kubeconfig.password}".encode()
        return {"Authorization": f"Basic {b64encode(pair).decode()}"}
    return {}


def _with_files(kubeconfig: Kubeconfig) -> Kubeconfig:
    read: dict[str, Any] = {}
    for field, path in kubeconfig.files:
        try:
            with open(path, "rb") as file:
                content = file.read(_LARGEST_FILE)
        except OSError as error:
            raise Unusable(f"{field}: {error.strerror}") from None
        except ValueError:
            raise Unusable(f"{field}: not a path") from None
        read[_FIELD_OF_FILE[field]] = content
    if "token" in read:
        try:
            token = read["token"].decode("ascii").strip()
        except UnicodeDecodeError:
            token = ""
        if not token.isprintable() or not token or " " in token:
            raise Unusable("tokenFile: no token in it")
        read["token"] = token
    if not kubeconfig.verify:
        read.pop("ca", None)
    return replace(kubeconfig, **read, files=())
