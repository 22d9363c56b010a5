"""Questions to a k3net daemon over HTTP: one at a time, each with a total deadline and a byte cap."""

import argparse
import contextlib
import json
import queue
import re
import socket
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from k3net.errors import ConfigError, K3netError
from k3net.model.token_line import first_token

if TYPE_CHECKING:
    import http.client

DEFAULT_ADDRESS = "http://127.0.0.1:8080"
DEADLINE = 10.0
LIST_LIMIT = 256 * 2**20
_CHUNK = 2**16
_ADDRESS = re.compile(r"(?:http://)?(?:\[([0-9A-Fa-f:.]+(?:%[\w.-]+)?)\]|([\w.-]+)):(\d{1,5})/?", re.ASCII)

T = TypeVar("T")


class NoAnswer(K3netError):
    """Nothing answered at `url` in time: `reason` says why."""

    def __init__(self, url: str, reason: str):
        super().__init__(url, reason)
        self.url = url
        self.reason = reason

    def __str__(self) -> str:
        return f"no daemon answers at {self.url} ({self.reason}); is it running? see --addr"


class BadAnswer(K3netError):
    """What came from `url` is nothing that a k3net daemon says."""

    def __init__(self, url: str, reason: str):
        super().__init__(url, reason)
        self.url = url
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.url} gave {self.reason}; is it a k3net daemon? see --addr"


class ApiError(K3netError):
    """The daemon refused: its own `code` and `message`, the place in the body that is meant, and the HTTP `status`."""

    def __init__(self, status: int, code: str, message: str, place: str = ""):
        super().__init__(status, code, message, place)
        self.status = status
        self.code = code
        self.message = message
        self.place = place

    def __str__(self) -> str:
        hint = "; see --token-file" if self.status == 401 else ""
        return f"{self.code}: {self.message}{f' at {self.place}' if self.place else ''}{hint}"


class Address(NamedTuple):
    host: str
    port: int

    @property
    def url(self) -> str:
        return f"http://[{self.host}]:{self.port}" if ":" in self.host else f"http://{self.host}:{self.port}"


def parse_address(text: str) -> Address:
    """The address in `host:port`, `http://host:port` or `[::1]:8080`; ConfigError when it is none of these."""
    form = _ADDRESS.fullmatch(text)
    if form is None or not 0 < int(form[3]) < 65536:
        raise ConfigError("--addr", f"expected host:port or http://host:port, not {text[:80]!r}")
    return Address(form[1] or form[2], int(form[3]))


def read_token(path: str) -> str:
    """The first token of a file as the daemon reads them; ConfigError without one."""
    try:
        with open(path, "rb") as file:
            token = first_token(file.read(_CHUNK))
    except OSError as error:
        raise ConfigError("--token-file", error.strerror or str(error), origin=path) from error
    if not re.fullmatch(rb"[\x21-\x7e]+", token):
        raise ConfigError("--token-file", "expected a token, in printable ASCII without spaces", origin=path)
    return token.decode("ascii")


def add_options(parser: argparse.ArgumentParser, environ: "Mapping[str, str] | None" = None) -> None:
    """Give `parser` --addr and --token-file; without `environ` they leave what an outer parser found as it is."""
    suppressed = environ is None
    environ = environ or {}
    parser.add_argument(
        "--addr",
        metavar="ADDR",
        default=argparse.SUPPRESS if suppressed else environ.get("K3NET_ADDR") or DEFAULT_ADDRESS,
        help=f"the daemon's API: host:port, http://host:port or [::1]:8080 (K3NET_ADDR; default {DEFAULT_ADDRESS})",
    )
    parser.add_argument(
        "--token-file",
        metavar="FILE",
        default=argparse.SUPPRESS if suppressed else environ.get("K3NET_TOKEN_FILE"),
        help="a file with the token that the API asks for (K3NET_TOKEN_FILE)",
    )


