import json
import socket
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from fixture_api import NOT_FOUND, FixtureApi, Misbehaviour, node, node_list, send

from k3net.cli.client import Address, ApiError, BadAnswer, Client, NoAnswer, parse_address, read_token
from k3net.errors import ConfigError

PATH = "/api/v1/nodes"


@pytest.fixture
def api() -> Iterator[FixtureApi]:
    with FixtureApi({PATH: node_list(node("n1"))}) as running:
        yield running


def client_of(api: FixtureApi, **settings: Any) -> Client:
    return Client(Address("127.0.0.1", api.port), **settings)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:8080", Address("127.0.0.1", 8080)),
        ("http://127.0.0.1:8080", Address("127.0.0.1", 8080)),
        ("http://node-1.example:80/", Address("node-1.example", 80)),
        ("[::1]:8080", Address("::1", 8080)),
        ("http://[fe80::1%eth0]:8080", Address("fe80::1%eth0", 8080)),
    ],
)
def test_an_address_is_read_in_each_form(text: str, address: Address) -> None:
    assert parse_address(text) == address
    assert parse_address(address.url) == address


@pytest.mark.parametrize(
    "text",
    [
        *("", "localhost", ":8080", "h:0", "h:65536", "h:99999999", "h:1\n", "h h:1", "h\r\nX: y:1", "h:٣"),
        *("https://h:1", "http://h:1/x", "u@h:1", "::1:80", "[::1]", "[h]:1"),
    ],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="--addr: expected host:port"):
        parse_address(text)


def test_a_list_is_given_as_the_api_gave_it(api: FixtureApi) -> None:
    assert client_of(api).list(PATH, "NodeList") == node_list(node("n1"))


