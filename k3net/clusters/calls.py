"""What one instance says to another: that a cluster is to be read again (spec/5-clusters.md)."""

from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from twisted.internet.defer import TimeoutError as NoAnswer
from twisted.internet.defer import inlineCallbacks
from twisted.python.failure import Failure

from k3net.credentials import BadSecret
from k3net.errors import K3netError
from k3net.http import BrokenAnswer, ConnectFailed, FetchError, NotHTTP, Response, TimedOut, fetch

_LARGEST = 1 << 16
_MAY_PASS = (ConnectFailed, TimedOut, NotHTTP, BrokenAnswer)


class CannotTell(K3netError):
    """The other instance did not do as it was told; `may_pass` says whether the same may be tried again."""

    def __init__(self, reason: str, may_pass: bool):
        super().__init__(reason)
        self.may_pass = may_pass

    def __str__(self) -> str:
        return str(self.args[0])


def why_untold(failure: Failure, timeout: float) -> tuple[str, bool]:
    """Why an instance was not told within `timeout` seconds, and whether that may pass."""
    if isinstance(failure.value, CannotTell):
        return str(failure.value), failure.value.may_pass
    if failure.check(NoAnswer):
        return f"no answer within {timeout:g} s", True
    return f"{type(failure.value).__name__}: {failure.getErrorMessage()}", False


class ReloadCall:
    """`POST /api/v1/internal/clusters/<name>/reload` at an address (`10.0.0.2:8081`, `[fd00::2]:8081`).

    Called with address, cluster name and change; gives the Deferred of the identity of who answered ("": it did not
    say), which fails with CannotTell. Of a deletion an instance that does not know the cluster has been told. `token()`
    is the instances' own token, "" for none; with `trust(host)` they speak TLS, and show a certificate.
    """

    def __init__(
        self,
        reactor: Any,
        *,
        timeout: float = 5.0,
        token: Callable[[], str] = str,
        trust: "Callable[[str], Any] | None" = None,
    ):
        self._reactor = reactor
        self._timeout = timeout
        self._token = token
        self._trust = trust

    @inlineCallbacks
    def __call__(self, address: str, name: str, change: str):
        scheme = "http" if self._trust is None else "https"
        url = f"{scheme}://{address}/api/v1/internal/clusters/{quote(name, safe='')}/reload"
        try:
            token = self._token()
            answer = yield fetch(
                self._reactor,
                "POST",
                url,
                headers={"Authorization": f"Bearer {token}"} if token else {},
                timeout=self._timeout,
                max_bytes=_LARGEST,
                tls=self._trust,
            )
        except FetchError as error:
            raise CannotTell(error.reason, _may_pass(error)) from None
        except BadSecret as error:
            raise CannotTell(str(error), may_pass=False) from None
        if answer.status != 200 and not (answer.status == 404 and change == "deletion"):
            said = f"{answer.status} {_message(answer)!r}"
            raise CannotTell(said, answer.status in (408, 429) or answer.status >= 500)
        return _identity(answer)


def _may_pass(error: FetchError) -> bool:
    """A certificate that is not believed will not be believed a second later."""
    wrong = error.reason.startswith("TLS: ") and "closed" not in error.reason
    return isinstance(error, _MAY_PASS) and not wrong


def _identity(answer: Response) -> str:
    try:
        return str(answer.json(dict[str, Any]).get("data", {}).get("instance", ""))[:64]
    except (BrokenAnswer, AttributeError):
        return ""


def _message(answer: Response) -> str:
    try:
        return str(answer.json(dict[str, Any]).get("message", ""))[:200]
    except BrokenAnswer:
        return ""
