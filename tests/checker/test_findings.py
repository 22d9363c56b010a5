"""What is told the server of what the probes found."""

from datetime import datetime, timezone

import pytest

from k3net.checker.findings import connectivity, service_connectivity
from k3net.model.result import ProbeResult

AT = datetime(2026, 1, 2, tzinfo=timezone.utc)


def ping(ok, reason="", rtt=0.0005, loss=0.0, received=3):
    measured = ok is not None
    return ProbeResult(
        "10.0.0.2",
        "icmp",
        ok,
        1.0,
        rtt=rtt if received and measured else None,
        loss=loss if measured else None,
        reason=reason,
        sent=3 if measured else 0,
        received=received if measured else 0,
    )


def tcp(ok, reason=""):
    return ProbeResult("10.0.0.2:22", "tcp", ok, 1.0, rtt=0.001 if ok else None, reason=reason)


def found_of(a, b):
    return connectivity("10.0.0.1", "10.0.0.2", 22, a, b, 0.52, AT)


def test_a_target_that_answers_is_reachable_and_open_with_the_rtt_of_icmp():
    found = found_of(ping(True), tcp(True))
    assert (found.ping_status, found.port_status) == ("reachable", {"22": "open"})
    assert (found.latency, found.test_duration, found.timestamp) == ("0.50ms", "520.00ms", AT)
    assert (found.sent, found.received, found.reason) == (3, 3, "")


@pytest.mark.parametrize("why", ["refused", "timeout", "unreachable"])
def test_why_a_port_is_closed_is_told(why):
    found = found_of(ping(True), tcp(False, why))
    assert (found.ping_status, found.port_status, found.reason) == ("reachable", {"22": "closed"}, f"tcp: {why}")


def test_two_of_three_packets_lost_is_not_reachable():
    found = found_of(ping(False, "loss", loss=2 / 3, received=1), tcp(True))
    assert (found.ping_status, found.received, found.reason) == ("unreachable", 1, "icmp: loss")


@pytest.mark.parametrize(("answer", "word"), [(tcp(True), "reachable"), (tcp(False, "refused"), "reachable")])
def test_where_icmp_may_not_be_sent_a_port_that_answers_shows_that_the_target_is_there(answer, word):
    found = found_of(ping(None, "not permitted"), answer)
    assert found.ping_status == word
    assert "icmp: not permitted" in found.reason


def test_where_icmp_may_not_be_sent_silence_of_a_port_does_not_make_the_target_unreachable():
    found = found_of(ping(None, "not permitted"), tcp(False, "timeout"))
    assert (found.ping_status, found.port_status) == ("", {"22": "closed"})


@pytest.mark.parametrize(
    ("why", "answered", "word"),
    [("refused", 0, "reachable"), ("refused", 1, "unreachable"), ("timeout", 0, "unreachable")],
)
def test_who_refuses_is_there_though_no_echo_came_back(why, answered, word):
    found = found_of(ping(False, "timeout", received=answered), tcp(False, why))
    assert (found.ping_status, found.port_status) == (word, {"22": "closed"})
    assert found.reason == f"icmp: timeout; tcp: {why}"


def test_a_port_that_could_not_be_tried_is_left_out():
    assert found_of(ping(True), tcp(None, "local fault: too many open files")).port_status == {}


def test_what_was_not_measured_at_all_is_not_told():
    assert found_of(ping(None, "not permitted"), tcp(None, "not permitted")) is None


def service(dns, a=None, b=None):
    return service_connectivity("10.244.0.1", "web.default", 80, dns, a, b, 0.01, AT)


def test_a_service_is_named_and_says_whether_its_name_resolves():
    dns = ProbeResult("web.default", "dns", True, 1.0, facts={"addresses": ("10.96.0.7",)})
    found = service(dns, ping(False, "timeout", received=0, loss=1.0), tcp(True))
    assert (found.source_ip, found.target_ip, found.resolved) == ("10.244.0.1", "web.default", True)
    assert found.port_status == {"80": "open"}


def test_a_service_whose_name_does_not_resolve_has_failed():
    found = service(ProbeResult("web.default", "dns", False, 1.0, reason="NXDOMAIN"))
    assert (found.resolved, found.port_status, found.reason) == (False, {"80": "closed"}, "dns: NXDOMAIN")


def test_a_service_that_could_not_be_asked_for_is_not_told():
    assert service(ProbeResult("web.default", "dns", None, 1.0, reason="local fault: x")) is None
