"""The real kubectl beside k3net: the same cells come out as the same bytes, the same times as the same ages."""

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fixture_api import FixtureApi, node, node_list

from k3net.cli import node_rows
from k3net.cli.table import Table
from k3net.cli.text import human_duration
from k3net.model import rfc3339

pytestmark = [pytest.mark.integration, pytest.mark.requires("kubectl")]

VERBS = ["get", "list", "watch"]
API = {
    "/version": {"major": "1", "minor": "32", "gitVersion": "v1.32.4"},
    "/api": {"kind": "APIVersions", "versions": ["v1"]},
    "/apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": []},
    "/api/v1": {
        "kind": "APIResourceList",
        "groupVersion": "v1",
        "resources": [{"name": "nodes", "singularName": "node", "namespaced": False, "kind": "Node", "verbs": VERBS}],
    },
}
NODES = [
    node("n1"),
    node("worker-12", "False", spec={"unschedulable": True}, labels={"node-role.kubernetes.io/worker": ""}),
    node("x", node_info={"kubeletVersion": "v1.32.4", "osImage": "Debian GNU/Linux 12 (bookworm)"}),
]


@pytest.fixture
def api() -> Iterator[FixtureApi]:
    with FixtureApi(dict(API)) as running:
        yield running


def kubectl(api: FixtureApi, home: Path, *args: str) -> str:
    command = ["kubectl", "--server", api.url, "get", "nodes", *args]
    env = {"PATH": os.environ["PATH"], "HOME": str(home), "KUBECONFIG": str(home / "none")}
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=True).stdout


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("headers", [True, False])
def test_the_layout_is_kubectls(
    api: FixtureApi, tmp_path: Path, capsys: pytest.CaptureFixture[str], wide: bool, headers: bool
) -> None:
    columns = node_rows.WIDE_COLUMNS if wide else node_rows.COLUMNS
    rows = [(node_rows.wide_row if wide else node_rows.row)(each, time.time()) for each in NODES]
    definitions = [{"name": column.title, "type": "string", "priority": 0} for column in columns]
    table: dict[str, Any] = {"kind": "Table", "apiVersion": "meta.k8s.io/v1", "columnDefinitions": definitions}
    table["rows"] = [
        {"cells": row, "object": {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": {}}}
        for row in rows
    ]
    api.answers |= {"/api/v1/nodes": table}
    expected = kubectl(api, tmp_path, *(["-o", "wide"] if wide else []), *([] if headers else ["--no-headers"]))
    Table(columns, headers=headers).write(rows)
    assert capsys.readouterr().out == expected


def test_the_ages_are_kubectls(api: FixtureApi, tmp_path: Path) -> None:
    day = 86400
    ages = [5400, 6 * 3600 + 1800, 20 * 3600, 2.5 * day, 6 * day + 1800, 100.5 * day, 800.5 * day, 4000.5 * day]
    now = time.time()
    value = node_list(*(node(f"n{int(age)}", created=rfc3339.format_seconds(now - age)) for age in ages))
    api.answers |= {"/api/v1/nodes": value}
    shown = [line.split() for line in kubectl(api, tmp_path, "--no-headers").splitlines()]
    late = time.time() - now
    for (name, age), seconds in zip(shown, ages, strict=True):
        assert name == f"n{int(seconds)}"
        assert age in (human_duration(seconds), human_duration(seconds + late + 1))
