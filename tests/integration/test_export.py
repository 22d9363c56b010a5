"""`twistd k3net-export` and `k3net export` on real neighbour tables, with a real DNS server, disks and signals."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

import pytest
import yaml
from integration.daemon import TWISTD
from integration.dns_server import CNAME, PTR, DnsServer, Reply, answer, labels
from integration.lab import LINK, Host, Lab, wait_for
from integration.netns import ip

K3NET = str(Path(sys.executable).with_name("k3net"))
SECOND = "lan1"
STATES = ("permanent", "noarp", "reachable", "stale", "delay", "probe", "failed", "incomplete", "none")
MANY = 4096
SILENT = 1000


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """A host with two links, whose networks overlap, and no neighbours."""
    with Lab(tmp_path_factory.mktemp("export")) as lab:
        host = lab.host("a", ipv4="10.77.0.1/16", ipv6="fd77::1/64")
        ip("-n", host.namespace, "link", "add", SECOND, "type", "veth", "peer", "lan1-peer")
        for link in (SECOND, "lan1-peer"):
            ip("-n", host.namespace, "link", "set", link, "up")
        ip("-n", host.namespace, "address", "add", "10.77.9.1/24", "dev", SECOND)
        (host.folder / "hosts").write_text("127.0.0.1 localhost\n10.77.0.16 printer.local printer # upstairs\n")
        (host.folder / "resolv.conf").write_text("nameserver 127.0.0.1\n")
        yield host


@pytest.fixture(autouse=True)
def flushed(host: Host) -> Iterator[None]:
    yield
    for link in (LINK, SECOND):
        for state in ("all", "noarp"):  # all is not quite all
            ip("-n", host.namespace, "neigh", "flush", "dev", link, "nud", state)


def add(host: Host, address: str, mac: str, state: str = "permanent", link: str = LINK) -> None:
    ip("-n", host.namespace, "neigh", "replace", address, "lladdr", mac, "dev", link, "nud", state)


def add_many(host: Host, count: int) -> None:
    rows = (f"neigh add {address(n)} lladdr 02:00:00:00:{n >> 8:02x}:{n & 255:02x} dev {LINK}" for n in range(count))
    batch = host.folder / "batch"
    batch.write_text("".join(f"{row} nud permanent\n" for row in rows))
    ip("-n", host.namespace, "-batch", str(batch))


def address(n: int) -> str:
    return str(ip_address("10.77.1.0") + 1 + n + n // 254 * 2)


def mounted(*argv: str) -> tuple[str, ...]:
    """A command with the resolv.conf and hosts of the host's folder."""
    mounts = "mount --bind resolv.conf /etc/resolv.conf && mount --bind hosts /etc/hosts"
    return ("sh", "-c", f'{mounts} && exec "$@"', "sh", *argv)


