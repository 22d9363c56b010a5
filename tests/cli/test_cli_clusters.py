"""`k3net clusters` and `k3net instances` as their user sees them."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from fixture_api import FixtureApi, k3net

PATH = "/api/v1/clusters"
EDGE = {"kind": "Cluster", "name": "edge", "state": "active", "reason": "", "generation": 7, "version": "v1.31.2"}


@pytest.fixture
def api() -> Iterator[FixtureApi]:
    with FixtureApi({}) as running:
        yield running


def receipt(instance: str, generation: int, state: str) -> "dict[str, object]":
    return {"instance": instance, "generation": generation, "state": state, "tries": 1, "last_error": "", "at": ""}


def test_every_page_is_listed(api: FixtureApi) -> None:
    asked = iter([("edge", "edge"), ("site\x1b[2J", "")])

    def page(request) -> None:
        name, after = next(asked)
        api._answer(request, {"kind": "ClusterList", "items": [{**EDGE, "name": name}], "continue": after})

    api.answers[PATH] = page
    done = k3net("clusters", "list", "--addr", api.url)
    assert done.returncode == 0
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["NAME", "edge", r"site\x1b[2J"]
    assert [path for path, _ in api.requests] == [f"{PATH}?limit=500&continue={after}" for after in ("", "edge")]


def test_a_kubeconfig_is_sent_with_the_first_token_of_the_file_and_shown_by_nobody(
    api: FixtureApi, tmp_path: Path
) -> None:
    (tmp_path / "config").write_text("secret: 1\n")
    (tmp_path / "tokens").write_text("write-token write # the boss\n")
    api.answers[f"POST {PATH}"] = (201, EDGE)
    options = ("-f", str(tmp_path / "config"), "--token-file", str(tmp_path / "tokens"), "--addr", api.url)
    done = k3net("clusters", "create", "edge", *options)
    assert (done.returncode, done.stdout.splitlines()[1].split()[:4]) == (0, ["edge", "active", "v1.31.2", "7"])
    assert "secret" not in done.stdout
    [(_, headers, body)] = api.posts
    assert headers["Authorization"] == "Bearer write-token"
    assert json.loads(body) == {"name": "edge", "description": "", "kube_config": "secret: 1\n"}


def test_what_is_not_given_is_not_changed_and_a_name_is_one_segment_of_the_path(api: FixtureApi) -> None:
    path = f"{PATH}/a%2Fb%3Fc"
    api.answers |= {f"PUT {path}": EDGE, f"DELETE {path}": {"kind": "Cluster", "name": "a/b?c", "deleted": True}}
    assert k3net("clusters", "update", "a/b?c", "-d", "", "--addr", api.url).returncode == 0
    assert k3net("clusters", "delete", "a/b?c", "--addr", api.url).stdout == "cluster a/b?c deleted\n"
    assert [(path, body) for path, _, body in api.posts] == [(path, b'{"description": ""}'), (path, b"")]


@pytest.mark.parametrize(
    ("receipts", "code"),
    [
        ([receipt("a", 7, "delivered"), receipt("b", 7, "pending")], 0),
        ([receipt("a", 7, "delivered"), receipt("b", 7, "failed")], 1),
        ([receipt("a", 7, "delivered"), receipt("of-a-pod-long-gone", 3, "failed")], 0),
        ([], 0),
    ],
)
def test_a_delivery_that_failed_is_exit_code_1_while_it_is_of_the_newest_generation(
    api: FixtureApi, receipts: "list[dict[str, object]]", code: int
) -> None:
    api.answers[f"{PATH}/edge/delivery"] = {"kind": "DeliveryList", "name": "edge", "generation": 7, "items": receipts}
    done = k3net("clusters", "delivery", "edge", "--addr", api.url)
    assert done.returncode == code
    assert all(str(one["instance"]) in done.stdout for one in receipts)


def test_a_kubeconfig_that_no_key_opens_makes_a_rekeying_fail_and_is_named(api: FixtureApi) -> None:
    api.answers["POST /api/v1/rekey"] = {"kind": "Rekeyed", "rekeyed": 2, "failed": {"edge": "no key"}}
    done = k3net("clusters", "rekey", "--addr", api.url)
    assert (done.returncode, done.stdout, done.stderr) == (1, "2 kubeconfigs encrypted anew\n", "edge: no key\n")


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("update", "edge"), "--kubeconfig or --description"),
        (("create", "edge", "-f", "/nowhere"), "/nowhere: --kubeconfig: No such file"),
        (("create", "edge", "-f", "/dev/zero"), "/dev/zero: --kubeconfig: is longer than"),
        (("create", "edge"), "-f/--kubeconfig"),
        ((), "ACTION"),
    ],
)
def test_a_wrong_question_is_exit_code_2_and_changes_nothing(
    api: FixtureApi, args: "tuple[str, ...]", words: str
) -> None:
    done = k3net("--addr", api.url, "clusters", *args)
    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr
    assert api.posts == []


def test_instances_are_shown_and_none_is_said(api: FixtureApi) -> None:
    items = [{"address": "[fd77::3]:8081", "instance": ""}]
    api.answers["/api/v1/instances"] = {"kind": "InstanceList", "own": "a", "items": items}
    done = k3net("instances", "--addr", api.url)
    assert (done.returncode, done.stdout.splitlines()[1].split()) == (0, ["[fd77::3]:8081", "<unknown>"])
    api.answers["/api/v1/instances"] = {"kind": "InstanceList", "own": "a", "items": []}
    done = k3net("instances", "--addr", api.url)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "k3net: no other instance is found\n")
