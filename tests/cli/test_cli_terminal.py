"""The form on a terminal, through a real pty."""

import contextlib
import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
from collections.abc import Iterator

import pytest
from fixture_api import COMMAND, FixtureApi, environment, k3net, node, node_list

LONG = "a-rather-long-name-for-a-node-01"


@pytest.fixture(scope="module")
def api() -> Iterator[FixtureApi]:
    peer = {"name": LONG, "addresses": ["2001:db8:0:1::1234", "2001:db8:0:1::5678"], "port": 7946, "ready": "False"}
    answers = {
        "/api/v1/nodes": node_list(node("n1"), node(LONG, "False"), node("n3", spec={"unschedulable": True})),
        "/api/v1/peers": {"kind": "PeerList", "items": [peer]},
    }
    with FixtureApi(answers) as running:
        yield running


def on_terminal(columns: int, *args: str, **environ: str) -> str:
    """What k3net writes to a terminal of that width; it must end well."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    env = environment(**{"TERM": "xterm-256color", **environ})
    with subprocess.Popen([*COMMAND, *args], stdin=theirs, stdout=theirs, stderr=theirs, env=env) as running:
        os.close(theirs)
        written = b""
        with contextlib.suppress(OSError):  # EIO is how a pty says that the other side has closed it
            while chunk := os.read(ours, 65536):
                written += chunk
        os.close(ours)
        assert running.wait(20) == 0
    return written.decode().replace("\r\n", "\n")


def colourless(text: str) -> str:
    return re.sub(r"\x1b\[[\d;]*m", "", text)


def test_ready_is_green_and_not_ready_is_red(api: FixtureApi) -> None:
    shown = on_terminal(120, "nodes", "--addr", api.url)
    assert "\x1b[32mReady\x1b[0m " in shown
    assert "\x1b[31mNotReady\x1b[0m " in shown
    assert "\x1b[33mReady,SchedulingDisabled\x1b[0m " in shown
    assert len(re.findall(r"\x1b\[3", shown)) == 3


def test_but_for_the_colours_a_terminal_shows_what_a_pipe_gets(api: FixtureApi) -> None:
    shown = colourless(on_terminal(120, "nodes", "--addr", api.url))
    assert shown == k3net("nodes", "--addr", api.url).stdout


@pytest.mark.parametrize("environ", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_colours_are_left_out_where_they_are_not_wanted(api: FixtureApi, environ: dict[str, str]) -> None:
    assert "\x1b" not in on_terminal(120, "nodes", "--addr", api.url, **environ)


def test_a_pipe_gets_no_colours_even_when_they_are_forced(api: FixtureApi) -> None:
    assert "\x1b" not in k3net("nodes", "--addr", api.url, FORCE_COLOR="1", TERM="xterm-256color").stdout


@pytest.mark.parametrize("columns", [40, 50, 60])
def test_on_a_narrow_terminal_each_node_keeps_one_line_and_its_whole_name(api: FixtureApi, columns: int) -> None:
    lines = colourless(on_terminal(columns, "nodes", "--addr", api.url)).splitlines()
    assert [line.split()[0] for line in lines] == ["NAME", "n1", LONG, "n3"]
    assert all(len(line) <= columns for line in lines)
    assert lines[2].endswith("…")


def test_a_name_wider_than_the_terminal_is_still_whole(api: FixtureApi) -> None:
    lines = colourless(on_terminal(10, "nodes", "--addr", api.url)).splitlines()
    assert lines[2].rstrip("… ") == LONG


def test_addresses_give_way_before_the_columns_after_them(api: FixtureApi) -> None:
    [_, line] = colourless(on_terminal(110, "peers", "--addr", api.url)).splitlines()
    assert len(line) <= 110
    assert "…   7946   " in line
    assert line.endswith("-")


def test_wide_is_never_cut(api: FixtureApi) -> None:
    lines = colourless(on_terminal(60, "nodes", "-o", "wide", "--addr", api.url)).splitlines()
    assert [line.split()[-1] for line in lines] == ["REASON", "PeerAlive", "PeerAlive", "PeerAlive"]
