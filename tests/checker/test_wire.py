"""The words between agents and servers."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from k3net.checker.wire import ConnectivityResult, Heartbeat, Report, print_duration, read_duration

GO_RESULT = {
    "source_ip": "10.244.1.5",
    "target_ip": "10.0.0.2",
    "ping_status": "reachable",
    "port_status": {"22": "open"},
    "latency": 520000,
    "test_duration": "2.03s",
    "timestamp": "2026-11-20T18:15:47.123456789+08:00",
}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0ns"),
        (850e-9, "850ns"),
        (12e-6, "12.00µs"),
        (520e-6, "0.52ms"),
        (0.0123, "12.30ms"),
        (2.03, "2.03s"),
        (90, "1m30s"),
        (3_600.5, "1h0m0.5s"),
    ],
)
def test_durations_are_printed_as_the_go_side_prints_them(seconds: float, text: str) -> None:
    assert print_duration(seconds) == text


@given(st.floats(0, 1e6))
def test_what_is_printed_reads_back_to_two_decimals(seconds: float) -> None:
    assert read_duration(print_duration(seconds)) == pytest.approx(seconds, rel=0.06, abs=1e-9)


def test_durations_are_read_as_texts_and_as_nanoseconds() -> None:
    assert [read_duration(raw) for raw in ("", "0.52ms", "12.00µs", "1m30s", 520_000)] == [
        0.0, 0.00052, pytest.approx(12e-6), 90.0, 0.00052,
    ]  # fmt: skip


@pytest.mark.parametrize("raw", ["fast", "-1s", -1, "1", "9" * 40 + "h"])
def test_what_is_no_duration_is_refused(raw: "str | int") -> None:
    with pytest.raises(ValueError, match="expected a duration"):
        read_duration(raw)


def test_a_result_of_the_go_client_is_read() -> None:
    body = json.dumps({"source_ip": "10.244.1.5", "results": [GO_RESULT], "more": 1}).encode()
    [result] = msgspec.json.decode(body, type=Report).results
    assert (result.ping_status, bytes(result.port_status), result.latency) == ("reachable", b'{"22": "open"}', 520_000)


def test_what_was_not_measured_is_left_out_when_written() -> None:
    result = ConnectivityResult(target_ip="10.0.0.2", reason="not permitted")
    assert json.loads(msgspec.json.encode(result)) == {"target_ip": "10.0.0.2", "reason": "not permitted"}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("ping_status", "maybe"),
        ("target_ip", ""),
        ("loss", 1.5),
        ("timestamp", "yesterday"),
        ("timestamp", "2026-11-20T18:15:47"),
        ("sent", -1),
        ("reason", "x" * 121),
        ("latency", 2**64),
    ],
)
def test_a_result_that_breaks_a_rule_is_refused(field: str, value: object) -> None:
    body = json.dumps({"source_ip": "10.0.0.1", "results": [{**GO_RESULT, field: value}]}).encode()
    with pytest.raises(msgspec.ValidationError, match=rf"results\[0\]\.{field}"):
        msgspec.json.decode(body, type=Report)


@pytest.mark.parametrize("field", ["node_ip", "pod_ip", "pod_name"])
def test_a_heartbeat_names_its_addresses_and_its_pod(field: str) -> None:
    beat = {"namespace": "lab", "node_ip": "10.0.0.1", "pod_ip": "10.244.0.1", "pod_name": "agent-1"}
    assert msgspec.json.decode(json.dumps(beat).encode(), type=Heartbeat).namespace == "lab"
    for wrong in ({**beat, field: ""}, {key: value for key, value in beat.items() if key != field}):
        with pytest.raises(msgspec.ValidationError, match=field):
            msgspec.json.decode(json.dumps(wrong).encode(), type=Heartbeat)