def test_the_token_is_sent_and_no_proxy_of_the_environment_is_used(
    api: FixtureApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    client_of(api, token="s3cret").list(PATH, "NodeList")
    [(path, headers)] = api.requests
    assert (path, headers["Authorization"]) == (PATH, "Bearer s3cret")


@pytest.mark.skipif(not Path("/proc/net/if_inet6").exists(), reason="needs IPv6")
def test_an_api_over_ipv6_is_reached() -> None:
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as server:
        server.settimeout(5)
        port = server.getsockname()[1]
        client = Client(parse_address(f"[::1]:{port}"), deadline=0.3)
        with pytest.raises(NoAnswer, match=rf"http://\[::1\]:{port} \(no answer within 0.3 s\)"):
            client.get(PATH)
        connection, _ = server.accept()
        with connection:
            assert f"Host: [::1]:{port}".encode() in connection.recv(4096)


def test_nobody_there_is_said_with_the_reason() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(NoAnswer) as caught:
        Client(Address("127.0.0.1", port)).get(PATH)
    assert str(caught.value) == (
        f"no daemon answers at http://127.0.0.1:{port} (connection refused); is it running? see --addr"
    )


def hang(request: BaseHTTPRequestHandler) -> None:
    time.sleep(3)


def drip_headers(request: BaseHTTPRequestHandler) -> None:
    request.wfile.write(b"HTTP/1.1 200 OK\r\n")
    for _ in range(60):
        request.wfile.write(b"X: y\r\n"[:1])
        time.sleep(0.05)


def drip_body(request: BaseHTTPRequestHandler) -> None:
    request.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n")
    for _ in range(60):
        request.wfile.write(b" ")
        time.sleep(0.05)


@pytest.mark.parametrize("misbehave", [hang, drip_headers, drip_body])
def test_the_deadline_is_for_the_whole_answer(api: FixtureApi, misbehave: Misbehaviour) -> None:
    api.answers[PATH] = misbehave
    begun = time.monotonic()
    with pytest.raises(NoAnswer, match=r"no answer within 0\.4 s"):
        client_of(api, deadline=0.4).get(PATH)
    assert time.monotonic() - begun < 1.5


def test_an_answer_over_the_cap_is_refused_before_it_is_all_read(api: FixtureApi) -> None:
    sent = 0

    def endless(request: BaseHTTPRequestHandler) -> None:
        nonlocal sent
        request.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n")
        for _ in range(2000):
            request.wfile.write(b"1" * 2**16)
            sent += 2**16

    api.answers[PATH] = endless
    with pytest.raises(BadAnswer, match="more than 1000000 bytes"):
        client_of(api).get(PATH, limit=1_000_000)
    assert sent < 32 * 2**20


def close_at_once(request: BaseHTTPRequestHandler) -> None:
    request.close_connection = True


def cut(request: BaseHTTPRequestHandler) -> None:
    send(request, b'{"kind": "NodeList"', length=4000)


def cut_chunk(request: BaseHTTPRequestHandler) -> None:
    request.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n20\r\n{}")


def not_http(request: BaseHTTPRequestHandler) -> None:
    request.wfile.write(b"SSH-2.0-OpenSSH_9.2\r\n\x00\xff\r\n")


def bad_chunk(request: BaseHTTPRequestHandler) -> None:
    request.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n")


def html(request: BaseHTTPRequestHandler) -> None:
    send(request, b"<html>Bad Gateway</html>", status=502, content_type="text/html; charset=utf-8")


def html_as_success(request: BaseHTTPRequestHandler) -> None:
    send(request, b"<html>Log in</html>", content_type="text/html")


def redirect(request: BaseHTTPRequestHandler) -> None:
    send(request, b"", status=302, headers={"Location": "/api/v1/other"})


def not_utf8(request: BaseHTTPRequestHandler) -> None:
    send(request, b'{"kind": "NodeList", "items": ["\xff\xfe\xfd"]}')


def deep(request: BaseHTTPRequestHandler) -> None:
    send(request, b"[" * 200_000)


def nan(request: BaseHTTPRequestHandler) -> None:
    send(request, b'{"kind": "NodeList", "items": [{"a": NaN}]}')


@pytest.mark.parametrize(
    ("misbehave", "reason"),
    [
        (cut, "an answer that was cut short"),
        (cut_chunk, "an answer that was cut short"),
        (not_http, "something that is not HTTP"),
        (bad_chunk, "an answer that was cut short"),
        (html, "502 Bad Gateway with text/html, not the expected JSON"),
        (html_as_success, "200 OK with text/html, not the expected JSON"),
        (redirect, "302 Found with application/json, not the expected JSON"),
        (not_utf8, "not the expected JSON"),
        (deep, "not the expected JSON"),
        (nan, "not the expected JSON"),
        (None, "200 OK with application/json, not the expected JSON"),
        ([], "JSON that is not a NodeList"),
        ("NodeList", "JSON that is not a NodeList"),
        ({"kind": "PeerList", "items": []}, "JSON that is not a NodeList"),
        ({"kind": "NodeList"}, "a NodeList whose items are not a list of objects"),
        ({"kind": "NodeList", "items": {}}, "a NodeList whose items are not a list of objects"),
        ({"kind": "NodeList", "items": [{}, 3]}, "a NodeList whose items are not a list of objects"),
        ((500, {"code": 5, "message": "m"}), "500 Internal Server Error with application/json"),
        ((500, {"code": "X"}), "500 Internal Server Error with application/json"),
        ((500, []), "500 Internal Server Error with application/json"),
        ((204, node_list()), "204 No Content"),
    ],
)
def test_what_no_daemon_says_is_one_error(api: FixtureApi, misbehave: Any, reason: str) -> None:
    api.answers[PATH] = misbehave
    with pytest.raises(BadAnswer) as caught:
        client_of(api).list(PATH, "NodeList")
    text = str(caught.value)
    assert reason in text
    assert text.startswith(api.url + PATH)
    assert "\n" not in text
    assert [path for path, _ in api.requests] == [PATH]


def test_a_connection_closed_without_a_word_is_no_answer(api: FixtureApi) -> None:
    api.answers[PATH] = close_at_once
    with pytest.raises(NoAnswer, match="it closed the connection without an answer"):
        client_of(api).get(PATH)


def test_the_apis_own_error_is_told_by_its_code(api: FixtureApi) -> None:
    api.answers[PATH] = (404, NOT_FOUND)
    with pytest.raises(ApiError) as caught:
        client_of(api).get(PATH)
    assert (caught.value.status, str(caught.value)) == (404, "NOT_FOUND: no such thing")


def test_the_place_in_the_body_that_is_wrong_is_told(api: FixtureApi) -> None:
    wrong = {"code": "BAD_BODY", "message": "Expected `str` of length >= 1", "details": "$.kube_config"}
    api.answers[PATH] = (400, wrong)
    with pytest.raises(ApiError, match=r"BAD_BODY: Expected `str` of length >= 1 at \$\.kube_config$"):
        client_of(api).get(PATH)


def test_a_refused_token_points_to_the_option(api: FixtureApi) -> None:
    api.answers[PATH] = (401, {"code": "UNAUTHORIZED", "message": "a token is needed", "details": ""})
    with pytest.raises(ApiError, match="UNAUTHORIZED: a token is needed; see --token-file"):
        client_of(api).get(PATH)


def test_large_answers_are_read_whole(api: FixtureApi) -> None:
    many = node_list(*(node(f"n{i}") for i in range(2000)))
    api.answers[PATH] = many
    assert len(json.dumps(many)) > 2**20
    assert client_of(api).list(PATH, "NodeList") == many


@pytest.mark.parametrize(
    "content", ["abc.DEF-123\n", "abc.DEF-123", "# old: née\n\n  abc.DEF-123 \r\nnext\n", "abc.DEF-123 read # née"]
)
def test_the_token_is_the_first_in_a_file_such_as_the_daemons(tmp_path: Path, content: str) -> None:
    file = tmp_path / "token"
    file.write_text(content)
    assert read_token(str(file)) == "abc.DEF-123"


@pytest.mark.parametrize("content", [b"", b"\n", b"# only\n", "tokén".encode(), b"\x00", b"a\x1bb"])
def test_a_token_that_cannot_be_sent_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "token"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match="--token-file: expected a token"):
        read_token(str(file))


def test_a_token_file_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nowhere: --token-file: No such file or directory"):
        read_token(str(tmp_path / "nowhere"))
