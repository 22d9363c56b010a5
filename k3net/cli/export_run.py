"""The export itself, for `k3net export` and `twistd k3net-export`: table, names, vendors, and where it goes."""

import io
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from contextlib import redirect_stdout, suppress
from typing import Any

from k3net.cli.export_forms import write_report
from k3net.cli.text import escaped
from k3net.errors import ConfigError, K3netError
from k3net.export.devices import devices, own_networks, selected
from k3net.export.files import write_whole
from k3net.export.names import read_hosts
from k3net.export.report import Report
from k3net.export.request import Network, Request, parse_request
from k3net.export.vendor import vendor
from k3net.neighbors.entry import Address
from k3net.neighbors.table import read

Named = dict[Address, tuple[str, str]]


class NotWritten(K3netError):
    """The file of --output cannot be written."""


def main(words: Mapping[str, Any], program: str, task: "Callable[[Request, str], None] | None" = None) -> int:
    """Do what the options' texts ask for, and give the exit code: 0, 1 (failed) or 2 (asked wrongly).

    What is wrong is one line on standard error, after `program`. SIGINT and SIGTERM leave with 130 and 143, and no
    file half written. A reader that has enough is no failure.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    _on_signals(_leave)
    try:
        (task or export)(parse_request(words), program)
        print(end="", flush=True)
    except ConfigError as error:
        return _failed(program, str(error), 2)
    except K3netError as error:
        return _failed(program, str(error), 1)
    except BrokenPipeError:
        _drop_output()
    except OSError as error:
        _drop_output()
        return _failed(program, f"standard output: {(error.strerror or str(error)).lower()}", 1)
    return 0


def export(request: Request, program: str) -> None:
    """Print the export, or write it to its file; what is missing is said on standard error."""
    report = collected(request)
    for note in report.notes:
        print(f"{program}: {escaped(note)}", file=sys.stderr)
    if not request.output:
        write_report(report, request.format)
        return
    with redirect_stdout(io.StringIO()) as text:
        write_report(report, request.format)
    try:
        write_whole(request.output, text.getvalue())
    except OSError as error:
        raise NotWritten(f"{request.output}: {(error.strerror or str(error)).lower()}") from None
    count = len(report.devices)
    print(f"export ok: {escaped(request.output)} ({count} device{'s' * (count != 1)})")


def collected(request: Request) -> Report:
    """The neighbours as they are now; K3netError when this machine does not say."""
    begun, wall = time.monotonic(), time.time()
    networks = networks_of(request)
    table = read(sys.platform, request.families, request.timeout)
    rows = selected(table.neighbors, networks)
    named: Named = {}
    notes = list(table.notes)
    if request.resolve_dns:
        named, missing = _looked_up({row.address for row in rows if not row.host}, request, begun + request.timeout)
        notes += missing
    found = devices(rows, named, vendor)
    return Report(networks, wall, time.monotonic() - begun, tuple(found), tuple(notes))


def networks_of(request: Request) -> tuple[Network, ...]:
    """Those that were asked for, else those of this machine's interfaces; NoNetwork."""
    if request.cidrs:
        return request.cidrs
    from k3net import host  # Linux only, and only here

    interfaces = [each for each in host.look().interfaces if each.up and not each.loopback]
    return own_networks((address for each in interfaces for address in each.addresses), request.families)


def _looked_up(addresses: Collection[Address], request: Request, deadline: float) -> tuple[Named, list[str]]:
    named = in_hosts(addresses)
    rest = sorted(set(addresses) - named.keys(), key=lambda address: (address.version, int(address)))
    if not rest:
        return named, []
    from k3net.cli.export_progress import NameProgress

    missing: Counter[str] = Counter()

    def ask(reactor: Any) -> Any:
        resolver = reverse_dns(reactor, request)
        progress = NameProgress(reactor, len(rest))

        def ended(result: Any) -> Any:
            progress.end()
            missing.update(resolver.missing)
            return result

        return resolver.names(rest, deadline, progress.step).addBoth(ended)

    named.update((address, (name, "dns")) for address, name in with_reactor(ask).items())
    return named, missing_names(missing, len(rest), request)


def in_hosts(addresses: Collection[Address]) -> Named:
    return {address: (name, "hosts") for address, name in read_hosts(addresses).items()}


def reverse_dns(reactor: Any, request: Request) -> Any:
    """A ReverseDNS for the servers of /etc/resolv.conf; ConfigError when that cannot be read."""
    from k3net.export.reverse import ReverseDNS
    from k3net.probes.dns import RESOLV_CONF, read_resolv

    try:
        servers = read_resolv().servers
    except OSError as error:
        raise K3netError(f"{RESOLV_CONF}: {(error.strerror or str(error)).lower()}; see --resolve-dns") from None
    return ReverseDNS(reactor, servers, wait=request.dns_timeout)


def missing_names(missing: Mapping[str, int], asked: int, request: Request) -> list[str]:
    """A line that says how many names are missing and why, or none."""
    if not missing:
        return []
    said = {
        "no answer": f"no answer within {min(request.dns_timeout, request.timeout):g} s",
        "not asked in time": "--timeout was over",
    }
    why = ", ".join(f"{said.get(reason, reason)}: {count}" for reason, count in sorted(missing.items()))
    return [f"{sum(missing.values())} of {asked} names are missing ({why})"]


def with_reactor(f: Callable[[Any], Any]) -> Any:
    """What the Deferred of `f(reactor)` gives, or raises; SIGINT and SIGTERM end it, as `main` says."""
    from twisted.internet import reactor as global_reactor
    from twisted.internet.defer import maybeDeferred
    from twisted.internet.error import ReactorNotRunning
    from twisted.python.failure import Failure

    reactor: Any = global_reactor
    outcomes: list[Any] = []
    signals: list[int] = []

    def end(number: int) -> None:
        signals.append(number)
        reactor.callFromThread(reactor.stop)

    def ended(outcome: Any) -> None:
        outcomes.append(outcome)
        with suppress(ReactorNotRunning):
            reactor.stop()

    def begin() -> None:
        maybeDeferred(f, reactor).addBoth(ended)

    reactor.seconds = time.monotonic
    reactor.callWhenRunning(begin)
    _on_signals(end)
    reactor.run(installSignalHandlers=False)
    _on_signals(_leave)
    if signals or not outcomes:
        _leave(next(iter(signals), signal.SIGTERM))
    [outcome] = outcomes
    if isinstance(outcome, Failure):
        outcome.raiseException()
    return outcome


def _on_signals(end: Callable[[int], None]) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: end(number))


def _leave(number: int) -> None:
    raise SystemExit(128 + number)


def _failed(program: str, reason: str, code: int) -> int:
    print(f"{program}: {escaped(reason)}", file=sys.stderr)
    return code


def _drop_output() -> None:
    """What is still to be printed goes nowhere, so that Python does not complain of it at its end."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.close(null)
