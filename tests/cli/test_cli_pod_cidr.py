"""`k3net pod-cidr` and `k3net cni-config` as their user sees them."""

import json
import os
from pathlib import Path

import pytest
import yaml
from fixture_api import FixtureApi, node

from k3net.cli import main
from k3net.cli.cni_config import write
from k3net.errors import K3netError

TREES = Path(__file__).parents[1] / "data/nodes"


@pytest.fixture(autouse=True)
def _environment(monkeypatch):
    for name in ("NODE_POD_CIDR", "CONFIG_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NODE_NAME", "n1")


def run(capsys, *argv):
    code = main(argv)
    out, err = capsys.readouterr()
    return code, out, err


def tree(name):
    return ["--root", str(TREES / name)]


def test_text_for_people(capsys):
    assert run(capsys, "pod-cidr", *tree("k3s-agent"), "--node-name", "w-2") == (
        0,
        (
            "Pod CIDR:     10.42.2.0/24\n"
            "Node:         w-2\n"
            "Cluster CIDR: 10.42.0.0/16\n"
            "Service CIDR: 10.43.0.0/16\n"
            "Source:       file:/var/lib/rancher/k3s/agent/etc/node-w-2.yaml\n"
            "Exact:        yes\n"
        ),
        "",
    )


@pytest.mark.parametrize(("form", "parse"), [("json", json.loads), ("yaml", yaml.safe_load)])
def test_json_and_yaml_for_programs(capsys, form, parse):
    code, out, err = run(capsys, "pod-cidr", *tree("dual-stack"), "-o", form)
    assert (code, err) == (0, "")
    assert parse(out) == {
        "node": "n1",
        "podCIDR": "10.42.3.0/24",
        "podCIDRs": ["10.42.3.0/24", "2001:cafe:42:3::/64"],
        "clusterCIDRs": ["10.42.0.0/16", "2001:cafe:42::/56"],
        "serviceCIDRs": ["10.43.0.0/16", "2001:cafe:43::/112"],
        "source": "file:/var/lib/rancher/k3s/agent/etc/node-n1.yaml",
        "exact": True,
        "message": "Found Pod CIDR in PodCIDRs: 10.42.3.0/24, 2001:cafe:42:3::/64 "
        "(/var/lib/rancher/k3s/agent/etc/node-n1.yaml)",
    }


def test_a_hash_is_said_to_be_one(capsys):
    assert "Exact:        no, may be inaccurate" in run(capsys, "pod-cidr", *tree("kubeadm-worker"))[1]
    document = json.loads(run(capsys, "pod-cidr", *tree("kubeadm-worker"), "-o", "json")[1])
    assert (document["exact"], document["source"]) == (False, "default")
    assert "may be inaccurate" in document["message"]


def test_the_helm_values_and_the_variable_of_headcni_work_as_they_are(capsys, tmp_path, monkeypatch):
    values = tmp_path / "values.yaml"
    values.write_text(
        'config:\n  network:\n    podCIDR:\n      base: "10.42.0.0/16"\n    serviceCIDR: "10.43.0.0/16"\n'
    )
    monkeypatch.setenv("NODE_POD_CIDR", "10.42.3.0/24")
    out = run(capsys, "pod-cidr", *tree("kubeadm-worker"), "--config", str(values), "-o", "json")[1]
    document = json.loads(out)
    assert (document["podCIDR"], document["clusterCIDRs"], document["source"]) == (
        "10.42.3.0/24",
        ["10.42.0.0/16"],
        "environment",
    )
    values.write_text('config:\n  network:\n    podCIDR:\n      nodeLocal: "10.244.1.0/24"\n')
    document = json.loads(run(capsys, "pod-cidr", *tree("empty"), "--config", str(values), "-o", "json")[1])
    assert (document["podCIDR"], document["source"]) == ("10.244.1.0/24", "config")


