"""etcd that is away, hangs, is something else, or does not know us: one readable sentence each, and soon."""

import os
import shutil
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from time import perf_counter, sleep

import pytest
from authority import Authority
from contracts import node
from etcd import Member, free_ports

from k3net.errors import StoreUnavailable
from k3net.model.plan import Create, Update
from k3net.store.etcd import EtcdStore
from k3net.store.etcd_rpc import Endpoint, Login
from k3net.store.interface import Done

pytestmark = pytest.mark.requires("etcd", "etcdctl")

ROOT = Login("root", "secret")


@pytest.fixture(scope="module")
def server():
    with Member() as member:
        yield member


@pytest.fixture(scope="module")
def guarded():
    """An etcd that asks who one is; `reader` may read everything, `nodes` only work on Nodes, `k3net` do its work."""
    with Member("--auth-token-ttl=2") as member:
        member.ctl("user", "add", "root:secret")
        member.ctl("user", "grant-role", "root", "root")
        for name, grants in {
            "reader": [("read", "/")],
            "nodes": [("readwrite", "/kubernetes//v1/Node/")],
            "k3net": [("readwrite", "/kubernetes//v1/Node/"), ("readwrite", "/k3net/")],
        }.items():
            member.ctl("role", "add", name)
            for kind, prefix in grants:
                member.ctl("role", "grant-permission", name, "--prefix=true", kind, prefix)
            member.ctl("user", "add", f"{name}:secret")
            member.ctl("user", "grant-role", name, name)
        member.ctl("auth", "enable")
        yield member


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("pki"))


@contextmanager
def opened(*urls, login=None, timeout=5.0):
    with closing(EtcdStore(urls, timeout=timeout, login=login or Login())) as store:
        yield store


def trouble(store, *steps):
    """Why a call fails, without the name of the store; in one line, and what `check` says too."""
    with pytest.raises(StoreUnavailable) as caught:
        store.apply(steps) if steps else store.list()
    told = str(caught.value)
    assert len(told.splitlines()) == 1
    assert store.check() == told
    return told.partition(": ")[2]


