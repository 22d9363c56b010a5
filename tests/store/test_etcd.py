"""What only the etcd store does: keys, transactions and their limits, records of the Go programs, figures."""

import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from time import perf_counter

import pytest
from contracts import manifest_of, node
from etcd import EtcdController, Member, connected

from k3net.errors import CorruptRecord, StoreUnavailable
from k3net.model.desired import node_from
from k3net.model.node import Node
from k3net.model.observation import Observation
from k3net.model.plan import Create, Update, plan
from k3net.store.etcd import IDENTITY, NODES, EtcdStore
from k3net.store.interface import Conflict, Done, Found, Refused

pytestmark = pytest.mark.requires("etcd", "etcdctl")

GO = Path(__file__).parents[1] / "data/go"


@pytest.fixture(scope="module")
def server():
    with Member() as member:
        yield member


@pytest.fixture
def url(server):
    server.wipe()
    return server.url


@pytest.fixture
def store(url):
    store = EtcdStore([url])
    yield store
    store.close()


@pytest.fixture
def controller(url):
    controller = EtcdController(url)
    yield controller
    controller.close()


@pytest.fixture
def raw(url):
    client = connected(url)
    yield client
    client.close()


def kinds(outcomes):
    return [type(outcome) for outcome in outcomes]


def test_records_are_where_the_go_programs_look_for_them(server, store):
    store.apply([Create(node("n1"))])
    assert json.loads(server.ctl("get", "--print-value-only", "/kubernetes//v1/Node/n1")) == manifest_of("n1")
    identity = store.identity()
    keys = server.ctl("get", "--prefix", "--keys-only", "/").split()
    assert keys == ["/k3net/id", "/kubernetes//v1/Node/n1"]
    assert server.ctl("get", "--print-value-only", "/k3net/id").strip() == identity


def test_the_number_of_a_version_is_the_revision(store, raw):
    [done] = store.apply([Create(node("n1"))])
    _, about = raw.get(NODES + b"n1")
    assert done.version.partition("-")[0] == str(about.mod_revision)


def test_keys_of_other_kinds_are_not_listed(store, raw):
    for key in (
        "/kubernetes//v1/Node",
        "/kubernetes//v1/Node0",
        "/kubernetes//v1/NodeMetrics/n1",
        "/kubernetes/v1/Node/n1",
    ):
        raw.put(key, json.dumps(manifest_of("n1")))
    assert store.list() == []


def test_a_key_that_holds_no_name_is_listed_as_corrupt_and_left_alone(store, raw):
    keys = {NODES: "", NODES + b"a/b": "a/b", NODES + b"n\xff": "n\\xff", NODES + b"/n1": "/n1"}
    for key, name in keys.items():
        raw.put(key, json.dumps(manifest_of(name)))
    listed = store.list()
    assert {type(record) for record in listed} == {CorruptRecord}
    assert {record.name for record in listed} == set(keys.values())
    with pytest.raises(CorruptRecord):
        store.get("a/b")
    outcomes = store.apply([Create(node("a/b")), Update(node("a/b"), "1-0"), Create(node(""))])
    assert kinds(outcomes) == [Refused] * 3
    assert {key: json.loads(raw.get(key)[0]) for key in keys} == {k: manifest_of(name) for k, name in keys.items()}


def test_the_id_is_made_once_however_many_ask_at_the_same_time(url):
    code = f"from k3net.store.etcd import EtcdStore; print(EtcdStore([{url!r}]).identity())"
    asking = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(4)]
    assert len({process.communicate(timeout=30)[0] for process in asking}) == 1


def test_an_id_that_is_none_is_an_error_that_says_what_to_do(store, raw):
    for value in (b"", b" ", b"a\nb"):
        raw.put(IDENTITY, value)
        with pytest.raises(StoreUnavailable, match="/k3net/id holds no id; delete that key"):
            store.identity()


@pytest.mark.parametrize("many", [99, 100, 101, 128, 129, 257])
def test_any_number_of_steps_is_done_and_one_in_conflict_undoes_none(store, many):
    names = [f"n{i}" for i in range(many)]
    store.apply([Create(node(names[0])), Create(node(names[-1]))])
    outcomes = store.apply([Create(node(name, by="us")) for name in names])
    assert kinds(outcomes) == [Conflict, *[Done] * (many - 2), Conflict]
    assert len(store.list()) == many
    assert [store.get(name).version for name in names[1:4]] == [outcome.version for outcome in outcomes[1:4]]


def test_a_hundred_steps_are_one_revision(store, raw):
    done = store.apply([Create(node(f"n{i}")) for i in range(100)])
    assert len({outcome.version.partition("-")[0] for outcome in done}) == 1


