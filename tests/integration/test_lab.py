"""The lab itself, with Avahi on both sides: what it says about the network is so, and nothing of it stays behind."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from integration import netns
from integration.lab import Host, Lab, wait_for

A, B = "10.77.0.2", "10.77.0.3"


def listening(host: Host, address: str, family: int = socket.AF_INET) -> socket.socket:
    def listen() -> socket.socket:
        return socket.create_server((address, 7946), family=family)

    return host.inside(listen)


def reaches(host: Host, address: str) -> bool:
    def connect() -> bool:
        try:
            socket.create_connection((address, 7946), timeout=0.3).close()
        except OSError:
            return False
        return True

    return host.inside(connect)


def two_hosts(lab: Lab) -> tuple[Host, Host]:
    return lab.host("a", ipv4=f"{A}/24", ipv6="fd77::2/64"), lab.host("b", ipv4=f"{B}/24", ipv6="fd77::3/64")


def test_two_hosts_reach_each_other_by_both_families(lab):
    a, b = two_hosts(lab)
    with listening(b, B), listening(b, "fd77::3", socket.AF_INET6):
        assert reaches(a, B)
        assert reaches(a, "fd77::3")
        assert not reaches(b, A)


def test_the_machine_itself_does_not_see_the_lab(lab):
    _, b = two_hosts(lab)
    with listening(b, B):
        before = Path("/proc/net/dev").read_text().count(":")
        lab.host("c", ipv4="10.77.0.4/24")
        assert Path("/proc/net/dev").read_text().count(":") == before
        addresses = subprocess.run(["ip", "address"], capture_output=True, text=True).stdout
        assert "10.77.0." not in addresses


def test_a_cut_host_is_out_of_reach_until_it_is_restored(lab):
    a, b = two_hosts(lab)
    with listening(b, B):
        b.cut()
        assert not reaches(a, B)
        b.restore()
        wait_for(lambda: reaches(a, B), 5, "the restored host")


@pytest.mark.requires("nft")
@pytest.mark.parametrize("direction", ["in", "out", "both"])
def test_a_blackhole_swallows_packets_while_the_link_stays_up(lab, direction):
    a, b = two_hosts(lab)
    with listening(b, B):
        assert reaches(a, B)
        b.blackhole(direction)
        assert not reaches(a, B)
        assert "NO-CARRIER" not in b.run("ip", "link", "show", "lan0").stdout
        b.restore()
        wait_for(lambda: reaches(a, B), 5, "the restored host")


@pytest.mark.requires("nft")
def test_a_one_way_blackhole_lets_the_other_direction_through(lab):
    a, b = two_hosts(lab)

    def receiver() -> socket.socket:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind((A, 5000))
        sock.settimeout(2)
        return sock

    def send() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"still here", (A, 5000))

    with a.inside(receiver) as sock, listening(b, B):
        assert reaches(a, B)
        b.blackhole("in")
        b.inside(send)
        assert sock.recv(100) == b"still here"
        assert not reaches(a, B)


def test_a_host_can_change_its_address(lab):
    a, b = two_hosts(lab)
    b.set_address(f"{B}/24", "10.77.0.33/24")
    with listening(b, "10.77.0.33"):
        assert reaches(a, "10.77.0.33")
        assert not reaches(a, B)
    assert "default dev lan0" in b.run("ip", "-4", "route").stdout


def test_a_host_can_have_ipv6_only(lab):
    a = lab.host("a", ipv6="fd77::2/64")
    b = lab.host("b", ipv6="fd77::3/64")
    assert "inet " not in a.run("ip", "address", "show", "lan0").stdout
    with listening(b, "fd77::3", socket.AF_INET6):
        assert reaches(a, "fd77::3")


def test_a_host_has_a_name_of_its_own(lab):
    before = socket.gethostname()
    assert lab.host("box1").run("hostname").stdout == "box1\n"
    assert socket.gethostname() == before


@pytest.mark.requires("avahi-daemon", "avahi-browse", "dbus-daemon")
@pytest.mark.parametrize("addresses", [{"ipv4": "10.77.0.%d/24"}, {"ipv6": "fd77::%d/64"}], ids=["ipv4", "ipv6"])
def test_avahi_is_seen_by_avahi_elsewhere_and_says_goodbye_when_stopped(lab, addresses):
    a, b, c = (lab.host(name, **{k: v % n for k, v in addresses.items()}) for n, name in enumerate("abc", 2))
    published = b.avahi("Box B", port=7946, txt={"node": "b", "pid": 42})
    other = c.avahi("c", port=7947, txt={"node": "c"})
    found = wait_for(lambda: {f.name: f for f in a.avahi_browse() if f.address}.get("Box B"), 10, "b's instance")
    assert (found.host, found.port, found.txt) == ("b.local", 7946, frozenset({"node=b", "pid=42"}))
    wait_for(lambda: "c" in {f.name for f in a.avahi_browse()}, 10, "c's instance")

    assert published.stop() == 0
    wait_for(lambda: {f.name for f in a.avahi_browse()} == {"c"}, 5, "the goodbye of b")
    other.kill()
    time.sleep(2)
    assert {f.name for f in a.avahi_browse()} == {"c"}, "a killed daemon says no goodbye"


@pytest.mark.requires("avahi-daemon", "avahi-browse", "dbus-daemon")
def test_a_cut_host_cannot_say_goodbye(lab):
    a, b = two_hosts(lab)
    published = b.avahi("b")
    wait_for(lambda: "b" in {f.name for f in a.avahi_browse()}, 10, "b's instance")
    b.cut()
    published.stop()
    time.sleep(2)
    assert "b" in {f.name for f in a.avahi_browse()}


def test_a_process_tells_its_memory_time_and_output(lab):
    a = lab.host("a")
    busy = a.popen("sh", "-c", "echo started; while :; do :; done")
    wait_for(lambda: "started" in busy.output(), 5, "the first line")
    wait_for(lambda: busy.cpu_seconds() > 0.05, 5, "some processor time")
    assert 100_000 < busy.rss() < 50_000_000
    assert busy.stop() == -15
    assert not busy.running


def test_a_process_that_ignores_sigterm_is_killed_and_reported(lab):
    stubborn = lab.host("a").popen("sh", "-c", 'trap "" TERM; echo ready; while :; do sleep 0.1; done')
    wait_for(lambda: "ready" in stubborn.output(), 5, "the first line")
    with pytest.raises(AssertionError, match="still running"):
        stubborn.stop(timeout=0.5)
    assert not stubborn.running


def test_nothing_is_left_even_after_a_failure(tmp_path):
    lab = Lab(tmp_path)

    def fail_in_the_lab() -> None:
        with lab:
            host = lab.host("a", ipv4=f"{A}/24")
            host.popen("sleep", "1000")
            host.run("sh", "-c", "setsid sleep 1000 >/dev/null 2>&1 & echo $! >orphan")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_in_the_lab()
    orphan = int((tmp_path / "a" / "orphan").read_text())
    assert [process.running for process in lab.processes] == [False]
    wait_for(lambda: not alive(orphan), 5, "the end of the orphan")
    assert [name for name in os.listdir("/run/netns") if name.startswith(f"{netns.PREFIX}{lab._name}-")] == []


def test_what_a_dead_run_left_is_swept(tmp_path):
    script = "from integration.netns import create; print(create('left'), flush=True)"
    path = str(Path(__file__).parent.parent)
    left = subprocess.run(
        [sys.executable, "-c", script], env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True
    )
    name = left.stdout.strip()
    assert (netns.FOLDER / name).exists(), left.stderr
    sleeper = subprocess.Popen(["ip", "netns", "exec", name, "sleep", "1000"])
    wait_for(lambda: Path(f"/proc/{sleeper.pid}/comm").read_text() == "sleep\n", 5, "the sleeper")
    with Lab(tmp_path):
        assert not (netns.FOLDER / name).exists()
        assert sleeper.wait(5) == -9


def alive(pid: int) -> bool:
    """Neither gone nor a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_wait_for_says_what_was_awaited_and_what_came_last():
    with pytest.raises(AssertionError, match=r"the moon: not within 0 s; the last value was \[\]"):
        wait_for(list, 0, "the moon")
    with pytest.raises(AssertionError, match="it last raised KeyError"):
        wait_for(lambda: {}["a"], 0, "a key")
