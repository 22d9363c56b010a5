"""`k3net nodes --watch` against an API whose Nodes change, and that goes away and comes back."""

import json
import queue
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from typing import IO, Any

import pytest
from fixture_api import COMMAND, NOT_FOUND, FixtureApi, environment, k3net, node, node_list

NODES = "/api/v1/nodes"
HEEDING = ("env", "--default-signal=INT")  # what a shell starts in the background ignores Ctrl-C
HEADING = ["NAME", "STATUS", "ROLES", "AGE", "VERSION"]


class Watching:
    """k3net in the background, with the lines that it has written."""

    def __init__(self, *args: str):
        self.process = subprocess.Popen(
            [*HEEDING, *COMMAND, "nodes", "--watch", *args],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(),
        )
        self.stdout = self._lines(self.process.stdout)
        self.stderr = self._lines(self.process.stderr)

    def _lines(self, stream: "IO[str] | None") -> "queue.Queue[str]":
        assert stream
        lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=lambda: [lines.put(line.rstrip("\n")) for line in stream], daemon=True).start()
        return lines

    def row(self) -> list[str]:
        """The next line of standard output, in words."""
        return self.stdout.get(timeout=10).split()

    def rows(self, count: int) -> list[list[str]]:
        return [self.row() for _ in range(count)]

    def end(self) -> int:
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(10)

    def __enter__(self) -> "Watching":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait(10)


@pytest.fixture
def api() -> Iterator[FixtureApi]:
    with FixtureApi({NODES: node_list(node("n1"), node("n2"))}) as running:
        yield running


def polled(api: FixtureApi, times: int) -> None:
    """Wait until the API has been asked that many times more."""
    goal, until = len(api.requests) + times, time.monotonic() + 15
    while len(api.requests) < goal and time.monotonic() < until:
        time.sleep(0.02)
    assert len(api.requests) >= goal


def test_a_row_follows_for_each_node_that_changes_and_for_no_other(api: FixtureApi) -> None:
    with Watching("--addr", api.url) as watching:
        assert [row[:2] for row in watching.rows(3)] == [["NAME", "STATUS"], ["n1", "Ready"], ["n2", "Ready"]]
        api.answers[NODES] = node_list(node("n1"), node("n2", "False"), node("n3"))
        assert [row[:2] for row in watching.rows(2)] == [["n2", "NotReady"], ["n3", "Ready"]]
        api.answers[NODES] = node_list(node("n1", seen="2020-01-01T00:00:00Z"), node("n2", "False"), node("n3"))
        polled(api, 2)
        assert watching.stdout.empty()
        assert watching.end() == 130
        assert watching.stderr.empty()


def test_an_outage_is_one_line_and_nothing_is_repeated_after_it(api: FixtureApi) -> None:
    with Watching("--addr", api.url) as watching:
        assert watching.rows(3)[0] == HEADING
        api.stop()
        outage = watching.stderr.get(timeout=10)
        assert outage.startswith(f"k3net: no daemon answers at {api.url} (connection refused)")
        time.sleep(1.2)
        with FixtureApi(
            {NODES: (503, {"code": "UNAVAILABLE", "message": "starting", "details": ""})}, api.port
        ) as again:
            polled(again, 1)
            again.answers[NODES] = node_list()
            polled(again, 1)
            again.answers[NODES] = node_list(node("n1"), node("n2", "False"))
            assert watching.row()[:2] == ["n2", "NotReady"]
            assert watching.stdout.empty()
            assert watching.stderr.empty()
            assert watching.end() == 130


def test_the_first_look_fails_as_without_watch(api: FixtureApi) -> None:
    api.answers[NODES] = (404, NOT_FOUND)
    done = k3net("nodes", "--watch", "--addr", api.url)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "k3net: NOT_FOUND: no such thing\n")


def test_one_node_is_watched_by_its_name(api: FixtureApi) -> None:
    api.answers[f"{NODES}/n1"] = node("n1")
    with Watching("n1", "--no-headers", "--addr", api.url) as watching:
        assert watching.row()[:2] == ["n1", "Ready"]
        api.answers[f"{NODES}/n1"] = node("n1", "False")
        assert watching.row()[:2] == ["n1", "NotReady"]
        assert watching.end() == 130


def test_the_heading_comes_with_the_first_node(api: FixtureApi) -> None:
    api.answers[NODES] = node_list()
    with Watching("--addr", api.url) as watching:
        assert watching.stderr.get(timeout=10) == "No resources found"
        api.answers[NODES] = node_list(node("n1"))
        assert watching.rows(2)[0] == HEADING
        assert watching.end() == 130


def test_json_is_one_document_for_each_change(api: FixtureApi) -> None:
    api.answers[NODES] = node_list(node("n1"))
    with Watching("-o", "json", "--addr", api.url) as watching:
        assert document(watching) == node("n1")
        api.answers[NODES] = node_list(node("n1", "False"))
        assert document(watching) == node("n1", "False")
        assert watching.end() == 130


def document(watching: Watching) -> Any:
    lines = [watching.stdout.get(timeout=10)]
    while lines[-1] != "}":
        lines.append(watching.stdout.get(timeout=10))
    return json.loads("\n".join(lines))


def test_a_reader_that_goes_away_ends_the_watch_quietly(api: FixtureApi) -> None:
    with Watching("--addr", api.url) as watching:
        assert watching.rows(3)[0] == HEADING
    with subprocess.Popen(
        [*COMMAND, "nodes", "-w", "--addr", api.url],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
    ) as running:
        assert running.stdout
        assert running.stderr
        assert running.stdout.readline()
        running.stdout.close()
        for number in range(3):
            api.answers[NODES] = node_list(node("n1", "False", reason=f"R{number}"))
            time.sleep(1.0)
        assert (running.wait(10), running.stderr.read()) == (0, b"")
