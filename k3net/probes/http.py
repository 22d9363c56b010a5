"""HTTP: what a URL answers, and where the time goes."""

from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any
from urllib.parse import urlsplit

from twisted.internet import defer
from twisted.internet.defer import Deferred, inlineCallbacks, succeed

from k3net.errors import K3netError
from k3net.http import BrokenAnswer, ConnectFailed, FetchError, NotHTTP, TimedOut, TooLarge, fetch
from k3net.model.result import ProbeResult
from k3net.probes.names import addresses_of
from k3net.probes.settled import settled

MAX_BYTES = 1 << 20
_LONGEST_URL = 2048
_FAILED = ("refused", "timeout", "unreachable", "unknown host")
_AGENT = "k3net"
_ENDS = {"connected": "connect", "secured": "tls", "answered": "processing"}


def probe(
    reactor: Any,
    target: str,
    timeout: float,
    *,
    tls: "Callable[[str], Any] | None" = None,
    address: str = "",
) -> "Deferred[ProbeResult]":
    """GET a URL and read all of the answer, up to a mebibyte; no redirect is followed.

    `tls(host)` gives what https is spoken by, else this machine's authorities are trusted. With `address` that is
    asked, and the URL's host is not resolved. Ok when the status is 2xx. Failed: `status: 404`, `refused`, `timeout`,
    `unreachable`, `unknown host`, `TLS: ...`, `not HTTP: ...`, `broken: ...`, `too large: ...`.
    Phases: `resolve`, `connect`, `tls`, `processing`, `transfer`. Facts: `status`, `version`, `bytes`, `secure`,
    `address`, and `expires` (unix time) of the first of the server's certificates to expire.
    """
    host = _host(target)
    if host is None:
        reason = "local fault: not a URL"
        return succeed(ProbeResult(target[:_LONGEST_URL], "http", None, reactor.seconds(), reason=reason))
    return settled(reactor, target, "http", _ask(reactor, target, host, timeout, tls or _machines_trust, address))


def _host(url: str) -> "str | None":
    """The host of a URL that can be asked; None for another."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0 and "@" not in parts.netloc
    except ValueError:
        return None
    plain = url.isascii() and url.isprintable() and " " not in url and len(url) <= _LONGEST_URL
    return parts.hostname if usable and plain else None


@inlineCallbacks
def _ask(reactor: Any, url: str, host: str, timeout: float, tls: Callable[[str], Any], address: str):
    course = _Course(reactor)

    def result(ok: "bool | None", reason: str, **facts: Any) -> ProbeResult:
        now = reactor.seconds()
        known = {"address": address, "secure": url.startswith("https:"), **course.facts, **facts}
        rtt = now - course.begun if ok else None
        return ProbeResult(url, "http", ok, now, rtt=rtt, reason=reason, phases=course.phases, facts=known)

    if not address:
        try:
            addresses = yield addresses_of(reactor, host).addTimeout(timeout, reactor)
        except defer.TimeoutError:
            return result(False, "timeout")
        if not addresses:
            return result(False, "unknown host")
        address = addresses[0]
        course.reached("resolve")
    left = max(0.001, timeout - (reactor.seconds() - course.begun))
    try:
        answer = yield fetch(
            reactor,
            "GET",
            url,
            headers={"User-Agent": _AGENT},
            timeout=left,
            max_bytes=MAX_BYTES,
            tls=tls,
            address=address,
            reached=course.moment,
        )
    except FetchError as error:
        return result(*_failed(error))
    except K3netError as error:  # a certificate file of this machine's
        return result(None, f"local fault: {error}")
    course.reached("transfer")
    ok = 200 <= answer.status < 300
    facts = {"status": answer.status, "version": answer.version, "bytes": len(answer.body)}
    return result(ok, "" if ok else f"status: {answer.status}", **facts)


def _failed(error: FetchError) -> "tuple[bool | None, str]":
    """`ok` and `reason` of a probe without an answer."""
    if isinstance(error, TimedOut):
        return False, "timeout"
    if isinstance(error, TooLarge):
        return False, f"too large: {error.reason}"
    if isinstance(error, NotHTTP):
        return False, f"not HTTP: {error.reason}"
    if isinstance(error, BrokenAnswer):
        return False, f"broken: {error.reason}"
    if isinstance(error, ConnectFailed) and (error.reason in _FAILED or error.reason.startswith("TLS: ")):
        return False, error.reason
    if "ermission" in error.reason or "not permitted" in error.reason:
        return None, "not permitted"
    return None, f"local fault: {error.reason}"


class _Course:
    """When each phase ended."""

    def __init__(self, reactor: Any):
        self._reactor = reactor
        self.begun = self._last = reactor.seconds()
        self.phases: dict[str, float] = {}
        self.facts: dict[str, Any] = {}

    def reached(self, phase: str) -> None:
        now = self._reactor.seconds()
        self.phases[phase] = now - self._last
        self._last = now

    def moment(self, what: str, transport: Any) -> None:
        """As `fetch` tells it."""
        self.reached(_ENDS[what])
        if what == "secured":
            expires = _expiry(transport)
            if expires is not None:
                self.facts["expires"] = expires


def _expiry(transport: Any) -> "float | None":
    chain = transport.getHandle().get_peer_cert_chain() or []
    dates = [certificate.get_notAfter() for certificate in chain]
    moments = [
        datetime.strptime(date.decode("ascii"), "%Y%m%d%H%M%SZ").replace(tzinfo=timezone.utc).timestamp()
        for date in dates
        if date
    ]
    return min(moments, default=None)


def _machines_trust(host: str) -> Any:
    from twisted.internet.ssl import optionsForClientTLS  # OpenSSL is for those who speak https

    return optionsForClientTLS(host)
