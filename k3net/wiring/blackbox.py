"""Who may be probed through `/probe` on `api.listen`: what the settings allow, and the peers."""

from collections.abc import Sequence

from k3net.config import Settings
from k3net.credentials import Trust
from k3net.parts import Surroundings
from k3net.web.blackbox import AllowList, Blackbox
from k3net.web.resource import Route


def blackbox_routes(daemon: Surroundings, s: Settings) -> list[Route]:
    table, reactor = daemon.table, daemon.reactor

    def peer(name: str) -> Sequence[str]:
        known = table.get(name)
        return () if known is None else known.whereabouts(reactor.seconds())[0]

    def is_peer(address: str) -> bool:
        now = reactor.seconds()
        return any(address in known.whereabouts(now)[0] for known in table)

    allowed = AllowList(s.blackbox.allowed_targets, peer=peer, is_peer=is_peer)
    return Blackbox(reactor, allowed, tls=Trust(s.blackbox.ca)).routes()
