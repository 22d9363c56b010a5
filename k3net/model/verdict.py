"""The smallest explanation of who does not reach whom."""

from collections.abc import Mapping, Sequence

from k3net.model.verdicts.picture import Picture, Round, ServicePicture
from k3net.model.verdicts.verdict import Verdict, state

__all__ = ["Picture", "Round", "ServicePicture", "Verdict", "state", "verdicts"]

_NONE: Mapping[str, ServicePicture] = {}
_PORTS: Mapping[str, int] = {"host": 22, "pod": 6100}


def verdicts(
    pictures: Mapping[str, Picture],
    services: Mapping[str, ServicePicture] = _NONE,
    *,
    earlier: Sequence[Round] = (),
    ports: Mapping[str, int] = _PORTS,
) -> tuple[Verdict, ...]:
    """What is broken, the largest first; empty means healthy, and nothing measured gives `unknown`.

    `pictures` are those of the layers `host` and `pod`, each whole (`host`) or by protocol (`host/icmp`, `host/tcp`,
    which are preferred); all have the same nodes in the same order. `earlier` are the up to three rounds before, newest
    first: a lone pair or source is believed only when several results agree. `ports` are the TCP ports by layer.
    ValueError for an unknown layer or nodes that differ.
    """
    return ()
