"""`k3net explain` as its user sees it."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from fixture_api import FixtureApi, k3net

HOSTILE = "evil\x1b[2J\n\u202egnp\x9b"
EXPLAINED: dict[str, Any] = {
    "name": "nuc-2",
    "observer": "nuc-1",
    "managed": True,
    "writer": "nuc-2",
    "left_alone": False,
    "members": ["nuc-1", "nuc-2"],
    "stored": True,
    "stored_ready": "True",
    "resourceVersion": "17-9f86d081884c7d65",
    "held": False,
    "fields": [
        {
            "field": "metadata.uid",
            "value": "node-nuc-2",
            "source": "store",
            "observer": "store",
            "age_seconds": None,
            "rule": "kept as stored",
        },
        {
            "field": "metadata.annotations[k3.network/pid]",
            "value": "",
            "source": "",
            "observer": "",
            "age_seconds": None,
            "rule": "no source tells",
        },
        {
            "field": "status.conditions[Ready]",
            "value": "True (PeerAlive: reached by nuc-3)",
            "source": "liveness",
            "observer": "nuc-3",
            "age_seconds": 4.25,
            "rule": "a claim holds and none that holds denies it: liveness",
        },
    ],
    "observations": [
        {
            "source": "mdns",
            "age_seconds": 130.5,
            "ttl_seconds": 90.0,
            "ready": False,
            "reason": "LANDiscovery",
            "message": "",
            "addresses": ["192.168.7.22", "fd00:7::22"],
            "port": 7946,
        }
    ],
    "transitions": [
        {"at": "2026-11-20T18:49:23Z", "status": "False", "reason": "PeerExpired", "message": "peer ttl exceeded"},
        {"at": "2026-11-20T18:52:41Z", "status": "True", "reason": "PeerAlive", "message": "reached by nuc-3"},
    ],
}
KEPT, NONE = "kept as stored", "no source tells"
LIVE = "a claim holds and none that holds denies it: liveness"
SHOWN = f"""\
Name:      nuc-2
Observer:  nuc-1 (the daemon that was asked)
Writer:    nuc-2
Members:   nuc-1, nuc-2
Stored:    with Ready True, version 17-9f86d081884c7d65

Fields:
  FIELD                                  VALUE                                SOURCE     OBSERVER   AGE   RULE
  metadata.uid                           node-nuc-2                           store      store      -     {KEPT}
  metadata.annotations[k3.network/pid]   <none>                               -          -          -     {NONE}
  status.conditions[Ready]               True (PeerAlive: reached by nuc-3)   liveness   nuc-3      4s    {LIVE}

Observations:
  SOURCE   AGE     TTL   READY   REASON         MESSAGE   ADDRESSES                  PORT
  mdns     2m10s   90s   False   LANDiscovery   <none>    192.168.7.22, fd00:7::22   7946

Transitions of Ready:
  TIME                   READY   REASON        MESSAGE
  2026-11-20T18:49:23Z   False   PeerExpired   peer ttl exceeded
  2026-11-20T18:52:41Z   True    PeerAlive     reached by nuc-3