def run(host: Host, *argv: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
    """Runs to its end, as `mounted`."""
    return host.run(*mounted(*argv), check=check)


def twistd(host: Host, *flags: str) -> "subprocess.CompletedProcess[str]":
    return run(host, TWISTD, "k3net-export", *flags, check=False)


def exported(host: Host, *flags: str) -> list[dict]:
    """The devices, from `k3net export` without names."""
    done = run(host, K3NET, "export", "--resolve-dns=false", *flags)
    assert done.stderr == ""
    return json.loads(done.stdout)["devices"]


def test_a_neighbour_in_any_state_that_has_a_machine_is_exported_in_the_order_of_numbers(host):
    for n, state in enumerate(STATES, start=9):
        add(host, f"10.77.0.{n}", f"52:54:00:00:00:{n:02x}", state)
        add(host, f"fd77::{n:x}", f"52:54:00:00:00:{n:02x}", state)
    devices = exported(host, "--family", "all")
    shown = [(d["ip"], d["mac"], d["state"].replace("delay", "probe"), d["interface"], d["family"]) for d in devices]
    wanted = [(n, state.replace("delay", "probe")) for n, state in enumerate(STATES[:6], start=9)]
    assert shown == [
        (net.format(n), f"52:54:00:00:00:{n:02x}", state, LINK, family)
        for net, family in (("10.77.0.{}", "ipv4"), ("fd77::{:x}", "ipv6"))
        for n, state in wanted
    ]
    assert [d["ip"] for d in exported(host)] == [f"10.77.0.{n}" for n, _ in wanted]
    assert {d["family"] for d in exported(host, "--family", "6")} == {"ipv6"}


def test_one_address_with_two_macs_is_marked_on_overlapping_networks(host):
    add(host, "10.77.9.5", "52:54:00:00:01:01", "stale")
    add(host, "10.77.9.5", "52:54:00:00:01:02", "stale", SECOND)
    add(host, "10.77.9.6", "52:54:00:00:01:03", "stale", SECOND)
    add(host, "10.77.9.7", "52:54:00:00:01:04", "stale")
    add(host, "10.77.9.7", "52:54:00:00:01:04", "stale", SECOND)
    rows = [(d["ip"], d["interface"], d["duplicate"]) for d in exported(host)]
    assert rows == [
        ("10.77.9.5", LINK, True),
        ("10.77.9.5", SECOND, True),
        ("10.77.9.6", SECOND, False),
        ("10.77.9.7", LINK, False),
        ("10.77.9.7", SECOND, False),
    ]


def test_the_table_is_the_one_that_pyroute2_reads(host):
    from pyroute2 import IPRoute

    from k3net.neighbors.netlink import rows

    add_many(host, 600)
    for n, state in enumerate(STATES, start=9):
        add(host, f"fd77::{n:x}", f"52:54:00:00:00:{n:02x}", state)

    def theirs():
        with IPRoute() as route:
            return {(n["ifindex"], n.get_attr("NDA_DST")): n.get_attr("NDA_LLADDR") for n in route.get_neighbours()}

    ours = {(index, str(a)): row.mac for (index, a), row in host.inside(lambda: rows((4, 6), 5.0)).items()}
    other = {key: mac or "" for key, mac in host.inside(theirs).items()}
    assert len(ours) > 600
    assert ours.keys() == other.keys()
    assert {key: mac for key, mac in ours.items() if mac} == {key: other[key] for key, mac in ours.items() if mac}


def test_a_cidr_keeps_what_is_inside_but_its_own_and_its_broadcast_address(host):
    for last in (0, 1, 6, 7, 8):
        add(host, f"10.77.4.{last}", f"52:54:00:00:04:{last:02x}")
    assert [d["ip"] for d in exported(host, "--cidr", "10.77.4.0/29")] == ["10.77.4.1", "10.77.4.6"]
    both = exported(host, "--cidr", "10.77.4.8/32", "--cidr", "10.77.4.6/31")
    assert [d["ip"] for d in both] == ["10.77.4.6", "10.77.4.7", "10.77.4.8"]
    assert exported(host, "--cidr", "192.0.2.0/24") == []


def reply_by_last_octet(replies: dict[str, Reply]) -> Reply:
    return lambda query, name: replies[name.partition(".")[0]](query, name)


def ptr(name: bytes) -> Reply:
    return lambda query, _: answer(query, (PTR, b"", labels(name)))


def aliased(query: bytes, _: str) -> bytes:
    alias = labels(b"17.0-31.0.77.10.in-addr.arpa")
    return answer(query, (CNAME, b"", alias), (PTR, alias, labels(b"seventeen.example.org")))


LIES: dict[str, Reply] = {
    "10": ptr(b"ten.example.org"),
    "11": ptr(b"evil\x1b[2J.example.org"),
    "12": ptr(b"new\nline.example.org"),
    "13": lambda query, _: answer(query, (PTR, b"", labels(b".".join([b"x" * 63] * 64)))),
    "14": lambda query, _: answer(query, code=3),
    "15": lambda query, _: None,
    "16": ptr(b"not-asked.example.org"),
    "17": aliased,
    "18": lambda query, _: answer(query, code=2),
    "19": lambda query, _: b"\0" * 500,
    "20": ptr("\u202eähm.example.org".encode()),
    "21": lambda query, _: answer(query, (PTR, labels(b"other.example.org"), labels(b"stolen.example.org"))),
    "22": lambda query, _: bytes([query[0] ^ 1]) + answer(query, (PTR, b"", labels(b"forged.example.org")))[1:],
    "23": ptr(b".".join([b"y" * 63] * 5)),
    "24": ptr(b"a room.example.org"),
}


def test_names_come_from_hosts_and_dns_and_no_lie_is_shown(host):
    for n in LIES:
        add(host, f"10.77.0.{n}", f"52:54:00:00:00:{n}")
    with host.inside(lambda: DnsServer("127.0.0.1", reply_by_last_octet(LIES))) as server:
        done = twistd(host, "--format", "json")
    assert done.returncode == 0
    assert all(line.isprintable() and line.isascii() for line in done.stdout.splitlines())
    named = {d["ip"].rpartition(".")[2]: (d["name"], d["nameSource"]) for d in json.loads(done.stdout)["devices"]}
    known = {
        "10": ("ten.example.org", "dns"),
        "16": ("printer.local", "hosts"),
        "17": ("seventeen.example.org", "dns"),
        "24": ("a room.example.org", "dns"),
    }
    assert named == {n: known.get(n, (f"52:54:00:00:00:{n}", "mac")) for n in LIES}
    assert "16.0.77.10.in-addr.arpa" not in server.asked
    [note] = done.stderr.splitlines()
    assert note.startswith("k3net-export: ")
    assert "names are missing" in note
    assert "no answer within 0.25 s: 3" in note
    assert "the answer is too long: 1" in note
    assert "not a name: 4" in note
    assert "refused by the server: 1" in note


def test_the_next_server_is_asked_when_one_is_silent_or_not_there(host):
    add(host, "10.77.0.10", "52:54:00:00:00:10")
    resolv = host.folder / "resolv.conf"
    resolv.write_text("nameserver 127.0.0.2\nnameserver 127.0.0.3\nnameserver ::1\n")
    with (
        host.inside(lambda: DnsServer("127.0.0.2", lambda query, name: None)),
        host.inside(lambda: DnsServer("::1", LIES["10"])),
    ):
        done = twistd(host, "--format=cmd", "--dns-timeout=1500ms")
    resolv.write_text("nameserver 127.0.0.1\n")
    assert (done.stdout, done.stderr) == ("10.77.0.10 ten.example.org 52:54:00:00:00:10\n", "")


def test_a_thousand_silent_names_are_asked_at_once_and_said_to_be_missing(host):
    add_many(host, MANY)
    with host.inside(lambda: DnsServer("127.0.0.1", lambda query, name: None)) as server:
        cidrs = [f"--cidr=10.77.{n}.0/24" for n in range(1, 5)]
        done = twistd(host, *cidrs)
    devices = json.loads(done.stdout)["devices"]
    assert len(devices) > SILENT
    assert len(set(server.asked)) == len(devices)
    count = len(devices)
    assert done.stderr == (f"k3net-export: {count} of {count} names are missing (no answer within 0.25 s: {count})\n")


def test_the_timeout_prints_what_is_known_and_says_what_is_missing(host):
    add_many(host, 300)
    with host.inside(lambda: DnsServer("127.0.0.1", lambda query, name: None)):
        done = twistd(host, "--timeout", "600ms", "--dns-timeout", "250ms")
    assert done.returncode == 0
    assert json.loads(done.stdout)["count"] == 300
    assert done.stderr.startswith("k3net-export: 300 of 300 names are missing (")
    assert "--timeout was over: " in done.stderr


def test_somebody_who_waits_at_a_terminal_sees_how_far_it_is(host):
    add_many(host, 150)
    ours, theirs = pty.openpty()
    argv = mounted(K3NET, "export", "--dns-timeout=900ms")
    with (
        host.inside(lambda: DnsServer("127.0.0.1", lambda query, name: None)),
        subprocess.Popen(host._command(argv), stdout=subprocess.PIPE, stderr=theirs, cwd=host.folder) as running,
    ):
        os.close(theirs)
        assert running.stdout
        devices = json.loads(running.stdout.read())["devices"]
    drawn = os.read(ours, 2**20).decode()
    os.close(ours)
    assert len(devices) == 150
    assert re.search(r"names.*100/150", drawn)
    assert drawn.endswith("150 of 150 names are missing (no answer within 0.9 s: 150)\r\n")


def test_a_signal_ends_it_and_leaves_no_file(host):
    add_many(host, 150)
    before = sorted(path.name for path in host.folder.iterdir())
    with host.inside(lambda: DnsServer("127.0.0.1", lambda query, name: None)) as server:
        process = host.popen(*mounted(TWISTD, "k3net-export", "--dns-timeout=9s", "--output", "lan.json"), log="ended")
        wait_for(lambda: server.asked, 10, "a question")
        process.signal(signal.SIGTERM)
        wait_for(lambda: not process.running, 5, "the end")
    assert (process._popen.returncode, process.output()) == (143, "")
    assert sorted(path.name for path in host.folder.iterdir()) == before


def test_without_names_no_server_is_asked_and_all_are_exported(host):
    add_many(host, MANY)
    with host.inside(lambda: DnsServer("127.0.0.1", lambda query, name: None)) as server:
        done = twistd(host, "--resolve-dns", "false")
    answer = json.loads(done.stdout)
    assert (answer["count"], len(answer["devices"]), server.asked) == (MANY, MANY, [])
    assert answer["mode"] == "neighbor-table"
    assert set(answer["cidrs"]) == {"10.77.0.0/16", "10.77.9.0/24"}
    assert done.stderr == ""


def test_the_forms_go_into_pipes(host):
    add_many(host, MANY)
    quiet = "--resolve-dns=false"
    piped = f"{TWISTD} k3net-export {quiet}"
    pretty = run(host, "sh", "-c", f"{piped} --format json | {sys.executable} -m json.tool")
    assert (len(json.loads(pretty.stdout)["devices"]), pretty.stderr) == (MANY, "")
    read = run(host, "bash", "-c", f'{piped} --format cmd | while read -r ip name mac; do echo "$mac $ip"; done')
    assert (len(read.stdout.splitlines()), read.stderr) == (MANY, "")
    assert read.stdout.splitlines()[0] == "02:00:00:00:00:00 10.77.1.1"
    for form in ("json", "cmd", "table"):
        head = run(host, "bash", "-c", f"set -o pipefail; {piped} --format {form} | head -1")
        assert (len(head.stdout.splitlines()), head.stderr) == (1, "")
    assert len(yaml.safe_load(twistd(host, quiet, "--format", "yaml", "--cidr=10.77.1.0/24").stdout)["devices"]) == 254


def test_a_file_is_written_whole_or_not_at_all(host):
    add_many(host, 600)
    flags = "k3net-export --resolve-dns=false --output"
    done = run(host, "sh", "-c", f"{TWISTD} {flags} lan.yaml --format yaml")
    assert (done.stdout, done.stderr) == ("export ok: lan.yaml (600 devices)\n", "")
    assert yaml.safe_load((host.folder / "lan.yaml").read_text())["count"] == 600
    (host.folder / "disk").mkdir()
    after = f"{TWISTD} {flags} disk/lan.json; echo exit status $?; cat disk/lan.json; ls -A disk"
    for mount, reason in (("size=64k", "no space left on device"), ("size=1m", "read-only file system")):
        remount = "mount -o remount,ro disk && " if "1m" in mount else ""
        full = f"mount -t tmpfs -o {mount} tmpfs disk && echo before >disk/lan.json && {remount}"
        done = run(host, "sh", "-c", full + after)
        assert done.stderr == f"k3net-export: disk/lan.json: {reason}\n"
        assert done.stdout.splitlines() == ["exit status 1", "before", "lan.json"]
    done = twistd(host, "--resolve-dns=false", "--output", "nowhere/lan.json")
    assert (done.returncode, done.stderr) == (1, "k3net-export: nowhere/lan.json: no such file or directory\n")


def test_a_live_pid_file_is_neither_heeded_nor_touched_and_nothing_is_left(host):
    pid = host.folder / "twistd.pid"
    pid.write_text(f"{os.getpid()}\n")
    before = sorted(path.name for path in host.folder.iterdir())
    done = twistd(host, "--resolve-dns=false")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["devices"] == []
    assert pid.read_text() == f"{os.getpid()}\n"
    assert sorted(path.name for path in host.folder.iterdir()) == before
    pid.unlink()


def test_an_output_that_is_full_closed_or_read_no_further_is_one_line_or_none(host):
    add(host, "10.77.0.10", "52:54:00:00:00:10")
    for program in (f"{K3NET} export", f"{TWISTD} k3net-export"):
        name = program.rpartition("/")[2].removeprefix("twistd ")
        command = f"{program} --resolve-dns=false --format cmd"
        full = run(host, "sh", "-c", f"{command} >/dev/full", check=False)
        assert (full.returncode, full.stderr) == (1, f"{name}: standard output: no space left on device\n")
        closed = run(host, "sh", "-c", f"{command} >&-", check=False)
        assert (closed.returncode, closed.stderr) == (0, "")
    watched = run(host, "bash", "-c", f"set -o pipefail; {K3NET} export --watch --resolve-dns=false | head -c 0")
    assert (watched.stdout, watched.stderr) == ("", "")


def test_a_watch_whose_reader_has_enough_ends_though_nothing_changes(host):
    add(host, "10.77.0.10", "52:54:00:00:00:10")
    command = f"set -o pipefail; timeout 20 {K3NET} export --watch --resolve-dns=false --format cmd | head -1"
    watched = run(host, "bash", "-c", command)
    assert (watched.stdout, watched.stderr) == ("added 10.77.0.10 52:54:00:00:00:10 52:54:00:00:00:10\n", "")


@pytest.mark.parametrize("end", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_changes_are_printed_as_they_come_until_a_signal(host, end):
    add(host, "10.77.0.10", "52:54:00:00:00:10", "stale")
    words = ("--watch", "--format", "cmd", "--resolve-dns", "false", "--cidr", "10.77.0.0/24")
    process = host.popen(K3NET, "export", *words, log=f"watch-{end[1]}")

    def said(*lines: str) -> bool:
        return process.output().splitlines() == list(lines)

    lines = ["added 10.77.0.10 52:54:00:00:00:10 52:54:00:00:00:10"]
    wait_for(lambda: said(*lines), 10, "the table")
    add(host, "10.77.0.11", "52:54:00:00:00:11", "stale")
    lines.append("added 10.77.0.11 52:54:00:00:00:11 52:54:00:00:00:11")
    wait_for(lambda: said(*lines), 10, "a newcomer")
    add(host, "10.77.0.11", "52:54:00:00:00:12", "stale")
    lines.append("changed 10.77.0.11 52:54:00:00:00:12 52:54:00:00:00:12")
    wait_for(lambda: said(*lines), 10, "another MAC")
    ip("-n", host.namespace, "neigh", "del", "10.77.0.11", "dev", LINK)
    lines.append("removed 10.77.0.11 52:54:00:00:00:12 52:54:00:00:00:12")
    wait_for(lambda: said(*lines), 10, "one that goes")
    process.signal(end[0])
    wait_for(lambda: not process.running, 5, "the end")
    assert process._popen.returncode == end[1]
    assert said(*lines)


def test_a_flood_of_changes_is_followed(host):
    process = host.popen(K3NET, "export", "--watch", "--format", "json", "--resolve-dns=false", log="flood")
    ip("-n", host.namespace, "neigh", "replace", "10.77.0.2", "lladdr", "52:54:00:00:00:02", "dev", LINK)
    wait_for(lambda: "10.77.0.2" in process.output(), 10, "the first")
    add_many(host, MANY)
    wait_for(lambda: process.output().count('"added"') == MANY + 1, 15, "all of them")
    assert {json.loads(line)["event"] for line in process.output().splitlines()} == {"added"}
    process.kill()
