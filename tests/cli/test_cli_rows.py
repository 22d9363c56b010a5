from typing import Any

import pytest
from fixture_api import node
from hypothesis import given
from hypothesis import strategies as st

from k3net.cli import node_rows, peers
from k3net.model import rfc3339

NOW = 1_000_000_000.0
HUGE = 10**400

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.just(HUGE)
    | st.floats()
    | st.text(st.characters(exclude_categories=()))
)
anything = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3), max_leaves=8
)


def shaped(like: Any) -> "st.SearchStrategy[Any]":
    """Values that look like `like`, with any part of it missing or of any other type."""
    if isinstance(like, dict):
        kept = st.fixed_dictionaries({}, optional={key: shaped(value) for key, value in like.items()})
    elif isinstance(like, list):
        kept = st.lists(st.one_of([shaped(value) for value in like]), max_size=3)
    else:
        kept = st.just(like)
    return kept | anything


FULL_NODE = node(
    "n1",
    spec={"unschedulable": True},
    labels={"node-role.kubernetes.io/worker": "", "kubernetes.io/role": "edge"},
    node_info={"kubeletVersion": "v1", "osImage": "o", "kernelVersion": "k", "containerRuntimeVersion": "c"},
)
PEER: dict[str, Any] = {
    "name": "n1",
    "addresses": ["10.0.0.1", "fd00::1"],
    "port": 7946,
    "verified": True,
    "member": False,
    "own": False,
    "ready": "True",
    "reason": "PeerAlive",
    "message": "tcp probe ok",
    "observations": [
        {"source": "mdns", "age_seconds": 200.0, "ttl_seconds": 90.0},
        {"source": "liveness", "age_seconds": 4.2, "ttl_seconds": 90.0},
        {"source": "mdns", "age_seconds": 7.0, "ttl_seconds": 90.0},
    ],
    "last_probe": {"ok": True, "reason": "", "rtt_seconds": 0.00041, "age_seconds": 4.2},
}


@given(shaped(FULL_NODE), st.floats())
def test_a_node_of_any_shape_has_a_row(value: Any, now: float) -> None:
    cells = node_rows.wide_row(value, now)
    assert len(cells) == len(node_rows.WIDE_COLUMNS)
    assert all(isinstance(cell, str) and cell and cell.isprintable() for cell in cells)
    assert cells[: len(node_rows.COLUMNS)] == node_rows.row(value, now)
    node_rows.substance(value)


@given(shaped(PEER))
def test_a_peer_of_any_shape_has_a_row(value: Any) -> None:
    cells = peers.wide_row(value)
    assert len(cells) == len(peers.WIDE_COLUMNS)
    assert all(isinstance(cell, str) and cell and cell.isprintable() for cell in cells)


@pytest.mark.parametrize(
    ("conditions", "status"),
    [
        ([{"type": "Ready", "status": "True"}], "Ready"),
        ([{"type": "Ready", "status": "False"}], "NotReady"),
        ([{"type": "Ready", "status": "Unknown"}], "NotReady"),
        ([{"type": "MemoryPressure", "status": "True"}], "Unknown"),
        ([], "Unknown"),
        ([{"type": "Ready", "status": "False"}, {"type": "Ready", "status": "True"}], "Ready"),
    ],
)
def test_status_follows_the_last_ready_condition(conditions: list[dict[str, str]], status: str) -> None:
    assert node_rows.row({"status": {"conditions": conditions}}, NOW)[1] == status
    cordoned = {"status": {"conditions": conditions}, "spec": {"unschedulable": True}}
    assert node_rows.row(cordoned, NOW)[1] == f"{status},SchedulingDisabled"


def test_roles_come_from_both_kinds_of_label_sorted_and_once() -> None:
    labels = {
        "node-role.kubernetes.io/worker": "",
        "node-role.kubernetes.io/control-plane": "true",
        "node-role.kubernetes.io/": "",
        "kubernetes.io/role": "worker",
    }
    assert node_rows.row(node("n1", labels=labels), NOW)[2] == "control-plane,worker"
    assert node_rows.row(node("n1", labels={"kubernetes.io/role": ""}), NOW)[2] == "<none>"


def test_an_empty_node_has_kubectls_placeholders() -> None:
    none, unknown = "<none>", "<unknown>"
    assert node_rows.wide_row({}, NOW) == (
        *(none, "Unknown", none, unknown, none),
        *(none, none, unknown, unknown, unknown, unknown, none),
    )


def test_wide_shows_the_first_address_of_each_kind_and_when_the_machine_was_last_seen() -> None:
    value = node("n1", seen=rfc3339.format_nanos(NOW - 3.5), created=rfc3339.format_seconds(NOW - 90 * 86400))
    value["status"]["addresses"] += [
        {"type": "InternalIP", "address": "10.0.0.8"},
        {"type": "ExternalIP", "address": "192.0.2.1"},
    ]
    cells = dict(zip([c.title for c in node_rows.WIDE_COLUMNS], node_rows.wide_row(value, NOW), strict=True))
    assert (cells["INTERNAL-IP"], cells["EXTERNAL-IP"]) == ("10.0.0.7", "192.0.2.1")
    assert (cells["AGE"], cells["LAST-SEEN"], cells["REASON"]) == ("90d", "3s", "PeerAlive")


def test_substance_is_blind_to_being_heard_again_and_to_nothing_else() -> None:
    heard = node("n1")
    again = node("n1", seen="2002-02-02T00:00:00Z", heartbeat="2002-02-02T00:00:00Z")
    again["metadata"]["resourceVersion"] = "8"
    assert node_rows.substance(heard) == node_rows.substance(again)
    for other in (
        node("n1", "False"),
        node("n1", reason="PeerExpired"),
        node("n1", labels={}),
        node("n1", spec={"unschedulable": True}),
        {**heard, "extra": 1},
    ):
        assert node_rows.substance(heard) != node_rows.substance(other)


def test_a_peer_row_tells_its_kind_its_sources_once_and_when_it_was_last_heard() -> None:
    assert peers.row(PEER) == (
        *("n1", "peer", "10.0.0.1,fd00::1", "7946", "mdns,liveness"),
        *("True", "PeerAlive", "4s", "ok 0.4ms"),
    )
    assert peers.row({**PEER, "member": True})[1] == "member"
    assert peers.row({**PEER, "member": True, "own": True})[1] == "own"


@pytest.mark.parametrize(
    ("probe", "text"),
    [
        (None, "-"),
        ({"ok": True, "rtt_seconds": None}, "ok"),
        ({"ok": True, "rtt_seconds": 0.0123}, "ok 12.3ms"),
        ({"ok": False, "reason": "timeout", "rtt_seconds": None}, "timeout"),
        ({"ok": False, "reason": ""}, "failed"),
        ({"ok": True, "rtt_seconds": float("inf")}, "ok"),
        ({"ok": True, "rtt_seconds": HUGE}, "ok"),
    ],
)
def test_a_probe_is_one_word_and_its_round_trip_time(probe: object, text: str) -> None:
    assert peers.row({**PEER, "last_probe": probe})[-1] == text