"""
PATH = "/api/v1/nodes/nuc-2/explain"


@pytest.fixture
def api() -> Iterator[FixtureApi]:
    with FixtureApi({PATH: EXPLAINED}) as running:
        yield running


def explained(api: FixtureApi, *args: str, **changes: Any) -> str:
    api.answers[PATH] = {**EXPLAINED, **changes}
    done = k3net("explain", "nuc-2", *args, "--addr", api.url)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def head(text: str) -> dict[str, str]:
    lines = text.partition("\n\n")[0].splitlines()
    return {title: value.strip() for title, _, value in (line.partition(":") for line in lines)}


def test_a_node_is_described_with_source_observer_age_and_rule(api: FixtureApi) -> None:
    assert explained(api) == SHOWN


def test_json_and_yaml_are_what_the_api_gave(api: FixtureApi) -> None:
    assert json.loads(explained(api, "-o", "json")) == EXPLAINED
    assert yaml.safe_load(explained(api, "-o", "yaml")) == EXPLAINED


def test_a_controller_s_node_has_no_writer(api: FixtureApi) -> None:
    text = explained(api, managed=False, writer="", observations=[], transitions=[])
    assert head(text)["Writer"] == "none: without the label k3.network/managed=true it is another's, and never written"
    assert text.endswith("\n\nObservations: <none>\n\nTransitions of Ready: <none>\n")


def test_a_writer_that_is_silent_and_a_brake_that_holds_are_said(api: FixtureApi) -> None:
    told = head(explained(api, left_alone=True, held=True))
    assert told["Writer"] == "nuc-2, but it is silent: any member writes"
    assert told["Brake"] == "holds back that it goes NotReady; see k3net brake status"


def test_a_node_that_is_not_stored_yet_says_so(api: FixtureApi) -> None:
    assert head(explained(api, stored=False))["Stored"] == "not yet"


def test_a_name_may_be_given_as_nodes_prints_it(api: FixtureApi) -> None:
    assert k3net("explain", "node/nuc-2", "--addr", api.url).stdout == SHOWN


def test_an_unknown_node_fails_with_the_daemon_s_word(api: FixtureApi) -> None:
    done = k3net("explain", "nobody", "--addr", api.url)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "k3net: NOT_FOUND: no such thing\n")


@pytest.mark.parametrize("name", ["../peers", "a?b#c", "x/y", "a\r\nX: y", "\udcff"])
def test_any_name_asks_for_one_node_and_nothing_else(api: FixtureApi, name: str) -> None:
    assert k3net("explain", name, "--addr", api.url).returncode == 1
    [(path, headers)] = api.requests
    assert (path.count("/"), path.endswith("/explain"), "X" in headers) == (5, True, False)


@pytest.mark.parametrize("args", [(), ("",), ("node/",), ("a", "b"), ("a", "-o", "wide")])
def test_a_wrong_question_is_exit_code_2(args: tuple[str, ...]) -> None:
    done = k3net("explain", *args)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("answer", [{}, {"fields": 3}, {"kind": "NodeList", "items": []}])
def test_what_explains_no_node_is_one_line(api: FixtureApi, answer: object) -> None:
    api.answers[PATH] = answer
    done = k3net("explain", "nuc-2", "--addr", api.url)
    line = f"k3net: {api.url}{PATH} gave JSON that explains no Node; is it a k3net daemon? see --addr\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", line)


@pytest.mark.parametrize("form", ["table", "json", "yaml"])
def test_hostile_text_reaches_no_terminal(api: FixtureApi, form: str) -> None:
    hostile = dict.fromkeys(("name", "observer", "writer", "stored_ready", "resourceVersion"), HOSTILE)
    rows = [dict.fromkeys(EXPLAINED[part][0], HOSTILE) for part in ("fields", "observations", "transitions")]
    parts = {"fields": rows[:1], "observations": rows[1:2], "transitions": rows[2:], "members": [HOSTILE]}
    text = explained(api, "-o", form, **hostile, **parts)
    assert all(line.isprintable() for line in text.splitlines())
    assert "u202e" in text.lower()


@pytest.mark.parametrize(
    "junk", [None, 3, "x", [], [3, None], [{}], [{"field": 3, "age_seconds": 1e300, "port": True}]]
)
def test_parts_of_any_shape_are_shown_without_a_traceback(api: FixtureApi, junk: Any) -> None:
    parts = dict.fromkeys(("observations", "transitions", "members", "name", "writer", "held"), junk)
    fields = junk if isinstance(junk, list) else []
    api.answers[PATH] = {**parts, "fields": fields}
    done = k3net("explain", "nuc-2", "--addr", api.url)
    assert (done.returncode, done.stderr) == (0, "")