def test_explain_prints_every_source_in_order(capsys):
    code, out, err = run(capsys, "pod-cidr", *tree("k3s-server"), "--node-name", "cp-1", "--explain")
    lines = out.splitlines()
    assert (code, err) == (0, "")
    assert [line.split()[-1] for line in lines if line.startswith("* ")] == [
        "(podCIDR)",
        "(cluster-cidr)",
        "(service-cidr)",
    ]
    assert lines[0] == "Node CIDR:"
    assert lines[1].split() == ["config", "network.podCIDR.nodeLocal", "nothing"]
    assert "Pod CIDR:     10.52.0.0/24" in lines
    document = json.loads(
        run(capsys, "pod-cidr", *tree("k3s-server"), "--node-name", "cp-1", "--explain", "-o", "json")[1]
    )
    assert len(document["explain"]) == 5 + 10 + 10
    assert document["explain"][3] == {
        "about": "node",
        "source": "file /var/lib/rancher/k3s/agent/etc/node-cp-1.yaml",
        "answer": "10.52.0.0/24 (podCIDR)",
        "chosen": True,
    }


def test_what_is_wrong_is_one_line_after_what_is_explained(capsys):
    wrong = "k3net: /var/lib/kubelet/config.yaml: line 3: found unexpected end of stream\n"
    assert run(capsys, "pod-cidr", *tree("broken-yaml")) == (2, "", wrong)
    code, out, err = run(capsys, "pod-cidr", *tree("broken-yaml"), "--explain")
    assert (code, err) == (2, wrong)
    assert "wrong: /var/lib/kubelet/config.yaml: line 3" in out
    code, out, err = run(capsys, "pod-cidr", *tree("broken-yaml"), "--explain", "-o", "json")
    assert (code, err) == (2, wrong)
    assert json.loads(out)["error"].startswith("/var/lib/kubelet/config.yaml")


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        (["--root", "/nowhere"], "--root /nowhere: not a directory"),
        (["--node-name", "../x"], "--node-name: node.name: expected a DNS-1123 name"),
        (["--config", "/nowhere"], "/nowhere: no such file or directory"),
    ],
)
def test_a_wrong_option_is_named(capsys, argv, line):
    code, out, err = run(capsys, "pod-cidr", *argv)
    assert (code, out) == (2, "")
    assert err.startswith(f"k3net: {line}")


def test_a_cni_configuration_is_a_bridge_with_addresses_of_the_pod_cidrs(capsys):
    code, out, err = run(capsys, "cni-config", *tree("dual-stack"))
    document = json.loads(out)
    assert (code, err) == (0, "")
    assert (document["cniVersion"], document["name"]) == ("0.4.0", "k3net")
    [bridge] = document["plugins"]
    assert (bridge["type"], bridge["ipam"]["type"]) == ("bridge", "host-local")
    assert bridge["ipam"]["ranges"] == [[{"subnet": "10.42.3.0/24"}], [{"subnet": "2001:cafe:42:3::/64"}]]
    assert bridge["ipam"]["routes"] == [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]


def test_it_is_written_once_and_what_was_there_is_kept(capsys, tmp_path):
    place = tmp_path / "10-k3net.conflist"
    argv = ["cni-config", *tree("k3s-agent"), "--node-name", "w-2", "--write", str(place)]
    assert run(capsys, *argv) == (0, f"{place}: written\n", "")
    first = place.stat()
    assert first.st_mode & 0o777 == 0o644
    assert run(capsys, *argv) == (0, f"{place}: unchanged\n", "")
    assert (place.stat().st_ino, place.stat().st_mtime_ns) == (first.st_ino, first.st_mtime_ns)
    old = b'{"cniVersion": "0.3.1", "name": "old", "plugins": []}'
    place.write_bytes(old)
    place.chmod(0o600)
    assert run(capsys, *argv)[1] == f"{place}: written; before it was what {place}.bak is\n"
    assert (tmp_path / "10-k3net.conflist.bak").read_bytes() == old
    assert place.stat().st_mode & 0o777 == 0o600
    older = b"{}"
    place.write_bytes(older)
    run(capsys, *argv)
    place.write_bytes(old)
    run(capsys, *argv)
    assert {path.name for path in tmp_path.iterdir()} == {place.name, f"{place.name}.bak", f"{place.name}.bak1"}
    assert (tmp_path / "10-k3net.conflist.bak1").read_bytes() == older