class Client:
    """Asks the daemon at `address` for JSON objects: no redirects, no proxies, no retries.

    Raises NoAnswer, BadAnswer or ApiError.
    """

    def __init__(self, address: Address, token: str = "", *, deadline: float = DEADLINE):
        self._address = address
        self._token = token
        self._deadline = deadline

    @classmethod
    def of(cls, args: argparse.Namespace, *, deadline: float = DEADLINE) -> "Client":
        """The client that --addr and --token-file ask for."""
        return cls(parse_address(args.addr), read_token(args.token_file) if args.token_file else "", deadline=deadline)

    @property
    def url(self) -> str:
        return self._address.url

    def get(self, path: str, kind: str = "", *, limit: int = LIST_LIMIT) -> dict[str, Any]:
        """The JSON object at `path`, of the `kind` that is named, in at most `limit` bytes."""
        return self._ask("GET", path, None, kind, limit)

    def post(self, path: str, body: Mapping[str, Any], *, limit: int = LIST_LIMIT) -> dict[str, Any]:
        """The JSON object that answers `body`; after NoAnswer nobody knows whether it was done."""
        return self._ask("POST", path, json.dumps(body).encode(), "", limit)

    def put(self, path: str, body: Mapping[str, Any], *, limit: int = LIST_LIMIT) -> dict[str, Any]:
        """As `post`."""
        return self._ask("PUT", path, json.dumps(body).encode(), "", limit)

    def delete(self, path: str, *, limit: int = LIST_LIMIT) -> dict[str, Any]:
        """The JSON object that answers; after NoAnswer nobody knows whether it was done."""
        return self._ask("DELETE", path, None, "", limit)

    def list(self, path: str, kind: str) -> dict[str, Any]:
        """As `get`, and its `items` is a list of objects."""
        answer = self.get(path, kind)
        items = answer.get("items")
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            raise BadAnswer(self.url + path, f"a {kind} whose items are not a list of objects")
        return answer

    def _ask(self, method: str, path: str, sent: "bytes | None", kind: str, limit: int) -> dict[str, Any]:
        url = self.url + path
        status, phrase, content_type, body = self._fetch(method, path, sent, limit)
        answer = _parsed(body)
        good = 200 <= status < 300
        if not good:
            code, message = (answer.get("code"), answer.get("message")) if isinstance(answer, dict) else (None, None)
            if isinstance(code, str) and code and isinstance(message, str):
                place = answer.get("details")
                raise ApiError(status, code, message, place if isinstance(place, str) else "")
        if not good or answer is None:
            raise BadAnswer(url, f"{status} {phrase} with {content_type or 'no content type'}, not the expected JSON")
        if not isinstance(answer, dict) or (kind and answer.get("kind") != kind):
            raise BadAnswer(url, f"JSON that is not a {kind}" if kind else "JSON that is not an object")
        return answer

    def _fetch(self, method: str, path: str, sent: "bytes | None", limit: int) -> tuple[int, str, str, bytes]:
        import http.client  # here: half the start-up of the commands that ask no daemon

        url = self.url + path
        connection = http.client.HTTPConnection(*self._address, timeout=self._deadline)
        opened: list[socket.socket] = []
        headers = {"Accept": "application/json", "Connection": "close"}
        if sent is not None:
            headers["Content-Type"] = "application/json"
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"

        def exchange() -> tuple[int, str, str, bytes]:
            connection.connect()
            opened.append(connection.sock)
            connection.request(method, path, body=sent, headers=headers)
            with connection.getresponse() as response:
                body = _read(response, limit, url)
                return response.status, response.reason, response.headers.get_content_type(), body

        try:
            return within(self._deadline, exchange)
        except TimeoutError as error:
            raise NoAnswer(self.url, f"no answer within {self._deadline:g} s") from error
        except http.client.RemoteDisconnected as error:
            raise NoAnswer(self.url, "it closed the connection without an answer") from error
        except http.client.IncompleteRead as error:
            raise BadAnswer(url, "an answer that was cut short") from error
        except (http.client.HTTPException, ValueError) as error:
            raise BadAnswer(url, "something that is not HTTP") from error
        except OSError as error:
            reason = error.strerror or str(error)
            raise NoAnswer(self.url, reason[:1].lower() + reason[1:]) from error
        finally:
            for sock in opened:
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)
            connection.close()


def _read(response: "http.client.HTTPResponse", limit: int, url: str) -> bytes:
    import http.client

    body = bytearray()
    while chunk := response.read(_CHUNK):
        body += chunk
        if len(body) > limit:
            raise BadAnswer(url, f"more than {limit} bytes")
    if response.length:
        raise http.client.IncompleteRead(bytes(body[:0]), response.length)
    return bytes(body)


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return None


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def within(seconds: float, f: Callable[[], T]) -> T:
    """What `f()` gives, from a thread of its own, so that no name look-up and no drip of bytes outlasts `seconds`."""
    outcome: queue.SimpleQueue[tuple[T | None, BaseException | None]] = queue.SimpleQueue()

    def run() -> None:
        try:
            outcome.put((f(), None))
        except BaseException as error:  # it is raised in the caller's thread
            outcome.put((None, error))

    threading.Thread(target=run, daemon=True).start()
    try:
        value, error = outcome.get(timeout=seconds)
    except queue.Empty:
        raise TimeoutError from None
    if error is not None:
        raise error
    return value  # type: ignore[return-value]
