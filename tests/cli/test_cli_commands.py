"""The commands as a script uses them: pipes, exit codes, one line for an error."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
import yaml
from fixture_api import COMMAND, NOT_FOUND, FixtureApi, environment, k3net, node, node_list, send

from k3net import __version__

HOSTILE = "evil\x1b[2J\n\u202egnp\x9b"
NODES = node_list(
    node("edge-1", "False", reason="PeerExpired", labels={"zone": "b"}),
    node("worker-12", spec={"unschedulable": True}, labels={"node-role.kubernetes.io/worker": "", "zone": "a"}),
    node("x", node_info={"kubeletVersion": "v1.32.4"}, created=None),
)
PEERS = {
    "kind": "PeerList",
    "items": [
        {
            "name": "edge-1",
            "addresses": ["10.0.0.1", "fd00::1"],
            "port": 7946,
            "verified": True,
            "member": True,
            "own": True,
            "ready": "True",
            "reason": "LANDiscovery",
            "message": "discovered via mDNS",
            "observations": [{"source": "own", "age_seconds": 12.5, "ttl_seconds": 90.0}],
            "last_probe": None,
        },
        {
            "name": "worker-12",
            "addresses": ["10.0.0.12"],
            "port": 7946,
            "verified": False,
            "member": False,
            "own": False,
            "ready": "False",
            "reason": "PeerExpired",
            "message": "peer ttl exceeded",
            "observations": [{"source": "mdns", "age_seconds": 130.0, "ttl_seconds": 90.0}],
            "last_probe": {"ok": False, "reason": "timeout", "rtt_seconds": None, "age_seconds": 4.0},
        },
    ],
}


@pytest.fixture(scope="module")
def api() -> Iterator[FixtureApi]:
    answers = {
        "/api/v1/nodes": NODES,
        "/api/v1/nodes/x": NODES["items"][2],
        "/api/v1/nodes/edge-1": NODES["items"][0],
        "/api/v1/peers": PEERS,
        "/api/v1/version": {"version": "9.9.9"},
    }
    with FixtureApi(answers) as running:
        yield running


@pytest.fixture
def hostile_api() -> Iterator[FixtureApi]:
    with FixtureApi({"/api/v1/nodes": node_list(node(HOSTILE)), "/api/v1/peers": (500, NOT_FOUND)}) as running:
        yield running


def ok(api: FixtureApi, *args: str) -> str:
    done = k3net("--addr", api.url, *args)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_nodes_are_printed_as_kubectl_prints_them(api: FixtureApi) -> None:
    lines = ok(api, "nodes").splitlines()
    age = lines[1].split()[3]
    assert age.endswith("y")
    assert lines == [
        "NAME        STATUS                     ROLES    AGE         VERSION",
        f"edge-1      NotReady                   <none>   {age}         <none>",
        f"worker-12   Ready,SchedulingDisabled   worker   {age}         <none>",
        "x           Ready                      <none>   <unknown>   v1.32.4",
    ]


def test_wide_nodes_end_with_last_seen_and_reason(api: FixtureApi) -> None:
    head, edge, *_ = ok(api, "nodes", "-o", "wide").splitlines()
    assert head.split()[:5] == ["NAME", "STATUS", "ROLES", "AGE", "VERSION"]
    assert head.split()[5:10] == ["INTERNAL-IP", "EXTERNAL-IP", "OS-IMAGE", "KERNEL-VERSION", "CONTAINER-RUNTIME"]
    assert head.split()[10:] == ["LAST-SEEN", "REASON"]
    assert edge.split()[5:10] == ["10.0.0.7", "<none>", "<unknown>", "<unknown>", "<unknown>"]
    assert edge.split()[-1] == "PeerExpired"


def test_json_and_yaml_are_what_the_api_gave(api: FixtureApi) -> None:
    assert json.loads(ok(api, "nodes", "-o", "json")) == NODES
    assert yaml.safe_load(ok(api, "nodes", "-o", "yaml")) == NODES
    assert json.loads(ok(api, "nodes", "x", "-o", "json")) == NODES["items"][2]
    assert json.loads(ok(api, "nodes", "x", "edge-1", "-o", "json"))["items"] == [NODES["items"][2], NODES["items"][0]]
    assert json.loads(ok(api, "peers", "-o", "json")) == PEERS


def test_names_can_be_given_back(api: FixtureApi) -> None:
    assert ok(api, "nodes", "-o", "name") == "node/edge-1\nnode/worker-12\nnode/x\n"
    assert ok(api, "nodes", "node/x", "-o", "name") == "node/x\n"
    assert ok(api, "peers", "-o", "name") == "peer/edge-1\npeer/worker-12\n"


def test_a_selector_picks_by_label(api: FixtureApi) -> None:
    assert ok(api, "nodes", "-l", "zone=a", "-o", "name") == "node/worker-12\n"
    assert json.loads(ok(api, "nodes", "-l", "!zone", "-o", "json")) == {**NODES, "items": NODES["items"][2:]}


def test_the_heading_can_be_left_out(api: FixtureApi) -> None:
    assert ok(api, "nodes", "--no-headers").splitlines() == ok(api, "nodes").splitlines()[1:]
    assert ok(api, "peers", "--no-headers").startswith("edge-1 ")


def test_peers_are_printed_with_their_kind_and_last_probe(api: FixtureApi) -> None:
    assert ok(api, "peers") == (
        "NAME        KIND   ADDRESSES          PORT   SOURCES   READY   REASON         AGE     PROBE\n"
        "edge-1      own    10.0.0.1,fd00::1   7946   own       True    LANDiscovery   12s     -\n"
        "worker-12   peer   10.0.0.12          7946   mdns      False   PeerExpired    2m10s   timeout\n"
    )


def test_version_tells_both(api: FixtureApi) -> None:
    assert ok(api, "version") == f"client: {__version__}\ndaemon: 9.9.9 at {api.url}\n"
    assert json.loads(ok(api, "version", "-o", "json")) == {
        "client": {"version": __version__},
        "daemon": {"address": api.url, "version": "9.9.9", "error": ""},
    }


def test_version_needs_no_daemon(hostile_api: FixtureApi) -> None:
    assert ok(hostile_api, "version").endswith(
        f"daemon: not reachable at {hostile_api.url} (NOT_FOUND: no such thing)\n"
    )
    done = k3net("version", "--addr", "127.0.0.1:1")
    assert done.returncode == 0
    assert done.stdout.endswith("daemon: not reachable at http://127.0.0.1:1 (connection refused)\n")


def test_nothing_to_show_is_no_failure() -> None:
    with FixtureApi({"/api/v1/nodes": node_list(), "/api/v1/peers": {"kind": "PeerList", "items": []}}) as empty:
        for command in ("nodes", "peers"):
            done = k3net(command, "--addr", empty.url)
            assert (done.returncode, done.stdout, done.stderr) == (0, "", "No resources found\n")
        assert json.loads(ok(empty, "nodes", "-o", "json"))["items"] == []


def test_an_unknown_name_fails_and_the_others_are_shown(api: FixtureApi) -> None:
    done = k3net("--addr", api.url, "nodes", "nobody")
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "k3net: NOT_FOUND: no such thing\n")
    done = k3net("--addr", api.url, "nodes", "nobody", "x", "-o", "name")
    assert (done.returncode, done.stdout, done.stderr) == (1, "node/x\n", "k3net: NOT_FOUND: no such thing\n")


@pytest.mark.parametrize("name", ["../peers", "..", "a?b#c", "a b", "ü", "x/y", "a\r\nX: y", "\udcff"])
def test_any_name_asks_for_one_node_and_nothing_else(api: FixtureApi, name: str) -> None:
    before = len(api.requests)
    assert k3net("--addr", api.url, "nodes", name).returncode == 1
    [(path, headers)] = api.requests[before:]
    assert path.startswith("/api/v1/nodes/")
    assert path.count("/") == 4
    assert "X" not in headers


@pytest.mark.parametrize(
    "args",
    [
        ("nodes", ""),
        ("nodes", "n1", "-l", "a=b"),
        ("nodes", "n1", "n2", "--watch"),
        ("nodes", "-l", "a in (b)"),
        ("nodes", "-o", "xml"),
        ("bogus",),
        (),
        ("nodes", "--addr"),
        ("nodes", "--addr", "https://h:1"),
        ("nodes", "--token-file", "/nowhere/token"),
    ],
)
def test_a_wrong_question_is_exit_code_2_without_a_traceback(args: tuple[str, ...]) -> None:
    done = k3net(*args)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("k3net")


def test_no_daemon_is_one_clear_line() -> None:
    done = k3net("nodes", K3NET_ADDR="127.0.0.1:1")
    expected = "k3net: no daemon answers at http://127.0.0.1:1 (connection refused); is it running? see --addr\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", expected)


def test_an_option_wins_over_the_environment_wherever_it_stands(api: FixtureApi) -> None:
    for args in (("--addr", api.url, "nodes"), ("nodes", "--addr", api.url)):
        assert k3net(*args, K3NET_ADDR="127.0.0.1:1").returncode == 0
    assert k3net("nodes", K3NET_ADDR=api.url).returncode == 0


def test_the_token_file_of_the_environment_is_used(api: FixtureApi, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("t0ken\n")
    assert k3net("nodes", K3NET_ADDR=api.url, K3NET_TOKEN_FILE=str(tmp_path / "token")).returncode == 0
    assert api.requests[-1][1]["Authorization"] == "Bearer t0ken"


def html(request: BaseHTTPRequestHandler) -> None:
    send(request, b"<html>\x1b[2J</html>", status=502, content_type="text/html")


@pytest.mark.parametrize(
    "answer", [html, [], {"kind": "NodeList", "items": 3}, (500, {"code": HOSTILE, "message": HOSTILE})]
)
def test_garbage_is_one_printable_line(hostile_api: FixtureApi, answer: object) -> None:
    hostile_api.answers["/api/v1/nodes"] = answer
    done = k3net("nodes", "--addr", hostile_api.url)
    assert (done.returncode, done.stdout) == (1, "")
    [line] = done.stderr.split("\n")[:-1]
    assert line.startswith("k3net: ")
    assert line.isprintable()


@pytest.mark.parametrize("form", ["table", "wide", "json", "yaml", "name"])
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_hostile_text_reaches_no_terminal(hostile_api: FixtureApi, form: str, encoding: str) -> None:
    done = k3net("nodes", "-o", form, "--addr", hostile_api.url, PYTHONIOENCODING=encoding)
    assert done.returncode == 0
    assert all(line.isprintable() for line in done.stdout.splitlines())
    assert "u202e" in done.stdout.lower()


def test_a_list_nested_too_deep_to_show_is_one_line(hostile_api: FixtureApi) -> None:
    deep: object = "x"
    for _ in range(900):
        deep = [deep]
    hostile_api.answers["/api/v1/nodes"] = node_list({"metadata": {"name": "n1"}, "deep": deep})
    for form in ("json", "yaml"):
        done = k3net("nodes", "-o", form, "--addr", hostile_api.url)
        assert "Traceback" not in done.stderr
        assert done.returncode == 0 or done.stderr == "k3net: the answer is nested too deeply to be shown\n"
    assert "n1" in ok(hostile_api, "nodes")


def test_a_reader_that_has_enough_is_no_failure() -> None:
    many = node_list(*(node(f"n{i}") for i in range(4000)))
    with FixtureApi({"/api/v1/nodes": many}) as large:
        for form in ("table", "json"):
            with subprocess.Popen(
                [*COMMAND, "nodes", "-o", form, "--addr", large.url],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=environment(),
            ) as running:
                assert running.stdout
                assert running.stderr
                assert running.stdout.readline()
                running.stdout.close()
                assert (running.wait(20), running.stderr.read()) == (0, b"")


def test_a_reader_that_never_read_is_no_failure(api: FixtureApi) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [*COMMAND, "nodes", "--addr", api.url]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, env=environment(), check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_output_that_cannot_be_written_is_one_line(api: FixtureApi) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*COMMAND, "nodes", "--addr", api.url], stdout=full, stderr=subprocess.PIPE, env=environment(), check=False
        )
    assert (done.returncode, done.stderr) == (1, b"k3net: No space left on device\n")


def test_a_closed_standard_output_is_survived(api: FixtureApi) -> None:
    command = ["sh", "-c", 'exec "$@" >&-', "sh", *COMMAND, "nodes", "--addr", api.url]
    done = subprocess.run(command, stderr=subprocess.PIPE, env=environment(), check=False)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("command", [(), ("nodes",), ("peers",), ("version",), ("completion",)])
def test_help_is_printed_for_every_command(command: tuple[str, ...]) -> None:
    done = k3net(*command, "-h")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("usage: k3net")


def test_start_up_imports_only_what_the_command_needs(api: FixtureApi) -> None:
    script = (
        "import sys; from k3net.cli import main; main(sys.argv[1:]);"
        "print(*{m.partition('.')[0] for m in sys.modules} & {'twisted', 'rich', 'yaml', 'shtab', 'msgspec', 'txaio'})"
    )
    for command in ("version", "nodes", "peers"):
        done = subprocess.run(
            [sys.executable, "-c", script, "--addr", api.url, command],
            capture_output=True,
            text=True,
            env=environment(),
        )
        assert done.stdout.splitlines()[-1] == ""


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_completes_commands_options_and_choices(tmp_path: Path) -> None:
    script = tmp_path / "completion.bash"
    script.write_text(k3net("completion", "bash").stdout)
    ask = (
        'source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); '
        "$(complete -p k3net | sed 's/.*-F \\([^ ]*\\).*/\\1/'); echo \"${COMPREPLY[@]}\""
    )

    def completed(*words: str) -> list[str]:
        done = subprocess.run(
            ["bash", "-c", ask, "bash", str(script), *words], capture_output=True, text=True, check=True
        )
        return done.stdout.split()

    assert {"nodes", "peers", "version", "config", "completion"} <= set(completed("k3net", ""))
    assert completed("k3net", "nodes", "--no") == ["--no-headers"]
    assert set(completed("k3net", "nodes", "-o", "")) == {"table", "wide", "json", "yaml", "name"}


def test_zsh_has_a_completion_script() -> None:
    assert k3net("completion", "zsh").stdout.startswith("#compdef k3net")
