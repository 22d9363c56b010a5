"""A registry on a store of this process, whose Deferreds have fired, and kubeconfigs for it."""

import tempfile
from base64 import b64encode
from pathlib import Path
from typing import Any

import yaml
from clusters.api_server import kubeconfig
from twisted.internet.defer import Deferred, maybeDeferred

from k3net.clusters.registry import Registry
from k3net.clusters.secrets import KeyRing
from k3net.errors import StoreUnavailable
from k3net.store.memory import MemoryStore, Shared

KEY = bytes(range(32))


class FiredStore:
    """A driver's verbs for clusters as Deferreds that have fired; away when `away`."""

    def __init__(self, driver: Any):
        self.driver = driver
        self.away = False
        self.before: Any = None

    def __getattr__(self, verb: str) -> Any:
        return lambda *args: maybeDeferred(self._call, verb, *args)

    def _call(self, verb: str, *args: Any) -> Any:
        if self.away:
            raise StoreUnavailable("store: away")
        if self.before is not None:
            self.before(verb)
        return getattr(self.driver, verb)(*args)


class World:
    """`registry`, and `another()` instance's on the same store; `keys` writes the file of keys."""

    def __init__(self, *, allow: "tuple[str, ...]" = ()):
        self.folder = Path(tempfile.mkdtemp())
        self.shared = Shared()
        self.now = 1000.0
        self.allow = allow
        self.keys(KEY)
        self.store = FiredStore(MemoryStore(self.shared))
        self.registry = self.another(self.store)

    def another(self, store: Any = None) -> Registry:
        return Registry(
            store or FiredStore(MemoryStore(self.shared)),
            KeyRing([str(self.folder / "keys")]),
            in_thread=in_place,
            wall=lambda: self.now,
            allow=self.allow,
        )

    def keys(self, *keys: bytes) -> None:
        path = self.folder / "keys"
        path.write_bytes(b"\n".join(b64encode(key) for key in keys))
        path.chmod(0o600)


def in_place(f: Any, *args: Any) -> "Deferred[Any]":
    """Stands for a thread."""
    return maybeDeferred(f, *args)


def config(server: str = "https://10.0.0.1:6443", **parts: Any) -> str:
    return yaml.safe_dump(kubeconfig(server, **parts))