@contextmanager
def answering(answer):
    """A TCP port that says this to everybody, and hangs up; None: that says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listening, ThreadPoolExecutor() as pool:
        port = listening.getsockname()[1]
        ending = threading.Event()

        def serve():
            kept = []
            while not ending.is_set():
                connection, _ = listening.accept()
                if answer is None:
                    kept.append(connection)
                    continue
                connection.sendall(answer)
                connection.recv(1000)
                connection.close()
            for connection in kept:
                connection.close()

        serving = pool.submit(serve)
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            ending.set()
            socket.create_connection(("127.0.0.1", port)).close()
            serving.exception()


def test_nobody_listens_and_then_somebody_does():
    member = Member()
    with opened(member.url) as store:
        assert trouble(store) == "connection refused; is it running?"
        assert trouble(store, Create(node("n1"))) == "connection refused; is it running?"
        with member:
            assert store.list() == []
            [done] = store.apply([Create(node("n1"))])
            member.kill()
            assert trouble(store) == "connection refused; is it running?"
            member.start()
            assert store.get("n1").version == done.version
            assert isinstance(store.apply([Update(node("n1", port="1"), done.version)])[0], Done)


def test_the_endpoints_that_fail_are_told_in_their_order_and_by_reason():
    refused, other = (f"http://127.0.0.1:{port}" for port in free_ports(2))
    with answering(b"junk" * 100) as junk, opened(refused, junk, other) as store:
        told = (
            f"etcd store {refused}, {other}: connection refused; is it running?;"
            f" {junk}: no etcd answers there, but something else"
        )
        for _ in range(3):
            with pytest.raises(StoreUnavailable) as caught:
                store.list()
            assert str(caught.value) == told


@pytest.mark.parametrize(
    "answer", [b"junk" * 1000, b"\x00" * 5000, b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", b"{}", b""]
)
def test_what_is_no_etcd_is_an_error_and_soon(answer):
    with answering(answer) as url, opened(url, timeout=1.0) as store:
        begun = perf_counter()
        with pytest.raises(StoreUnavailable):
            store.list()
        assert perf_counter() - begun < 1.5
        assert store.check() != ""


def test_what_never_answers_is_waited_for_as_long_as_was_said():
    with answering(None) as url, opened(url, timeout=0.5) as store:
        begun = perf_counter()
        assert trouble(store) == "no answer within 0.5 s"
        assert perf_counter() - begun < 2.5


def test_a_server_that_is_frozen_is_waited_for_as_long_as_was_said_and_no_longer(server):
    with opened(server.url, timeout=0.5) as store:
        [done] = store.apply([Create(node("frozen"))])
        with server.frozen():
            for _ in range(2):
                begun = perf_counter()
                with pytest.raises(StoreUnavailable, match=r"no answer within 0\.5 s"):
                    store.apply([Update(node("frozen", port="1"), done.version)])
                assert perf_counter() - begun < 1
        stored = store.get("frozen")
        assert isinstance(store.apply([Update(node("frozen", port="2"), stored.version)])[0], Done)


def test_an_endpoint_that_is_away_is_passed_over_and_the_good_one_is_kept(server):
    [port] = free_ports(1)
    with answering(None) as mute, opened(f"http://127.0.0.1:{port}", mute, server.url, timeout=1.5) as store:
        begun = perf_counter()
        store.list()
        assert 0.4 < perf_counter() - begun < 1.5
        begun = perf_counter()
        store.list()
        assert perf_counter() - begun < 0.3
        assert store.check() == (
            f"etcd store http://127.0.0.1:{port}: connection refused; is it running?; the other endpoints serve"
        )


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://10.0.0.1:2379", ("10.0.0.1", 2379, False)),
        ("https://etcd.example.com", ("etcd.example.com", 2379, True)),
        ("http://[fd00::1]:1234/", ("[fd00::1]", 1234, False)),
    ],
)
def test_an_endpoint_is_read_as_it_is_configured(url, expected):
    assert Endpoint.of(url) == (url, *expected)


def test_a_process_ends_while_a_server_hangs():
    code = (
        "import sys, threading, time\n"
        "from k3net.store.etcd import EtcdStore\n"
        "threading.Thread(target=EtcdStore([sys.argv[1]], timeout=60.0).list, daemon=True).start()\n"
        "time.sleep(0.5)\n"
    )
    with answering(None) as url:
        done = subprocess.run([sys.executable, "-c", code, url], capture_output=True, text=True, timeout=20)
    assert (done.returncode, done.stderr) == (0, "")


def test_endpoints_of_two_clusters_are_found_out(server):
    with Member() as stranger, opened(server.url, stranger.url) as store:
        assert store.check() == (
            "etcd store: storage.etcd.endpoints are of different clusters; name the members of one"
        )


def test_failing_for_long_leaves_nothing_open(guarded):
    [port] = free_ports(1)
    with answering(b"junk") as junk, opened(guarded.url, login=Login("root", "wrong")) as store:
        away, odd = EtcdStore([f"http://127.0.0.1:{port}"]), EtcdStore([junk])

        def fail(times):
            for _ in range(times):
                for each in (away, odd):
                    with pytest.raises(StoreUnavailable):
                        each.list()
            with pytest.raises(StoreUnavailable):
                store.list()
            return len(os.listdir("/proc/self/fd")), threading.active_count()

        files, threads = fail(20)
        after = fail(150)
        assert after[0] <= files + 5
        assert after[1] <= threads + 2


def test_who_says_no_name_or_a_wrong_one_is_told_so(guarded):
    unknown = "it does not take this storage.etcd.username and password"
    with opened(guarded.url) as store:
        assert trouble(store) == "it asks who we are; set storage.etcd.username and password"
    for login in (Login("root", "wrong"), Login("nobody", "secret")):
        with opened(guarded.url, login=login) as store:
            assert trouble(store) == unknown


def test_who_may_not_is_told_what_to_grant(guarded):
    denied = "permission denied; give its user readwrite on the prefixes /kubernetes//v1/Node/ and /k3net/"
    with opened(guarded.url, login=ROOT) as store:
        [done] = store.apply([Create(node("granted"))])
    with opened(guarded.url, login=Login("reader", "secret")) as store:
        assert [record.name for record in store.list()] == ["granted"]
        assert trouble(store, Create(node("denied"))) == denied
        assert trouble(store, Update(node("granted", port="1"), done.version)) == denied
        assert [record.version for record in store.list()] == [done.version]
    with opened(guarded.url, login=Login("nodes", "secret")) as store:
        assert denied in store.check()
        with pytest.raises(StoreUnavailable, match="permission denied"):
            store.identity()
    with opened(guarded.url, login=Login("k3net", "secret")) as store:
        assert store.check() == ""
        assert isinstance(store.apply([Update(node("granted", port="2"), done.version)])[0], Done)
        assert store.identity()


def test_a_token_that_no_longer_counts_is_asked_for_anew(guarded):
    with opened(guarded.url, login=Login("k3net", "secret")) as store:
        [done] = store.apply([Create(node("token"))])
        sleep(4.5)
        assert store.get("token").version == done.version
        guarded.ctl("role", "add", "another", user="root:secret")
        assert store.get("token").version == done.version
        guarded.kill()
        guarded.start()
        assert isinstance(store.apply([Update(node("token"), done.version)])[0], Done)


def test_a_password_that_changes_is_found_out(guarded):
    guarded.ctl("user", "add", "changing:secret", user="root:secret")
    guarded.ctl("user", "grant-role", "changing", "k3net", user="root:secret")
    with opened(guarded.url, login=Login("changing", "secret")) as store:
        store.list()
        guarded.ctl("user", "delete", "changing", user="root:secret")
        assert trouble(store) == "it does not take this storage.etcd.username and password"


def test_a_user_for_an_etcd_that_asks_for_none_is_nobody(server):
    with opened(server.url, login=ROOT) as store:
        assert store.check() == ""


def test_tls_believes_its_authority_and_nobody_else(authority, tmp_path):
    stranger = Authority(tmp_path)
    with Member(tls=(authority.ca, *authority.issue("server", "127.0.0.1"))) as member:
        with opened(member.url, login=Login(ca=authority.ca)) as store:
            assert isinstance(store.apply([Create(node("n1"))])[0], Done)
            assert store.check() == ""
        for login in (Login(ca=stranger.ca), Login()):
            with opened(member.url, login=login) as store:
                assert trouble(store) == "its certificate is not from storage.etcd.ca, or has expired"
        with opened(member.url.replace("127.0.0.1", "localhost"), login=Login(ca=authority.ca)) as store:
            assert trouble(store) == "its certificate is for another name or address"
        with opened(member.url.replace("https:", "http:")) as store:
            assert trouble(store) == "it closes the connection; is its URL https://?"
        with opened(member.url, login=Login(ca="/nowhere/ca.pem")) as store:
            assert trouble(store) == "/nowhere/ca.pem: No such file or directory"
        with opened(member.url, login=Login(ca=__file__)) as store:
            assert trouble(store) == "storage.etcd.ca, cert and key are no PEM files that go together"


def test_tls_to_an_etcd_without_it_is_told_so(server, authority):
    with opened(server.url.replace("http:", "https:"), login=Login(ca=authority.ca)) as store:
        assert trouble(store) == "it does not speak TLS; is its URL http://?"


def test_an_expired_certificate_is_refused(authority):
    member = Member(tls=(authority.ca, *authority.issue("expired", "127.0.0.1", days=-1)))
    try:
        member.start(wait=False)
        with opened(member.url, login=Login(ca=authority.ca)) as store:
            said = poll(store, lambda said: "refused" not in said)
            assert said.endswith("its certificate is not from storage.etcd.ca, or has expired")
    finally:
        member.end()


def poll(store, enough):
    """What `check` says, as soon as it is enough."""
    for _ in range(100):
        if enough(said := store.check()):
            return said
        sleep(0.1)
    raise AssertionError(said)


def test_mutual_tls_shows_who_we_are(authority, tmp_path):
    stranger = Authority(tmp_path)
    cert, key = authority.issue("client", "127.0.0.1")
    asked = "it ends the TLS connection; does it want a (or another) storage.etcd.cert?"
    with Member(tls=(authority.ca, cert, key), mutual=True) as member:
        with opened(member.url, login=Login(ca=authority.ca, cert=cert, key=key)) as store:
            assert isinstance(store.apply([Create(node("n1"))])[0], Done)
        with opened(member.url, login=Login(ca=authority.ca)) as store:
            assert trouble(store) == asked
        theirs = stranger.issue("stranger")
        with opened(member.url, login=Login(ca=authority.ca, cert=theirs[0], key=theirs[1])) as store:
            assert trouble(store) == asked
        with opened(member.url, login=Login(ca=authority.ca, cert=cert, key=theirs[1])) as store:
            assert trouble(store) == "storage.etcd.ca, cert and key are no PEM files that go together"


def test_a_certificate_that_comes_later_is_read(authority, tmp_path):
    member = Member(tls=(authority.ca, *authority.issue("later", "127.0.0.1")))
    ca = tmp_path / "trusted.pem"
    with member, opened(member.url, login=Login(ca=str(ca))) as store:
        assert "No such file" in store.check()
        shutil.copy(authority.ca, ca)
        assert store.check() == ""
