"""`k3net verdict` and `k3net report`, against a daemon's answers."""

import json
from typing import Any

import pytest
import yaml
from fixture_api import FixtureApi, k3net

from k3net.cli.report import head, row
from k3net.cli.verdict import concerns, percent, wide_row
from k3net.model.verdict import Picture, Verdict, verdicts

LINKS = Verdict("link", "host", "2 links are down", links=(("a", "b"), ("c", "d")), share=0.98765, tests=16)
DOWN = Verdict("down", "pod", "the pods of n1 are down\x1b[2J", nodes=("n1",), tests=22)
PORT = Verdict("port", "host", "TCP port 22 opens on no host", protocol="tcp", share=1.0, tests=132)


def answer(*found: Verdict) -> dict[str, Any]:
    return {"kind": "VerdictList", "items": [each.as_json() for each in found]}


def shown(value: Any, *args: str) -> tuple[int, str, str]:
    with FixtureApi({"/api/v1/verdicts": value, "/api/v1/report": value}) as api:
        done = k3net("--addr", api.url, *args)
    return done.returncode, done.stdout, done.stderr


def test_each_verdict_is_a_line_with_its_sentence() -> None:
    assert shown(answer(LINKS, DOWN, PORT), "verdict") == (
        0,
        """\
KIND   LAYER      FAILED   TESTS   VERDICT
link   host       98.8%    16      2 links are down
down   pod        100%     22      the pods of n1 are down\\x1b[2J
port   host/tcp   100%     132     TCP port 22 opens on no host
""",
        "",
    )


def test_wide_names_all_that_a_verdict_concerns() -> None:
    code, out, _ = shown(answer(LINKS, DOWN, PORT), "verdict", "-o", "wide", "--no-headers")
    assert code == 0
    assert [line.split()[4] for line in out.splitlines()] == ["a-b,c-d", "n1", "all"]
    parted = Verdict("partition", "host", "split", sets=(("a", "b"), ("c",)))
    assert concerns(json.loads(json.dumps(parted.as_json()))) == "a,b|c"
    assert concerns({"service": "web", "nodes": ["a"]}) == "a web"


def test_only_when_asked_the_exit_code_says_that_something_is_wrong() -> None:
    assert shown(answer(), "verdict", "--exit-code") == (0, "healthy: nothing is broken\n", "")
    assert shown(answer(LINKS), "verdict")[0] == 0
    assert shown(answer(LINKS), "verdict", "--exit-code", "-o", "json")[0] == 1
    assert shown(answer(*verdicts({"host": Picture((), (), ())})), "verdict", "--exit-code")[0] == 1


@pytest.mark.parametrize(("form", "read"), [("json", json.loads), ("yaml", yaml.safe_load)])
def test_json_and_yaml_are_the_whole_answer(form: str, read: Any) -> None:
    value = json.loads(json.dumps(answer(LINKS, DOWN)))
    assert read(shown(value, "verdict", "-o", form)[1]) == value
    assert read(shown(REPORT, "report", "-o", form)[1]) == REPORT


@pytest.mark.parametrize("odd", [{}, {"nodes": 1, "links": [1, ["a", 2]], "sets": {}, "share": "x", "tests": -1}])
def test_a_verdict_of_any_shape_can_be_shown(odd: Any) -> None:
    assert all(isinstance(each, str) and each for each in wide_row(odd))


@pytest.mark.parametrize(
    ("share", "text"),
    [(0, "0%"), (1e-9, "0.1%"), (0.955, "95.5%"), (0.99999, "99.9%"), (1, "100%"), (1.0, "100%"), ("x", "-")],
)
def test_nothing_looks_like_all_or_nothing_that_is_not(share: Any, text: str) -> None:
    assert percent(share) == text


SUMMARY = {
    "total_tests": 132,
    "successful_tests": 110,
    "failed_tests": 22,
    "success_rate": 83.33,
    "avg_test_duration": "0.52ms",
    "total_test_duration": "68.64ms",
}
NOTHING = {**dict.fromkeys(SUMMARY, 0), "avg_test_duration": "0ns", "total_test_duration": "0ns", "service_name": ""}
REPORT = {
    "timestamp": "2026-11-20T22:00:00Z",
    "active_client_count": 12,
    "host_ips": ["192.0.2.1"],
    "pod_ips": [],
    "host_test_summary": SUMMARY,
    "pod_test_summary": {**SUMMARY, "successful_tests": 132, "failed_tests": 0, "success_rate": 100.0},
    "service_test_summary": NOTHING,
    "state": "broken",
    "coverage": {"host": 1.0, "pod": 0.955},
    "verdicts": [json.loads(json.dumps(each.as_json())) for each in (DOWN, PORT)],
}


def test_the_report_is_a_table_of_layers_and_what_it_means() -> None:
    assert shown(REPORT, "report") == (
        0,
        """\
time:     2026-11-20T22:00:00Z
agents:   12
state:    broken
coverage: host 100%, pod 95.5%

LAYER     TESTS   PASSED   FAILED   SUCCESS   AVERAGE   TOTAL     SERVICE
host      132     110      22       83.3%     0.52ms    68.64ms   -
pod       132     132      0        100%      0.52ms    68.64ms   -
service   0       0        0        -         0ns       0ns       -

- the pods of n1 are down\\x1b[2J
- TCP port 22 opens on no host
""",
        "",
    )


def test_a_report_of_the_contract_alone_can_be_shown() -> None:
    told = {key: value for key, value in REPORT.items() if key not in ("state", "coverage", "verdicts")}
    code, out, _ = shown(told, "report")
    assert code == 0
    assert "state" not in out
    assert shown({"kind": "NodeList"}, "report")[2].endswith("is it a k3net daemon? see --addr\n")
    assert [name for name, _ in head({})] == ["time", "agents"]
    assert row("host", {"total_tests": "x"})[:2] == ("host", "<unknown>")