def test_a_name_that_comes_twice_is_judged_again_after_the_first(store):
    [first, second, third] = store.apply([Create(node("n1")), Create(node("n1")), Create(node("n2"))])
    assert kinds([first, second, third]) == [Done, Conflict, Done]


def test_records_as_large_as_may_be_are_stored_and_larger_ones_refused(store):
    room = 1_500_000 - len(json.dumps(manifest_of("n1", blob=""), separators=(",", ":")))
    steps = [Create(node(f"n{i}", blob="x" * room)) for i in range(3)]
    outcomes = store.apply([*steps, Create(node("n8", blob="x" * (room + 1))), Create(node("n9"))])
    assert kinds(outcomes) == [Done, Done, Done, Refused, Done]
    assert len(store.list()) == 4


@pytest.mark.parametrize("limit", ["--max-txn-ops=7", "--max-request-bytes=30000"])
def test_an_etcd_that_takes_less_at_once_is_given_less(limit):
    with Member(limit) as member:
        store = EtcdStore([member.url])
        steps = [Create(node(f"n{i}", blob="x" * 2000)) for i in range(40)]
        assert kinds(store.apply(steps)) == [Done] * 40
        huge = Create(node("huge", blob="x" * 1_400_000))
        expected = Done if "ops" in limit else Refused
        assert kinds(store.apply([Create(node("n40")), huge, Create(node("n41"))])) == [Done, expected, Done]
        store.close()


def test_a_listing_of_many_pages_is_of_one_moment(store, url):
    store.apply([Create(node(f"n{i:04}")) for i in range(2500)])
    over = Event()
    with ThreadPoolExecutor() as pool:
        writing = pool.submit(write_first_and_last_together, url, ["n0000", "n2499"], over)
        try:
            moments = []
            for _ in range(12):
                listed = store.list()
                assert [record.name for record in listed] == [f"n{i:04}" for i in range(2500)]
                moments.append((listed[0].annotations.get("beat"), listed[-1].annotations.get("beat")))
        finally:
            over.set()
        assert writing.result() > len(moments)
    assert [first for first, last in moments if first != last] == []
    assert len(set(moments)) > 5


def write_first_and_last_together(url, names, over):
    client, beat = connected(url), 0
    while not over.is_set():
        beat += 1
        texts = {name: json.dumps(manifest_of(name, beat=str(beat))) for name in names}
        client.transaction([], [client.transactions.put(NODES + n.encode(), text) for n, text in texts.items()], [])
    client.close()
    return beat


def test_records_too_large_for_a_page_together_are_listed_in_smaller_ones(store, controller):
    names = [f"n{i:02}" for i in range(50)]
    for name in names:
        controller.put(manifest_of(name, blob="x" * 1_450_000))
    assert [record.name for record in store.list()] == names


def test_a_record_of_the_go_programs_is_updated_and_keeps_all_that_is_not_ours(store, controller):
    for file in ("discovered", "enriched"):
        text = (GO / f"node-etcd-{file}.json").read_bytes()
        before = json.loads(text)
        name = before["metadata"]["name"]
        controller.put_raw(name, text)
        seen = Observation(name, "mdns", 0.0, 90.0, ("192.168.1.99",), 7950, reason="LANDiscovery", meta={"pid": "9"})
        want = node_from(name, {"mdns": seen}, 1.0)
        [step] = plan({name: want}, {name: store.get(name)}, now=1_800_000_000.0)
        assert kinds(store.apply([step])) == [Done]
        after = json.loads(controller.raw(name))
        assert {"type": "InternalIP", "address": "192.168.1.99"} in after["status"]["addresses"]
        assert after["metadata"]["annotations"]["k3.network/port"] == "7950"
        assert in_order(not_ours(after)) == in_order(not_ours(before))
        assert after["metadata"]["creationTimestamp"] == before["metadata"]["creationTimestamp"]


def in_order(value):
    """With the order of keys told."""
    return json.loads(json.dumps(value), object_pairs_hook=list)


def not_ours(manifest):
    """A Node without what k3net writes (spec 1, "The Node record")."""
    for annotation in ("lastSeen", "port", "pid"):
        manifest["metadata"]["annotations"].pop(f"k3.network/{annotation}", None)
    status = manifest["status"]
    status["addresses"] = [a for a in status["addresses"] if a["type"] not in ("Hostname", "InternalIP")]
    status["conditions"] = [c for c in status["conditions"] if c["type"] != "Ready"]
    return manifest


