"""Probes: `probe(reactor, target, timeout)` gives a Deferred of a ProbeResult, and never fails."""

from k3net.probes import tcp

PROBES = {"tcp": tcp.probe}
