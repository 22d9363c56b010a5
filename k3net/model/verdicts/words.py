"""The sentence of a verdict."""

from collections.abc import Sequence

_MOST_NAMES = 5
_MOST_SETS = 4


def listed(names: Sequence[str], most: int = _MOST_NAMES) -> str:
    """`a`, `a and b`, `a, b and c`, and of more than `most`: `a, b, c, d and 7 more`."""
    if len(names) > most:
        return f"{', '.join(names[: most - 1])} and {len(names) - most + 1} more"
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))


def percent(share: float) -> str:
    """`20 %`, `0.4 %`; never 0 or 100 of what is not."""
    rounded = round(100 * share)
    return f"{100 * share:.1f} %" if rounded == 0 < share or (rounded == 100 and share < 1) else f"{rounded} %"


class Words:
    """The sentences for one layer; `port` is its TCP port, 0 when it is not known.

    `beneath` says how it looks where this layer fails: for pods, whether their hosts reach each other (True, or None
    when that was not measured); for hosts, whether their pods do.
    """

    def __init__(self, layer: str, port: int = 0):
        self._of = "the pod network of " if layer == "pod" else ""
        self._one = layer
        self._pods = layer == "pod"
        self._port = f"TCP port {port}" if port else "the TCP port"

    def _cause(self, beneath: "bool | None", cause: str) -> str:
        if self._pods and beneath:
            return "the hosts reach each other, so look at the CNI or its encapsulation"
        if not self._pods and beneath:
            return "but the pods there are reached, so a firewall on the hosts drops the tests"
        return cause

    def everything(self, beneath: "bool | None") -> str:
        cause = self._cause(beneath, f"the network between the {self._one}s is down or drops the tests")
        return f"no {self._one} reaches any other: {cause}"

    def partition(self, sets: Sequence[Sequence[str]], beneath: "bool | None") -> str:
        shown = " | ".join(f"{listed(each)} ({len(each)})" for each in sets[:_MOST_SETS])
        more = f" | {len(sets) - _MOST_SETS} more" if len(sets) > _MOST_SETS else ""
        cause = self._cause(beneath, "look at what connects them")
        return f"the {self._one}s are split into {len(sets)} sets that do not reach each other: {shown}{more}: {cause}"

    def down(self, names: Sequence[str], beneath: "bool | None") -> str:
        many = len(names) > 1
        what = f"{self._of}{listed(names)} {'are' if many else 'is'} down or cut off"
        how = f"nobody reaches {'them, and they reach' if many else 'it, and it reaches'} nobody or tell{'' if many else 's'} nothing"  # noqa: E501
        cause = self._cause(beneath, "")
        return f"{what}: {how}{'; ' + cause if cause else ''}"

    def inbound(self, names: Sequence[str], beneath: "bool | None") -> str:
        who = "they reach" if len(names) > 1 else "it reaches"
        cause = self._cause(beneath, "something drops what comes in, as a firewall there does")
        return f"nobody reaches {self._of}{listed(names)} while {who} others: {cause}"

    def outbound(self, names: Sequence[str], beneath: "bool | None") -> str:
        many = len(names) > 1
        cause = self._cause(beneath, "what goes out is dropped")
        at_fault = f"{cause}, or the agent{'s' if many else ''} there {'are' if many else 'is'} at fault"
        how = f"reach{'' if many else 'es'} nobody while others reach {'them' if many else 'it'}"
        return f"{self._of}{listed(names)} {how}: {at_fault}"

    def partial(self, names: Sequence[str], share: float) -> str:
        return f"{percent(share)} of the tests from and to {self._of}{listed(names)} fail, without a pattern"

    def links(self, links: Sequence[tuple[str, str]], protocol: str, beneath: "bool | None") -> str:
        shown = listed([f"{one} and {two}" for one, two in links]) if len(links) == 1 else ""
        shown = shown or listed([f"{one} – {two}" for one, two in links])
        over = f" by {protocol.upper()} alone" if protocol else ""
        cause = self._cause(None if protocol else beneath, "look at what is between them")
        if len(links) == 1:
            return f"{self._of}{shown} do not reach each other{over} while others reach them: {cause}"
        return f"{len(links)} links of the {self._one}s are down{over}: {shown}: {cause}"

    def one_way(self, links: Sequence[tuple[str, str]], protocol: str) -> str:
        shown = listed([f"{source} does not reach {target}" for source, target in links])
        over = f" by {protocol.upper()}" if protocol else ""
        return f"{self._of}{shown}{over}, though the way back passes: a firewall or a route of one direction"

    def scattered(self, share: float) -> str:
        return f"{percent(share)} of the tests between {self._one}s fail without a pattern: loss, or overload"

    def port(self, names: Sequence[str]) -> str:
        listener = "the agent does not listen" if self._pods else "nothing listens"
        if not names:
            return f"{self._port} opens on no {self._one}, though they answer ping: it is filtered or {listener}"
        who = "they answer" if len(names) > 1 else "it answers"
        return f"{self._port} of {listed(names)} does not open, though {who} ping: {listener}, or it is filtered"

    def icmp(self, names: Sequence[str]) -> str:
        if not names:
            return f"no {self._one} answers ping, though {self._port} opens: ICMP is filtered"
        who = "their" if len(names) > 1 else "its"
        return f"{self._of}{listed(names)} answer{'' if len(names) > 1 else 's'} no ping, though {who} {self._port.removeprefix('the ')} opens: ICMP is filtered"  # noqa: E501

    def protocol_out(self, names: Sequence[str], protocol: str) -> str:
        other = "TCP" if protocol == "icmp" else "ICMP"
        who = "s nobody" if len(names) == 1 else " nobody"
        out = listed(names) + (" reache" if len(names) == 1 else " reach")
        return f"{self._of}{out}{who} by {protocol.upper()}, though {other} passes: it is filtered on the way out"

    def loss(self, share: float, names: Sequence[str] = (), links: Sequence[tuple[str, str]] = ()) -> str:
        if links:
            shown = listed([f"{one} – {two}" for one, two in links])
            what = f"the link {shown} loses" if len(links) == 1 else f"{len(links)} links lose, {shown},"
            return f"{what} {percent(share)} of the packets between {self._one}s"
        if names:
            return f"all links of {self._of}{listed(names)} lose packets: {percent(share)} of them"
        return f"all links of the {self._one}s lose packets: {percent(share)} of them"


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
