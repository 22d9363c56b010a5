"""`k3net config` as its user sees it."""

import argparse
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from k3net.cli import config


def run(*argv: str, environ: "dict[str, str] | None" = None) -> tuple[int, str, str]:
    parser = argparse.ArgumentParser()
    config.add_parser(parser.add_subparsers())
    out, err = io.StringIO(), io.StringIO()
    code = config.run(parser.parse_args(["config", *argv]), environ or {"NODE_NAME": "n1"}, out, err)
    return code, out.getvalue(), err.getvalue()


@pytest.fixture
def wrong(tmp_path: Path) -> str:
    path = tmp_path / "wrong.yaml"
    path.write_text("liveness: {peer_tll: 60s}\n")
    return str(path)


@pytest.mark.parametrize("action", ["check", "dump"])
def test_a_wrong_file_is_one_line_on_stderr_and_exit_code_2(wrong: str, action: str) -> None:
    line = f"k3net: {wrong}: liveness.peer_tll: unknown key; did you mean peer_ttl?\n"
    assert run(action, wrong) == (2, "", line)


def test_a_file_that_can_be_read_is_ok_and_its_warnings_are_on_stderr(tmp_path: Path) -> None:
    path = tmp_path / "k3net.yaml"
    path.write_text("role: x\n")
    assert run("check", str(path)) == (0, f"{path}: ok\n", f"k3net: {path}: not for k3net, ignored: role\n")


def test_without_a_file_config_path_is_read(wrong: str) -> None:
    assert run("check", environ={"CONFIG_PATH": wrong})[0] == 2
    assert run("check") == (0, "no file: ok\n", "")


def test_dump_shows_what_is_in_force() -> None:
    environ = {"K3NET_STORAGE_ETCD_PASSWORD": "hunter2", "K3NET_LISTEN": ":1", "NODE_NAME": "n1"}
    code, as_yaml, _ = run("dump", environ=environ)
    _, as_json, _ = run("dump", "-o", "json", environ=environ)
    assert code == 0
    assert yaml.safe_load(as_yaml) == json.loads(as_json)
    assert json.loads(as_json)["listen"] == ":1"
    assert "hunter2" not in as_yaml + as_json
    assert 'listen: ":1"  # K3NET_LISTEN\n' in as_yaml


def test_schema_is_json() -> None:
    code, out, _ = run("schema")
    assert (code, json.loads(out)["title"]) == (0, "k3net configuration")


def test_the_command_needs_no_twisted() -> None:
    program = "import sys, k3net.cli.config; sys.exit('twisted' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], timeout=60).returncode == 0
