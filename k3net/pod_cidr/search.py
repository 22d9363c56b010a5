"""The sources in their order, until one answers: spec/4-pod-cidr.md."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import ip_network

from k3net.errors import ConfigError, K3netError
from k3net.model.cidr import Net, Pool, Sizes, networks, within
from k3net.pod_cidr import files
from k3net.pod_cidr.answer import DEFAULT, Answer, Said, Told, check, listed
from k3net.pod_cidr.files import File, ReadDocuments

VARIABLE = "NODE_POD_CIDR"
MAY_BE_INACCURATE = "may be inaccurate: a hash, for no source says what this node was given"

_DEFAULTS = ("10.244.0.0/16", "10.96.0.0/16")
_DEFAULTS_OF_K3S = ("10.42.0.0/16", "10.43.0.0/16")
_NOTHING = "nothing"

Source = tuple[str, Callable[[], "Told | str"]]
"""A name for people, and what asks: what it told, or in words why it tells nothing. ConfigError when it is wrong."""


@dataclass(frozen=True)
class Asked:
    """What is wanted, and where to look: the settings under `network` as texts, and the files below `root`."""

    node: str
    read_documents: ReadDocuments
    environ: Mapping[str, str]
    base: str = ""
    per_node: str = "/24"
    node_local: str = ""
    service: str = ""
    root: str = "/"


def find(asked: Asked) -> Answer:
    """The answer; ConfigError names what is wrong and where, NoSubnetLeft a cluster CIDR that is all for Services."""
    return _Search(asked, to_the_end=False).answer()


def explain(asked: Asked) -> "tuple[list[Said], Answer | K3netError]":
    """Every source in order and what it said, also those after the one that counts; and what `find` gives or raises."""
    search = _Search(asked, to_the_end=True)
    try:
        answer: Answer | K3netError = search.answer()
    except K3netError as error:
        answer = error
    return search.said, answer


class _Search:
    def __init__(self, asked: Asked, *, to_the_end: bool):
        self._asked = asked
        self._to_the_end = to_the_end
        self._sizes = Sizes.read(asked.per_node)
        self._files: dict[str, File | ConfigError] = {}
        k3s = any(os.path.isdir(os.path.join(asked.root, path.lstrip("/"))) for path in files.OF_K3S)
        self._defaults = [ip_network(text) for text in (_DEFAULTS_OF_K3S if k3s else _DEFAULTS)]
        self.said: list[Said] = []

    def answer(self) -> Answer:
        told, failure = self._first("node", self._node_sources())
        exact = told is not None or failure is not None
        cluster, wrong = self._first("cluster", self._cluster_sources(lenient=exact))
        service, wrong_too = self._first("service", self._service_sources(lenient=exact))
        for error in (failure, wrong, wrong_too):
            if error is not None:
                raise error
        assert cluster is not None  # the last source of both always answers
        assert service is not None
        if told is None:
            return self._hashed(cluster, service)
        self._say_of_hash("not needed", chosen=False)
        check(told, cluster, service, self._sizes)
        known = tuple(net for net in cluster.nets if not cluster.guess or any(within(n, net) for n in told.nets))
        return Answer(self._asked.node, told.nets, known, service.nets, told.source, True, _message(told), self._sizes)

    def _first(self, about: str, sources: Iterable[Source]) -> "tuple[Told | None, ConfigError | None]":
        """What the first source told that tells anything, or the error of one that was wrong before."""
        found: Told | None = None
        failure: ConfigError | None = None
        for name, ask in sources:
            decided = found is not None or failure is not None
            if decided and not self._to_the_end:
                break
            try:
                told = ask()
            except ConfigError as error:
                self.said.append(Said(about, name, f"wrong: {error}", chosen=not decided))
                failure = failure if decided else error
                continue
            chosen = not decided and isinstance(told, Told)
            answer = _said(told) if isinstance(told, Told) else told
            self.said.append(Said(about, name, answer, chosen))
            if chosen and isinstance(told, Told):
                found = told
        return found, failure

    def _node_sources(self) -> Iterator[Source]:
        asked = self._asked
        yield "config network.podCIDR.nodeLocal", lambda: _of_text(asked.node_local, "config", _SETTING_OF["nodeLocal"])
        yield f"environment {VARIABLE}", lambda: _of_text(asked.environ.get(VARIABLE, ""), "environment", VARIABLE)
        yield f"file {files.KUBELET}", self._kubelet
        path = files.NODE.format(name=asked.node)
        yield f"file {path}", lambda: self._of_file(path, files.NODE_KEYS)

    def _cluster_sources(self, *, lenient: bool) -> Iterator[Source]:
        yield "config network.podCIDR.base", lambda: _of_text(self._asked.base, "config", _SETTING_OF["base"])
        for path in files.CLUSTER:
            yield f"file {path}", lambda path=path: self._cluster_of(path, lenient)  # type: ignore[misc]
        yield DEFAULT, lambda: Told((self._defaults[0],), DEFAULT, guess=True)

    def _service_sources(self, *, lenient: bool) -> Iterator[Source]:
        yield "config network.serviceCIDR", lambda: _of_text(self._asked.service, "config", _SETTING_OF["service"])
        for path in files.CLUSTER:
            ask = lambda path=path: self._of_file(path, files.SERVICE_KEYS, lenient)  # noqa: E731
            yield f"file {path}", ask
        yield DEFAULT, lambda: Told((self._defaults[1],), DEFAULT, guess=True)

    def _kubelet(self) -> "Told | str":
        told = self._of_file(files.KUBELET, files.NODE_KEYS)
        return f"{told}: too wide for one node, so the cluster's" if self._is_wide(told) else told

    def _cluster_of(self, path: str, lenient: bool) -> "Told | str":
        """A kubelet's own CIDR is the node's, unless it is too wide for that."""
        told = self._of_file(path, files.CLUSTER_KEYS, lenient)
        if isinstance(told, Told):
            return told
        of_kubelet = self._of_file(path, files.NODE_KEYS, lenient)
        if self._is_wide(of_kubelet):
            return of_kubelet
        return f"{of_kubelet}: a node's, not the cluster's" if isinstance(of_kubelet, Told) else told

    def _is_wide(self, told: "Told | str") -> bool:
        return isinstance(told, Told) and any(net.prefixlen < self._sizes.of(net) for net in told.nets)

    def _of_file(self, path: str, keys: tuple[str, ...], lenient: bool = False) -> "Told | str":
        file = self._file(path)
        if isinstance(file, ConfigError):
            passable = isinstance(file, files.Unreadable) and (lenient or path in files.KUBECONFIGS)
            if not passable:
                raise file
            return f"passed over: {file.reason}"
        return file.told(keys) or file.nothing or "no such key"

    def _file(self, path: str) -> "File | ConfigError":
        if path not in self._files:
            try:
                self._files[path] = files.read(self._asked.root, path, self._asked.read_documents)
            except ConfigError as error:
                self._files[path] = error
        return self._files[path]

    def _hashed(self, cluster: Told, service: Told) -> Answer:
        """The subnet of the cluster CIDR that the name's hash picks, or the next that no Service can have."""
        try:
            pools = [Pool(net, self._sizes.of(net)) for net in cluster.nets]
        except ValueError as error:
            raise ConfigError(cluster.key, f"{error}, as network.podCIDR.perNode says", _place(cluster)) from None
        cidrs = tuple(pool.next_free(self._asked.node, service.nets) for pool in pools)
        source = DEFAULT if cluster.guess else "hash"
        message = f"Computed Pod CIDR from the node's name: {listed(cidrs)} of {cluster}; {MAY_BE_INACCURATE}"
        self._say_of_hash(f"{listed(cidrs)} of {cluster}; may be inaccurate", chosen=True)
        return Answer(self._asked.node, cidrs, cluster.nets, service.nets, source, False, message, self._sizes)

    def _say_of_hash(self, answer: str, *, chosen: bool) -> None:
        """It comes after the other sources of the node's CIDR, though it needs the cluster's."""
        at = sum(row.about == "node" for row in self.said)
        self.said.insert(at, Said("node", "hash of the node's name", answer, chosen))


