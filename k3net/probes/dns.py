"""DNS: does a name resolve, for this machine or by a server that is asked, and how soon."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, inlineCallbacks, succeed

from k3net.model.result import ProbeResult
from k3net.probes.dns_exchange import Exchange, exchange
from k3net.probes.resolv import Resolv, is_dns_name, parse_resolv
from k3net.probes.settled import settled

RESOLV_CONF = Path("/etc/resolv.conf")
PORT = 53
_LARGEST = 1 << 16
_ASK_ANOTHER = ("SERVFAIL", "REFUSED", "NOTIMP", "FORMERR")
_TRY_ANOTHER = ("NXDOMAIN", "no address")

Server = tuple[str, int]


def probe(
    reactor: Any, target: "str | tuple[str, str, int]", timeout: float, *, resolv_conf: Path = RESOLV_CONF
) -> "Deferred[ProbeResult]":
    """The A and AAAA records of a name: of `name` as this machine resolves it, or of (name, server's address, port).

    A bare name is asked of the servers of `resolv_conf`, with its search list; /etc/hosts is not looked at. With a
    server the name is taken as it stands. Ok when both questions were answered and there is an address. Failed:
    `NXDOMAIN`, `SERVFAIL` or another rcode, `no address`, `timeout`, `refused` (no server there), `unreachable`.
    Facts: `rcode`, `addresses`, `name` (what was asked for last), `server`, `truncated`.
    """
    name, server = (target, None) if isinstance(target, str) else (target[0], (target[1], target[2]))
    shown = name if server is None else f"{name}@{_shown(*server)}"

    def unmeasured(reason: str) -> ProbeResult:
        return ProbeResult(shown, "dns", None, reactor.seconds(), reason=reason)

    if not is_dns_name(name):
        return succeed(unmeasured("local fault: not a DNS name"))
    if server is not None:
        names, servers = [name.removesuffix(".")], [server]
    else:
        try:
            resolv = read_resolv(resolv_conf)
        except OSError as error:
            return succeed(unmeasured(f"local fault: {resolv_conf}: {error.strerror}"))
        names = [each for each in resolv.candidates(name) if is_dns_name(each)]
        servers = [(address, PORT) for address in resolv.servers]
    return settled(reactor, shown, "dns", _look_up(reactor, shown, names, servers, timeout))


def read_resolv(path: Path = RESOLV_CONF) -> Resolv:
    """OSError when it cannot be read; one that is not there is an empty one."""
    try:
        with path.open("rb") as file:
            return parse_resolv(file.read(_LARGEST).decode("utf-8", "replace"))
    except FileNotFoundError:
        return Resolv()


@inlineCallbacks
def _look_up(reactor: Any, shown: str, names: Sequence[str], servers: Sequence[Server], timeout: float):
    """As the C library goes about it: after a server that gives no answer the next, after an unknown name too."""
    begun = reactor.seconds()
    sent = received = 0
    for name in names:
        for place, server in enumerate(servers):
            left = max(0.0, begun + timeout - reactor.seconds())
            said = yield exchange(reactor, server, name, left / (len(servers) - place))
            sent, received = sent + said.sent, received + len(said.answers)
            ok, reason = _verdict(said)
            if said.ok and reason not in _ASK_ANOTHER:
                break
        if reason not in _TRY_ANOTHER:
            break
    now = reactor.seconds()
    answers = said.answers.values()
    facts = {
        "name": name,
        "server": _shown(*server),
        "addresses": tuple(address for answer in answers for address in answer.addresses),
        "rcode": next((answer.rcode for answer in answers if answer.rcode != "NOERROR"), "NOERROR" if answers else ""),
        "truncated": any(answer.truncated for answer in answers),
    }
    rtt = now - begun if ok else None
    return ProbeResult(shown, "dns", ok, now, rtt=rtt, reason=reason, sent=sent, received=received, facts=facts)


def _verdict(said: Exchange) -> "tuple[bool | None, str]":
    if not said.ok:
        return said.ok, said.reason
    if any(answer.addresses or answer.truncated for answer in said.answers.values()):
        return True, ""
    rcodes = [answer.rcode for answer in said.answers.values() if answer.rcode != "NOERROR"]
    return False, rcodes[0] if rcodes else "no address"


def _shown(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
