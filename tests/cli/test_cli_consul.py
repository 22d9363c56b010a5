"""`k3net consul status`, against a daemon's answers."""

from typing import Any

import pytest
from fixture_api import FixtureApi, k3net

from k3net.cli.consul import lines

STATUS = {
    "kind": "ConsulStatus",
    "enabled": True,
    "url": "http://127.0.0.1:8500",
    "registration": {
        "registered": True,
        "service": "k3-node",
        "serviceID": "k3-node-edge",
        "address": "192.0.2.5",
        "port": 7946,
        "error": "",
    },
    "checks": [
        {"id": "serfHealth", "name": "Serf Health Status", "status": "passing", "output": "Agent alive\nand more"},
        {"id": "service:k3-node-edge", "name": "k3-node check", "status": "critical", "output": "\x1b[31mrefused"},
    ],
    "index": 4711,
    "instances": 3,
    "age_seconds": 7.2,
    "failing_seconds": None,
    "error": "",
}


def shown(status: Any, *args: str) -> tuple[int, str, str]:
    with FixtureApi({"/api/v1/consul": status}) as api:
        done = k3net("--addr", api.url, "consul", "status", *args)
    return done.returncode, done.stdout, done.stderr


def test_it_says_as_what_the_checks_the_index_and_the_error() -> None:
    assert shown(STATUS) == (
        0,
        """\
consul:       http://127.0.0.1:8500
registration: registered as k3-node-edge of k3-node at 192.0.2.5 port 7946
last answer:  3 instances, 7s ago, index 4711
last error:   <none>

CHECK                STATUS     OUTPUT
Serf Health Status   passing    Agent alive
k3-node check        critical   \\x1b[31mrefused
""",
        "",
    )


def test_what_is_wrong_is_said_and_the_exit_code_is_one() -> None:
    registration = {**STATUS["registration"], "registered": False, "error": "the Consul ACL token lacks service:write"}
    wrong = {**STATUS, "registration": registration, "checks": [], "error": "refused", "failing_seconds": 180.0}
    code, out, _ = shown(wrong)
    assert code == 1
    assert "not registered as k3-node-edge" in out
    assert "lacks service:write" in out
    assert "last error:   refused (for 3m)" in out


def test_json_and_yaml_are_the_whole_status() -> None:
    import json

    import yaml

    code, out, _ = shown(STATUS, "-o", "json")
    assert (code, json.loads(out)) == (0, STATUS)
    code, out, _ = shown(STATUS, "-o", "yaml")
    assert (code, yaml.safe_load(out)) == (0, STATUS)


def test_where_consul_is_off_it_says_so() -> None:
    code, out, error = shown({"kind": "ConsulStatus", "enabled": False})
    assert (code, out) == (1, "")
    assert "Consul is off" in error


@pytest.mark.parametrize(
    "odd", [{}, {"registration": []}, {"registration": {"port": "x"}, "index": None, "instances": {}}]
)
def test_an_answer_of_any_shape_can_be_shown(odd: Any) -> None:
    assert [name for name, _ in lines(odd)] == ["consul", "registration", "last answer", "last error"]