def test_a_link_is_followed_and_where_nothing_can_be_written_that_is_said(capsys, tmp_path):
    real, link = tmp_path / "real", tmp_path / "link"
    link.symlink_to(real)
    argv = ["cni-config", *tree("k3s-agent"), "--node-name", "w-2", "--write"]
    run(capsys, *argv, str(link))
    assert link.is_symlink()
    assert json.loads(real.read_bytes())["name"] == "k3net"
    missing = tmp_path / "none/10-k3net.conflist"
    assert run(capsys, *argv, str(missing)) == (1, "", f"k3net: {missing}: no such file or directory\n")


def test_what_is_no_configuration_is_neither_read_to_its_end_nor_replaced(tmp_path):
    pipe, large = tmp_path / "pipe", tmp_path / "large"
    os.mkfifo(pipe)
    large.touch()
    os.truncate(large, 2**40)
    for path, reason in (("/dev/zero", "not a file"), (pipe, "not a file"), (large, "longer than 1 MiB")):
        with pytest.raises(K3netError, match=reason):
            write(str(path), b"{}")
    (tmp_path / "10-k3net.conflist").write_text("before")
    os.mkfifo(tmp_path / "10-k3net.conflist.bak")
    assert "10-k3net.conflist.bak1" in write(str(tmp_path / "10-k3net.conflist"), b"{}")


def test_a_write_that_fails_leaves_all_as_it_was(tmp_path, monkeypatch):
    place = tmp_path / "f"
    place.write_bytes(b"old")

    def fails(_new, _old):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fails)
    with pytest.raises(OSError, match="No space"):
        write(str(place), b"new")
    assert place.read_bytes() == b"old"
    assert {path.name for path in tmp_path.iterdir()} == {"f", "f.bak"}


def test_a_wrong_source_writes_nothing(capsys, tmp_path):
    place = tmp_path / "f"
    assert run(capsys, "cni-config", *tree("host-bits"), "--write", str(place))[:2] == (2, "")
    assert not place.exists()


def test_a_hash_of_another_tree_is_written_with_a_warning(capsys):
    code, out, err = run(capsys, "cni-config", *tree("kubeadm-worker"))
    assert code == 0
    assert json.loads(out)["plugins"][0]["ipam"]["ranges"][0][0]["subnet"].endswith("/24")
    assert "may be inaccurate" in err
    assert "the daemon was not asked" in err


def test_of_a_hash_the_daemon_says_which_one_the_node_holds(capsys, tmp_path, monkeypatch):
    config = tmp_path / "k3net.yaml"
    config.write_text("network: {podCIDR: {base: 10.9.0.0/16}}\n")
    held = node("n1", spec={"podCIDR": "10.9.77.0/24", "podCIDRs": ["10.9.77.0/24"]})
    with FixtureApi({"/api/v1/nodes/n1": held}) as api:
        code, out, err = run(capsys, "cni-config", "--config", str(config), "--addr", api.url)
        assert (code, err) == (0, "")
        assert json.loads(out)["plugins"][0]["ipam"]["ranges"] == [[{"subnet": "10.9.77.0/24"}]]
        for bad in ({}, {"podCIDRs": "10.9.77.0/24"}, {"podCIDRs": [5]}, {"podCIDRs": ["10.9.77.1/24"]}, None):
            api.answers["/api/v1/nodes/n1"] = node("n1", spec=bad)
            code, out, err = run(capsys, "cni-config", "--config", str(config), "--addr", api.url)
            assert code == 0
            assert "10.9.77.0/24" not in out
            assert "the daemon does not say which one this node holds" in err
