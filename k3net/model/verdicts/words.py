"""The sentence of a verdict."""

from collections.abc import Sequence

from k3net.model.percent import rounded_percent

_MOST_NAMES = 5
_MOST_SETS = 4


def listed(names: Sequence[str], most: int = _MOST_NAMES) -> str:
    """`a`, `a and b`, `a, b and c`, and of more than `most`: `a, b, c, d and 7 more`."""
    if len(names) > most:
        return f"{', '.join(names[: most - 1])} and {len(names) - most + 1} more"
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))


def percent(share: float) -> str:
    """`20 %`, `0.4 %`; never 0 or 100 of what is not."""
    digits = 1 if round(100 * share) in (0, 100) else 0
    return f"{rounded_percent(share, digits):g} %"


class Words:
    """The sentences for one layer, `host` or `pod`; `port` is its TCP port, 0 when it is not known.

    `beneath` says whether the other layer passes where this one fails, None when that was not measured.
    """

    def __init__(self, layer: str, port: int = 0):
        self._layer = layer
        self._pods = layer == "pod"
        self._of = "the pods of " if self._pods else ""
        self._port = f"TCP port {port}" if port else "TCP port"

    def _many(self, names: Sequence[str]) -> bool:
        return self._pods or len(names) > 1

    def _cause(self, beneath: "bool | None", cause: str) -> str:
        if self._pods and beneath:
            return "the hosts reach each other, so look at the CNI or its encapsulation"
        if not self._pods and beneath:
            return "the pods there are reached, so it is a firewall that drops the tests"
        return cause

    def everything(self, beneath: "bool | None") -> str:
        cause = self._cause(beneath, f"the network between the {self._layer}s is down or drops the tests")
        return f"no {self._layer} reaches any other: {cause}"

    def partition(self, sets: Sequence[Sequence[str]], beneath: "bool | None") -> str:
        shown = "; ".join(f"{len(each)} are {listed(each)}" for each in sets[:_MOST_SETS])
        more = f"; and {len(sets) - _MOST_SETS} sets more" if len(sets) > _MOST_SETS else ""
        cause = self._cause(beneath, "look at what connects them")
        what = f"the {self._layer}s are split into {len(sets)} sets that do not reach each other"
        return f"{what}: {shown}{more}: {cause}"

    def down(self, names: Sequence[str], beneath: "bool | None") -> str:
        if self._many(names):
            how = "are down or cut off: nobody reaches them, and they reach nobody or tell nothing"
        else:
            how = "is down or cut off: nobody reaches it, and it reaches nobody or tells nothing"
        cause = self._cause(beneath, "")
        return f"{self._of}{listed(names)} {how}{'; ' + cause if cause else ''}"

    def inbound(self, names: Sequence[str], beneath: "bool | None") -> str:
        who = "they reach" if self._many(names) else "it reaches"
        cause = self._cause(beneath, "something drops what comes in, as a firewall there does")
        return f"nobody reaches {self._of}{listed(names)} while {who} others: {cause}"

    def outbound(self, names: Sequence[str], beneath: "bool | None") -> str:
        how = "reach nobody while others reach them" if self._many(names) else "reaches nobody while others reach it"
        agents = "the agents there are" if len(names) > 1 else "the agent there is"
        return (
            f"{self._of}{listed(names)} {how}: {self._cause(beneath, 'what goes out is dropped')}, or {agents} at fault"
        )

    def partial(self, names: Sequence[str], share: float) -> str:
        return f"{percent(share)} of the tests from and to {self._of}{listed(names)} fail, without a pattern"

    def links(
        self, links: Sequence[tuple[str, str]], protocol: str, half: int = 0, beneath: "bool | None" = None
    ) -> str:
        """`half` of the links were tested in one direction only."""
        over = f" by {protocol.upper()} alone" if protocol else ""
        cause = self._cause(None if protocol else beneath, "look at what is between them")
        if len(links) == 1:
            tested = " (tested in one direction only)" if half else ""
            who = " and ".join(links[0])
            return f"{self._of}{who} do not reach each other{over}{tested} while others reach them: {cause}"
        tested = f" ({half} tested in one direction only)" if half else ""
        shown = listed([f"{one} – {two}" for one, two in links])
        return f"{len(links)} links of the {self._layer}s are down{over}{tested}: {shown}: {cause}"

    def one_way(self, links: Sequence[tuple[str, str]], protocol: str) -> str:
        reach = "do not reach those" if self._pods else "does not reach"
        shown = listed(
            [f"{self._of}{source} {reach}{' of' if self._pods else ''} {target}" for source, target in links]
        )
        over = f" by {protocol.upper()}" if protocol else ""
        return f"{shown}{over}, though the way back passes: a firewall or a route of one direction"

    def scattered(self, share: float) -> str:
        return f"{percent(share)} of the tests between {self._layer}s fail without a pattern: loss, or overload"

    def port(self, names: Sequence[str]) -> str:
        if not names:
            listener = "no agent listens" if self._pods else "nothing listens"
            return f"{self._port} opens on no {self._layer}, though they answer ping: it is filtered or {listener}"
        many = len(names) > 1
        where = f"the agent{'s' if many else ''} on {listed(names)}" if self._pods else listed(names)
        who = "they answer" if many else "it answers"
        return f"{self._port} of {where} does not open, though {who} ping: nothing listens there, or it is filtered"

    def icmp(self, names: Sequence[str]) -> str:
        if not names:
            return f"no {self._layer} answers ping, though {self._port} opens: ICMP is filtered"
        answer, whose = ("answer", "their") if self._many(names) else ("answers", "its")
        return f"{self._of}{listed(names)} {answer} no ping, though {whose} {self._port} opens: ICMP is filtered"

    def protocol_out(self, names: Sequence[str], protocol: str) -> str:
        other = "TCP" if protocol == "icmp" else "ICMP"
        reach = "reach" if self._many(names) else "reaches"
        how = f"{reach} nobody by {protocol.upper()}, though {other} passes"
        return f"{self._of}{listed(names)} {how}: it is filtered on the way out"

    def loss(self, share: float, names: Sequence[str] = (), links: Sequence[tuple[str, str]] = ()) -> str:
        if links:
            shown = listed([f"{one} – {two}" for one, two in links])
            what = f"the link {shown} loses" if len(links) == 1 else f"{len(links)} links lose, {shown},"
            return f"{what} {percent(share)} of the packets between {self._layer}s"
        if names:
            return f"all links of {self._of}{listed(names)} lose packets: {percent(share)} of them"
        return f"all links of the {self._layer}s lose packets: {percent(share)} of them"


def service(name: str, names: Sequence[str], pods_reach: bool) -> str:
    """A service whose port does not open for anybody, or for the nodes `names`."""
    though = "the pods reach each other, so look" if pods_reach else "look"
    if not names:
        return f"nobody reaches the service {name}, though its name resolves: {though} at kube-proxy and its endpoints"
    return f"the service {name} is not reached from {listed(names)}, but from others: look at kube-proxy there"


def dns(names_failing: Sequence[str], names: Sequence[str], every: bool) -> str:
    """Names that do not resolve for anybody (all that were asked for when `every`), or none for the nodes `names`."""
    if names:
        return f"no name resolves on {listed(names)}, but elsewhere: look at DNS there (resolv.conf, kube-proxy)"
    if every and len(names_failing) > 1:
        return "no name resolves on any node: DNS is down"
    many = len(names_failing) > 1
    what = f"the name{'s' if many else ''} {listed(names_failing)} resolve{'' if many else 's'} on no node"
    return f"{what}: DNS is down, or there is no such service"