_SETTING_OF = {
    "nodeLocal": "network.podCIDR.nodeLocal",
    "base": "network.podCIDR.base",
    "service": "network.serviceCIDR",
}


def _of_text(text: str, source: str, key: str) -> "Told | str":
    try:
        nets: tuple[Net, ...] = networks(text)
    except ValueError as error:
        raise ConfigError(key, str(error), source) from None
    return Told(nets, source, key) if nets else _NOTHING


def _said(told: Told) -> str:
    return f"{listed(told.nets)} ({told.key})" if told.source.startswith("file:") else listed(told.nets)


def _message(told: Told) -> str:
    """The line for the log, with HeadCNI's words where it has them."""
    cidrs = listed(told.nets)
    if told.source == "config":
        return f"Using Pod CIDR from config: {cidrs}"
    if told.source == "environment":
        return f"Using Pod CIDR from environment variable: {cidrs} ({VARIABLE})"
    path = told.source.removeprefix("file:")
    if told.key.endswith("podCIDRs"):
        return f"Found Pod CIDR in PodCIDRs: {cidrs} ({path})"
    kind = "kubelet config" if path == files.KUBELET else "k3s node config"
    return f"Found Pod CIDR in {kind}: {cidrs} ({path})"


def _place(told: Told) -> str:
    return told.source.removeprefix("file:")
