"""Probes: `probe(reactor, target, timeout)` gives a Deferred of a ProbeResult, and never fails."""

from collections.abc import Callable, Mapping
from typing import Any

from twisted.internet.defer import Deferred

from k3net.model.result import ProbeResult
from k3net.probes import dns, http, icmp, tcp

Probe = Callable[[Any, Any, float], "Deferred[ProbeResult]"]

PROBES: Mapping[str, Probe] = {"tcp": tcp.probe, "icmp": icmp.probe, "dns": dns.probe, "http": http.probe}