def test_the_controllers_record_and_a_corrupt_one_are_left_alone(store, controller):
    texts = {
        name: (GO / f"node-etcd-{file}.json").read_bytes()
        for name, file in {"cp1": "controller", "lab9": "corrupt"}.items()
    }
    for name, text in texts.items():
        controller.put_raw(name, text)
    listed = {record.name: record for record in store.list()}
    assert isinstance(listed["lab9"], CorruptRecord)
    assert listed["cp1"].ready.reason == "KubeletReady"
    have = listed["cp1"]
    assert list(plan({"cp1": node("cp1")}, {"cp1": have}, now=0.0)) == []
    steps = [Update(node("cp1"), have.version), Create(node("cp1")), Update(node("lab9"), "1-0"), Create(node("lab9"))]
    assert kinds(store.apply(steps)) == [Refused, Conflict, Refused, Refused]
    assert {name: controller.raw(name) for name in texts} == texts
    assert "1 record is corrupt and left alone; mend or delete 'lab9'" in store.check()


def test_a_check_and_a_look_put_no_key(store, server):
    assert (store.check(), store.look()) == ("", Found([], ""))
    assert server.ctl("get", "--prefix", "/") == ""


def fill(raw):
    """Until it is full: etcd looks at its size when it commits, ten times a second."""
    for i in range(200):
        raw.put(f"/filler/{i % 20}", b"x" * 1_000_000)
        time.sleep(0.02)


def test_a_full_etcd_is_named_is_read_all_the_while_and_heals():
    with Member("--quota-backend-bytes=8000000") as member:
        store, raw = EtcdStore([member.url]), connected(member.url)
        [done] = store.apply([Create(node("n1"))])
        with pytest.raises(Exception, match="space exceeded"):
            fill(raw)
        for _ in range(2):
            with pytest.raises(
                StoreUnavailable, match=r"database space exceeded \(alarm NOSPACE\); compact, defragment"
            ):
                store.apply([Update(node("n1", port="1"), done.version)])
        assert "alarm NOSPACE" in store.check()
        assert [record.version for record in store.list()] == [done.version]
        raw.delete_prefix("/filler/")
        revision = raw.get(NODES + b"n1")[1].response_header.revision
        member.ctl("compact", str(revision))
        member.ctl("defrag")
        member.ctl("alarm", "disarm")
        assert kinds(store.apply([Update(node("n1", port="1"), done.version)])) == [Done]
        assert store.check() == ""
        store.close()
        raw.close()


def test_ten_thousand_nodes_are_created_in_8_seconds_and_listed_in_1_5(store):
    steps = [Create(node(f"n{i:05}", blob="x" * 1000)) for i in range(10_000)]
    begun = perf_counter()
    outcomes = store.apply(steps)
    created = perf_counter() - begun
    assert set(kinds(outcomes)) == {Done}
    begun = perf_counter()
    listed = store.list()
    took = perf_counter() - begun
    print(f"{created:.2f} s to create, {took:.2f} s to list")
    assert len(listed) == 10_000
    assert all(isinstance(record, Node) for record in listed)
    assert created <= 8
    assert took <= 1.5


OPEN = """
import sys
from types import SimpleNamespace as Of
from k3net.store import opener
etcd = Of(endpoints=[sys.argv[1]], dial_timeout=5.0, username="", password="", ca="", cert="", key="")
open_driver = opener(Of(type="etcd", etcd=etcd))
assert not {"etcd3", "grpc", "google.protobuf"} & set(sys.modules), "imported before it is opened"
"""


@pytest.mark.parametrize("said", [None, "", "python"])
def test_the_library_is_imported_when_the_store_is_opened_and_not_before(url, said):
    environ = {k: v for k, v in os.environ.items() if k != "PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION"}
    if said is not None:
        environ["PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION"] = said
    code = OPEN + "print(open_driver().list())"
    done = subprocess.run([sys.executable, "-c", code, url], env=environ, capture_output=True, text=True, timeout=30)
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_a_library_that_cannot_be_imported_makes_the_store_unavailable(url):
    environ = {k: v for k, v in os.environ.items() if k != "PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION"}
    code = OPEN + (
        "import google.protobuf.descriptor\n"
        "from k3net.errors import StoreUnavailable\n"
        "for _ in range(2):\n"
        "    try: open_driver()\n"
        "    except StoreUnavailable as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, url], env=environ, capture_output=True, text=True, timeout=30)
    assert (
        done.stdout.splitlines()
        == ["etcd store: its library cannot be used: Descriptors cannot be created directly."] * 2
    ), done.stderr


def test_a_proxy_in_the_environment_is_not_asked(url):
    environ = {**os.environ, "http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}
    code = OPEN + "print(open_driver().list())"
    done = subprocess.run([sys.executable, "-c", code, url], env=environ, capture_output=True, text=True, timeout=30)
    assert done.stdout == "[]\n", done.stderr
