"""The kinds of setting, one by one."""

import ipaddress
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k3net.config import kinds
from k3net.model.duration import format_duration

KINDS: list[Any] = [
    kinds.Domain,
    kinds.Duration,
    kinds.FilePath,
    kinds.InterfaceName,
    kinds.ListenAddress,
    kinds.Network,
    kinds.NodeName,
    kinds.Secret,
    kinds.ServiceType,
    kinds.Url,
]
RAW = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.from_regex(r"[-_.:/@\[\]%a-z0-9]*")),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
    max_leaves=5,
)


@pytest.mark.parametrize(
    ("text", "host", "port", "on_loopback"),
    [
        (":7946", "", 7946, False),
        ("127.0.0.1:0", "127.0.0.1", 0, True),
        ("127.8.8.8:80", "127.8.8.8", 80, True),
        ("localhost:8080", "127.0.0.1", 8080, True),
        ("[::1]:65535", "::1", 65535, True),
        ("[::]:80", "::", 80, False),
        ("[fe80::1%eth0]:80", "fe80::1%eth0", 80, False),
        ("0.0.0.0:80", "0.0.0.0", 80, False),
    ],
)
def test_a_listen_address_has_a_host_a_port_and_is_on_loopback_or_not(
    text: str, host: str, port: int, on_loopback: bool
) -> None:
    address = kinds.ListenAddress.read(text)
    assert (address, address.host, address.port, address.on_loopback) == (text, host, port, on_loopback)


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        "7946",
        ":-1",
        ":65536",
        ":7946 ",
        " :7946",
        "1.2.3:80",
        "[127.0.0.1]:80",
        "::1:80",
        "[::1",
        "[]:80",
        "a:80",
        ":٣",
    ],
)
def test_what_is_no_listen_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected an address such as :7946"):
        kinds.ListenAddress.read(text)


@pytest.mark.parametrize(
    ("text", "type_"),
    [("_k3._tcp", "_k3._tcp"), ("_k3._tcp.", "_k3._tcp"), ("_a-b-9._udp", "_a-b-9._udp"), ("_HTTP._tcp", "_HTTP._tcp")],
)
def test_a_service_type_needs_no_trailing_dot(text: str, type_: str) -> None:
    assert kinds.ServiceType.read(text) == type_


@pytest.mark.parametrize(
    "text",
    ["", "k3._tcp", "_k3", "_k3._sctp", "_-k._tcp", "_k-._tcp", "_a--b._tcp", "_12._tcp", "_k3._tcp..", "_x._k3._tcp"],
)
def test_what_is_no_service_type_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected a DNS-SD service type such as _k3\._tcp"):
        kinds.ServiceType.read(text)


@pytest.mark.parametrize(
    ("text", "domain"), [("local", "local."), ("local.", "local."), ("LAN.Example.", "lan.example.")]
)
def test_a_domain_is_kept_in_small_letters_with_its_dot(text: str, domain: str) -> None:
    assert kinds.Domain.read(text) == domain


@pytest.mark.parametrize(
    ("text", "network"),
    [
        ("192.168.1.7/24", "192.168.1.0/24"),
        ("0.0.0.0/0", "0.0.0.0/0"),
        ("FD00::1/8", "fd00::/8"),
        ("10.0.0.1/32", "10.0.0.1/32"),
    ],
)
def test_a_network_loses_its_host_bits(text: str, network: str) -> None:
    assert kinds.Network.read(text) == network
    assert str(ipaddress.ip_network(kinds.Network.read(text))) == network


@pytest.mark.parametrize("text", ["1", "t", "T", "TRUE", "true", "True", "on", "yes"])
def test_go_texts_for_true(text: str) -> None:
    assert kinds.truth_from_text(text) is True


@pytest.mark.parametrize("text", ["0", "f", "F", "FALSE", "false", "False", "off", "no"])
def test_go_texts_for_false(text: str) -> None:
    assert kinds.truth_from_text(text) is False


@pytest.mark.parametrize("text", ["", "tRUE", "2", "maybe", " true"])
def test_other_texts_are_no_truth_value(text: str) -> None:
    with pytest.raises(ValueError, match="expected true or false"):
        kinds.truth_from_text(text)


def test_a_secret_is_not_shown() -> None:
    assert repr(kinds.Secret.read("hunter2")) == "'***'"
    assert "hunter2" not in f"{kinds.Secret.read('hunter2')!r}"


@given(st.floats(0.01, 86_400))
def test_a_duration_written_as_go_does_is_read_back(seconds: float) -> None:
    assert math.isclose(kinds.Duration.read(format_duration(seconds)), seconds, abs_tol=1e-9)


@given(RAW)
def test_every_kind_reads_a_value_or_says_in_one_line_what_it_expected(raw: Any) -> None:
    for kind in KINDS:
        value, error = outcome_of(kind.read, raw)
        if error is None:
            assert isinstance(value, kind)
            assert kind is kinds.Duration or kind.read(value) == value
        else:
            assert error.startswith("expected a")
            assert error.isprintable()
            assert len(error) < 200


def outcome_of(read: Any, raw: Any) -> "tuple[Any, str | None]":
    try:
        return read(raw), None
    except ValueError as error:
        return None, str(error)
