"""The own node's pod CIDRs: what this machine says, and of a hash what the store lets this node hold."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any

from twisted.internet.defer import inlineCallbacks, maybeDeferred

from k3net.errors import CorruptRecord, K3netError, NoSubnetLeft, StoreUnavailable
from k3net.model.cidr import Net, Pool, networks, overlap, within
from k3net.model.claims import Abandoned, Claim, choose, in_the_way
from k3net.model.node import Node
from k3net.model.observation import valid_name
from k3net.pod_cidr import DEFAULT, Answer
from k3net.services import Periodic

_SOON = 0.2
_AGAIN = 5.0
_TRIES = 32


class PodCidr(Periodic):
    """`cidrs` are those that the own Node is to carry; they are looked after every `interval` seconds.

    `find()` gives an Answer (or a Deferred), `nodes()` the stored Nodes as far as they are known, None before the
    first listing; `store` is a ThreadedStore, `changed()` is told when `cidrs` is another. An exact answer holds at
    once; a hash when its claim is in the store. A claim whose owner has had no Node for `patience` seconds may be
    taken over when there is no other subnet left. A Node that is the controller's has its CIDRs from there.
    """

    def __init__(
        self,
        clock: Any,
        store: Any,
        *,
        name: str,
        find: Callable[[], Any],
        nodes: Callable[[], "Mapping[str, Node] | None"],
        changed: Callable[[], object] = lambda: None,
        interval: float = 60.0,
        patience: float = 150.0,
    ):
        super().__init__(clock, interval, self.check, name="pod-cidr")
        self._store = store
        self._node = name
        self._find = find
        self._nodes = nodes
        self._changed = changed
        self._abandoned = Abandoned(patience)
        self._settled = False
        self._contested = ""
        self._said = ""
        self.answer: Answer | None = None
        self.cidrs: tuple[str, ...] = ()
        self.trouble = ""
        self._wanted = False
        self._has_none = False

    @property
    def told(self) -> "tuple[str, ...] | None":
        """What the own Node is to carry: () for nothing, None for what it carries already."""
        return self.cidrs if self.cidrs or self._has_none else None

    @property
    def alarms(self) -> Iterator[str]:
        """What keeps this node from a pod CIDR of its own; nothing where only the defaults say that it needs one."""
        if self.trouble and self._wanted:
            yield f"pod CIDR: {self.trouble}"

    @property
    def word(self) -> str:
        """How the CIDRs came about, or what is wrong, in at most 255 printable characters."""
        text = self.trouble or (self._said if self.cidrs else "")
        plain = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text[:300])
        return plain if len(plain) <= 255 else plain[:252] + "..."

    @inlineCallbacks
    def check(self):
        """Find the answer anew, and see that the claims on it stand."""
        trouble, self._wanted = "", True
        try:
            answer = yield maybeDeferred(self._find)
            if answer != self.answer:
                self.answer, self._settled, self._contested = answer, False, ""
        except K3netError as error:  # then the last good answer stands
            trouble = str(error)
        if self.answer is not None:
            try:
                contested = yield self._settle(self.answer)
                self._wanted = bool(trouble) or self.answer.source != DEFAULT
                trouble = trouble or contested
            except StoreUnavailable:
                self.again_in(_AGAIN)
                raise
        self._tell(trouble)

    @inlineCallbacks
    def _settle(self, answer: Answer):
        """Hold what the answer allows; what is wrong, or ""."""
        nodes = self._nodes()
        own = None if nodes is None else nodes.get(self._node)
        if own is not None and not own.managed:
            self._settled = self._has_none = False
            self._hold(tuple(_cidrs([own])), "Using Pod CIDR of the Node, which is the controller's")
            return ""
        if answer.exact:
            self._hold(answer.cidrs, answer.message)
        if nodes is None:
            self.again_in(_SOON)
            return ""
        others = [node for node in nodes.values() if node.name != self._node]
        fixed = [*answer.service, *_cidrs(node for node in others if not node.managed)]
        if self._settled and (yield self._stands(answer, fixed)):
            return self._contested
        self._settled = False
        claims = yield self._store.claims()
        if answer.exact:
            self._contested = yield self._claim_given(answer.cidrs, claims)
            kept = list(answer.cidrs)
        else:
            kept = []
            for net in answer.cluster:
                try:
                    pool = Pool(net, answer.sizes.of(net))
                    chosen, claims = yield self._claim_one(pool, claims, nodes, fixed)
                except NoSubnetLeft as error:
                    self._has_none = True
                    self._hold((), "this node has no Pod CIDR")
                    yield self._released(kept, claims, nodes)
                    return f"{error}; this node has none, until one is free or network.podCIDR.base is larger"
                kept.append(chosen)
            self._hold(tuple(kept), f"Claimed Pod CIDR {', '.join(_texts(kept))} in the store; {answer.message}")
        self._settled = yield self._released(kept, claims, nodes)
        return self._contested

    @inlineCallbacks
    def _stands(self, answer: Answer, fixed: list[Net]):
        """Whether this node's claims are still there, and a choice of its own is in nobody's way."""
        held = networks(",".join(self.cidrs))
        if self._contested or (not answer.exact and overlap(held, fixed)):
            return False
        for net in held:
            claim = yield self._store.claim(Claim(str(net), self._node, answer.exact))
            if claim.owner != self._node:
                return False
        return True

    @inlineCallbacks
    def _claim_given(self, nets: Iterable[Net], claims: list[Claim]):
        """Claim what this node was given, also from those who only chose it; who else was given it, or ""."""
        others = []
        for other in in_the_way(nets, self._node, claims):
            held = other
            if not other.exact:
                held = yield self._store.claim(Claim(other.subnet, self._node, True), other.version)
            if held.owner != self._node:
                others.append(f"{held.subnet} is held by {held.owner!r}")
        for net in nets:
            claim = yield self._store.claim(Claim(str(net), self._node, True))
            if claim.owner != self._node:
                others.append(f"{claim.subnet} is held by {claim.owner!r}")
        unlike = "; ".join(dict.fromkeys(others))
        return unlike and f"{unlike}, to which it was given as to this node"

    @inlineCallbacks
    def _claim_one(self, pool: Pool, claims: list[Claim], nodes: Mapping[str, Node], fixed: list[Net]):
        """A subnet that this node holds then, and nobody else, and the claims seen beside it; NoSubnetLeft."""
        said = list(_cidrs(node for node in nodes.values() if node.name != self._node))
        own = nodes.get(self._node)
        stored = [] if own is None else list(_cidrs([own]))
        for _ in range(_TRIES):
            try:
                net = choose(pool, self._node, claims, fixed=fixed, others=said, stored=stored)
                claim = yield self._store.claim(Claim(str(net), self._node))
            except NoSubnetLeft:
                claim = yield self._taken_over(pool, claims, fixed, nodes)
                if claim is None:
                    raise
            claims = yield self._store.claims()
            if claim.owner != self._node:
                continue
            if not in_the_way([claim.net], self._node, claims):
                return claim.net, claims
            yield self._store.release(claim)  # another chose one of another size at the same time
            claims = [other for other in claims if other != claim]
        raise StoreUnavailable(f"the subnets of {pool.cluster} change hands too fast")

    @inlineCallbacks
    def _taken_over(self, pool: Pool, claims: list[Claim], fixed: list[Net], nodes: Mapping[str, Node]):
        """A claim of a node that is gone, or None."""
        for old in self._abandoned.look(claims, nodes, self._clock.seconds()):
            fits = old.net.prefixlen == pool.size and within(old.net, pool.cluster) and not overlap([old.net], fixed)
            if not fits or not (yield self._is_gone(old.owner)):
                continue
            claim = yield self._store.claim(Claim(old.subnet, self._node), old.version)
            if claim.owner == self._node:
                self._log.info("pod CIDR {net} is taken over from {old!r}, which is gone", net=old.net, old=old.owner)
                return claim
        return None

    @inlineCallbacks
    def _is_gone(self, owner: str):
        """Whether the store has no Node of this name now."""
        if not valid_name(owner):
            return True
        try:
            return (yield self._store.get(owner)) is None
        except CorruptRecord:
            return False

    @inlineCallbacks
    def _released(self, kept: Iterable[Net], claims: Iterable[Claim], nodes: Mapping[str, Node]):
        """Let go of what is not kept, and not said by the stored Node either; whether nothing is left to let go."""
        own = nodes.get(self._node)
        said = [] if own is None else list(_cidrs([own]))
        left = False
        for claim in claims:
            if claim.owner != self._node or any(within(claim.net, net) for net in kept):
                continue
            if overlap([claim.net], said):
                left = True
            else:
                yield self._store.release(claim)
        return not left

    def _hold(self, nets: tuple[Net, ...], said: str) -> None:
        cidrs = _texts(nets)
        if said != self._said:
            self._said = said
            self._log.info("{said}", said=said)
        if cidrs != self.cidrs:
            if self.cidrs:
                before, now = ", ".join(self.cidrs), ", ".join(cidrs) or "none"
                self._log.warn("pod CIDR changes from {before} to {now}: see k3net cni-config", before=before, now=now)
            self.cidrs = cidrs
            self._changed()

    def _tell(self, trouble: str) -> None:
        if trouble != self.trouble:
            self.trouble = trouble
            self._changed()
            if trouble:
                self._log.warn("pod CIDR: {trouble}", trouble=trouble)
            else:
                self._log.info("pod CIDR: all is well again")


def _texts(nets: Iterable[Net]) -> tuple[str, ...]:
    return tuple(map(str, nets))


def _cidrs(nodes: Iterable[Node]) -> Iterator[Net]:
    """What these Nodes say, as far as it is networks."""
    for node in nodes:
        for text in node.pod_cidrs:
            with suppress(ValueError):
                yield from networks(text)
