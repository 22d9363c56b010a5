"""What the files of Kubernetes and k3s say of CIDRs: YAML keys, and arguments of commands in them."""

import os
import re
import stat
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from k3net.errors import ConfigError
from k3net.model.cidr import Net, networks
from k3net.pod_cidr.answer import Told

KUBELET = "/var/lib/kubelet/config.yaml"
NODE = "/var/lib/rancher/k3s/agent/etc/node-{name}.yaml"
KUBECONFIGS = ("/etc/rancher/k3s/k3s.yaml", "/etc/kubernetes/admin.conf")
CLUSTER = (
    "/etc/rancher/k3s/k3s.yaml",
    "/etc/rancher/k3s/config.yaml",
    "/var/lib/rancher/k3s/agent/etc/kubelet.config",
    KUBELET,
    "/etc/kubernetes/kubeadm-config.yaml",
    "/etc/kubernetes/admin.conf",
    "/etc/kubernetes/manifests/kube-controller-manager.yaml",
    "/etc/kubernetes/manifests/kube-apiserver.yaml",
)
OF_K3S = ("/etc/rancher/k3s", "/var/lib/rancher/k3s")
"""Directories of a machine that runs k3s, whose defaults are others than those of Kubernetes."""

NODE_KEYS = ("podCIDRs", "podCIDR", "pod-cidr", "--pod-cidr")
CLUSTER_KEYS = ("clusterCIDR", "cluster-cidr", "podSubnet", "--cluster-cidr")
SERVICE_KEYS = ("serviceSubnet", "serviceCIDR", "service-cidr", "--service-cluster-ip-range", "--service-cidr")

_LONGEST = 1 << 20
_KEYS = frozenset((*NODE_KEYS, *CLUSTER_KEYS, *SERVICE_KEYS))
_ARGUMENTS = frozenset(key for key in _KEYS if key.startswith("--"))
_ARGUMENT = re.compile(r"""(?:^|(?<=[\s"'=]))(--[a-z-]+)(?:=["']?([^\s"']*)|[\s"']+([^-\s"'][^\s"']*))""")

ReadDocuments = Callable[[bytes, str], list[Any]]
"""Every YAML document in these bytes; ConfigError names the second argument, the file, and the line."""


class Unreadable(ConfigError):
    """There is such a file, and this process may not read it."""


class Found(NamedTuple):
    """A value as it stands in the file; `where` is the dotted path of its key, or the argument's name."""

    key: str
    where: str
    value: Any


class File(NamedTuple):
    """A file that was read: what stands in it of CIDRs, or `nothing`: why there is none."""

    path: str
    found: tuple[Found, ...] = ()
    nothing: str = ""

    def told(self, keys: tuple[str, ...]) -> "Told | None":
        """What the first of these keys that the file has says, or None; ConfigError names file and key."""
        for key in keys:
            for found in self.found:
                if found.key == key and (nets := self._nets(found)):
                    return Told(nets, f"file:{self.path}", found.where)
        return None

    def _nets(self, found: Found) -> tuple[Net, ...]:
        value = found.value
        texts = value if isinstance(value, list) else [] if value is None else [value]
        if not all(isinstance(text, str) for text in texts):
            raise ConfigError(found.where, "expected a network such as 10.244.0.0/16", self.path)
        try:
            return networks(",".join(texts))
        except ValueError as error:
            raise ConfigError(found.where, str(error), self.path) from None


def read(root: str, path: str, read_documents: ReadDocuments) -> File:
    """The file at `path` below `root`; Unreadable, or the ConfigError of what is no YAML."""
    try:
        data = _contents(os.path.join(root, path.lstrip("/")), path)
    except (FileNotFoundError, NotADirectoryError):
        return File(path, nothing="absent")
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise Unreadable("", f"{reason}; give k3net the right to read it", path) from None
    documents = read_documents(data, path)
    found = tuple(each for document in documents for each in _search(document, ""))
    if found:
        return File(path, found)
    if any(isinstance(document, dict) and document.get("kind") == "Config" for document in documents):
        return File(path, nothing="a kubeconfig, which holds none")
    return File(path, nothing="no such key" if any(documents) else "empty")


def _contents(place: str, path: str) -> bytes:
    descriptor = os.open(place, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ConfigError("", "not a file", path)
        with open(descriptor, "rb", closefd=False) as file:
            return file.read(_LONGEST + 1)
    finally:
        os.close(descriptor)


def _search(value: Any, path: str) -> Iterator[Found]:
    """The keys and arguments in a document, in its order."""
    if isinstance(value, dict):
        for key, part in value.items():
            where = f"{path}.{key}" if path else key
            if key in _KEYS:
                yield Found(key, where, part)
            elif isinstance(part, str):
                if key in ("command", "args"):
                    yield from _arguments(part)
            else:
                yield from _search(part, where)
    elif isinstance(value, list):
        yield from _arguments("\n".join(item for item in value if isinstance(item, str)))
        for at, item in enumerate(value):
            if not isinstance(item, str):
                yield from _search(item, f"{path}[{at}]")
    elif isinstance(value, str):
        yield from _arguments(value)


def _arguments(text: str) -> Iterator[Found]:
    for form in _ARGUMENT.finditer(text):
        if form[1] in _ARGUMENTS:
            yield Found(form[1], form[1], form[2] if form[2] is not None else form[3])
