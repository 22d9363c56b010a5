"""Machines of every kind, as their files are: tests/data/nodes."""

import os
import shutil
import tempfile
from ipaddress import ip_network
from pathlib import Path

import pytest

from k3net.config.strict_yaml import read_documents
from k3net.errors import ConfigError
from k3net.model.cidr import within
from k3net.pod_cidr import Asked, explain, find

TREES = Path(__file__).parents[1] / "data/nodes"
KUBELET = "/var/lib/kubelet/config.yaml"
K3S_NODE = "/var/lib/rancher/k3s/agent/etc/node-{}.yaml"


def ask(tree: str, node: str = "n1", environ=(), **settings: str) -> Asked:
    assert (TREES / tree).is_dir()
    return Asked(node, read_documents, dict(environ), root=str(TREES / tree), **settings)


def texts(nets) -> list[str]:
    return list(map(str, nets))


@pytest.mark.parametrize(
    ("tree", "node", "cidrs", "cluster", "service", "source", "words"),
    [
        ("k3s-server", "cp-1", "10.52.0.0/24", "10.52.0.0/16", "10.53.0.0/16", K3S_NODE, "Found Pod CIDR in k3s node"),
        ("k3s-agent", "w-2", "10.42.2.0/24", "10.42.0.0/16", "10.43.0.0/16", K3S_NODE, "Found Pod CIDR in k3s node"),
        (
            "seed-kubelet",
            "n1",
            "10.244.1.0/24",
            "10.244.0.0/16",
            "10.96.0.0/16",
            KUBELET,
            "Found Pod CIDR in kubelet c",
        ),
        ("kubelet-standalone", "n1", "10.241.1.0/24", "", "10.96.0.0/16", KUBELET, "Found Pod CIDR in kubelet config"),
        ("arguments", "n1", "10.244.9.0/24", "10.244.0.0/16", "10.96.0.0/16", KUBELET, "Found Pod CIDR in kubelet con"),
        (
            *("dual-stack", "n1", "10.42.3.0/24 2001:cafe:42:3::/64", "10.42.0.0/16 2001:cafe:42::/56"),
            *("10.43.0.0/16 2001:cafe:43::/112", K3S_NODE, "Found Pod CIDR in PodCIDRs"),
        ),
    ],
)
def test_what_a_file_says_of_the_node_is_exact(tree, node, cidrs, cluster, service, source, words):
    answer = find(ask(tree, node))
    assert (texts(answer.cidrs), texts(answer.cluster), texts(answer.service)) == (
        cidrs.split(),
        cluster.split(),
        service.split(),
    )
    assert (answer.exact, answer.source) == (True, f"file:{source.format(node)}")
    assert answer.message.startswith(words)


@pytest.mark.parametrize(
    ("tree", "cluster", "service", "source"),
    [
        ("k3s-server-default", "10.42.0.0/16", "10.43.0.0/16", "default"),
        ("k3s-agent-hash", "10.42.0.0/16", "10.43.0.0/16", "hash"),
        ("kubeadm-control-plane", "10.128.0.0/14", "10.100.0.0/16", "hash"),
        ("kubeadm-manifest", "10.244.0.0/16", "10.97.0.0/16", "hash"),
        ("kubeadm-worker", "10.244.0.0/16", "10.96.0.0/16", "default"),
        ("manifest-two-items", "10.248.0.0/16", "10.96.0.0/16", "hash"),
        ("manifest-shell", "10.249.0.0/16", "10.96.0.0/12", "hash"),
        ("kubelet-wide", "10.85.0.0/16", "10.96.0.0/16", "hash"),
        ("dual-stack-hash", "10.42.0.0/16 2001:cafe:42::/56", "10.43.0.0/16 2001:cafe:43::/112", "hash"),
        ("empty", "10.42.0.0/16", "10.43.0.0/16", "default"),
    ],
)
def test_where_no_file_says_it_the_name_is_hashed_into_the_cluster_cidr(tree, cluster, service, source):
    answer = find(ask(tree))
    assert (texts(answer.cluster), texts(answer.service), answer.source) == (cluster.split(), service.split(), source)
    assert not answer.exact
    assert "may be inaccurate" in answer.message
    assert len(answer.cidrs) == len(answer.cluster)
    for net, whole in zip(answer.cidrs, answer.cluster, strict=True):
        assert within(net, whole)
        assert net.prefixlen == (24 if net.version == 4 else 64)
        assert net.network_address != whole.network_address
    assert find(ask(tree)) == answer


@pytest.mark.parametrize(
    ("tree", "error"),
    [
        ("broken-yaml", f"{KUBELET}: line 3: found unexpected end of stream"),
        ("tabs", f"{KUBELET}: line 3: found character '\\t' that cannot start any token"),
        ("alias", f"{KUBELET}: line 1: anchors and aliases are not read; write the value out"),
        ("not-utf-8", f"{KUBELET}: line 1: not UTF-8"),
        ("no-text", f"{KUBELET}: podCIDR: expected a network such as 10.244.0.0/16"),
        (
            "host-bits",
            K3S_NODE.format("n1") + ": spec.podCIDR: host bits are set in '10.42.2.7/24'; the network is 10.42.2.0/24",
        ),
        (
            "host-bits-cluster",
            (
                "/etc/kubernetes/kubeadm-config.yaml: networking.podSubnet: host bits are set in '10.244.1.0/16'; "
                "the network is 10.244.0.0/16"
            ),
        ),
        (
            "too-small",
            f"{KUBELET}: podCIDR: 10.244.1.0/26 is smaller than a node's /24, which network.podCIDR.perNode says",
        ),
        (
            "outside",
            (
                f"{KUBELET}: podCIDR: 10.250.1.0/24 lies outside the cluster CIDR "
                "10.244.0.0/16 (file:/etc/kubernetes/kubeadm-config.yaml, networking.podSubnet)"
            ),
        ),
        ("in-service", f"{KUBELET}: podCIDR: 10.96.4.0/24 overlaps the service CIDR 10.96.0.0/16 (default)"),
        (
            "cluster-as-node",
            K3S_NODE.format("n1") + ": podCIDR: 10.42.0.0/16 is not one node's: it holds the whole cluster CIDR "
            "10.42.0.0/16 (default)",
        ),
        (
            "cluster-too-small",
            (
                "/etc/kubernetes/kubeadm-config.yaml: networking.podSubnet: 10.244.7.0/24 cannot be cut into subnets "
                "of /24 for several nodes, as network.podCIDR.perNode says"
            ),
        ),
    ],
)
def test_what_is_wrong_is_named_with_its_place_and_no_other_source_is_tried(tree, error):
    with pytest.raises(ConfigError) as caught:
        find(ask(tree))
    assert str(caught.value) == error
    said, answer = explain(ask(tree))
    assert str(answer) == error
    assert any(row.about == "service" and row.chosen for row in said)


@pytest.mark.parametrize("tree", sorted(path.name for path in TREES.iterdir()))
def test_settings_win_over_the_environment_and_both_over_every_file(tree):
    environ = {"NODE_POD_CIDR": "10.1.2.0/24"}
    base = {"base": "10.1.0.0/16", "service": "10.2.0.0/16"}
    of_config = find(ask(tree, environ=environ, node_local="10.1.3.0/24", **base))
    assert (texts(of_config.cidrs), of_config.source, of_config.exact) == (["10.1.3.0/24"], "config", True)
    assert of_config.message == "Using Pod CIDR from config: 10.1.3.0/24"
    of_environment = find(ask(tree, environ=environ, **base))
    assert (texts(of_environment.cidrs), of_environment.source) == (["10.1.2.0/24"], "environment")
    assert of_environment.message.startswith("Using Pod CIDR from environment variable: 10.1.2.0/24")


@pytest.mark.parametrize(
    ("settings", "environ", "error"),
    [
        ({}, {"NODE_POD_CIDR": "10.244.3.9/24"}, "environment: NODE_POD_CIDR: host bits are set in '10.244.3.9/24'"),
        (
            {},
            {"NODE_POD_CIDR": "\x1b[31m"},
            r"environment: NODE_POD_CIDR: expected a network such as 10.244.0.0/16, not",
        ),
        ({"node_local": "10.244.0.0/16"}, {}, "config: network.podCIDR.nodeLocal: 10.244.0.0/16 is not one node's"),
        ({"node_local": "10.0.0.0/8"}, {}, "config: network.podCIDR.nodeLocal: 10.0.0.0/8 is not one node's"),
        (
            {"node_local": "10.9.1.0/24", "base": "10.8.0.0/16"},
            {},
            (
                "config: network.podCIDR.nodeLocal: 10.9.1.0/24 lies outside the cluster CIDR 10.8.0.0/16 "
                "(config, network.podCIDR.base)"
            ),
        ),
        (
            {"node_local": "10.8.1.0/24", "base": "10.8.0.0/16", "service": "10.8.0.0/20"},
            {},
            (
                "config: network.podCIDR.nodeLocal: 10.8.1.0/24 overlaps the service CIDR 10.8.0.0/20 "
                "(config, network.serviceCIDR)"
            ),
        ),
        (
            {"node_local": "10.8.1.0/24,2001:db8:1::/64", "base": "10.8.0.0/16,2001:db8:2::/56"},
            {},
            "config: network.podCIDR.nodeLocal: 2001:db8:1::/64 lies outside the cluster CIDR",
        ),
    ],
)
def test_two_that_clash_are_both_named(settings, environ, error):
    with pytest.raises(ConfigError) as caught:
        find(ask("kubeadm-worker", environ=environ, **settings))
    assert str(caught.value).startswith(error)
    assert str(caught.value).isprintable()


def test_a_hash_keeps_clear_of_the_services_that_lie_in_the_cluster_cidr():
    for number in range(200):
        answer = find(ask("kubeadm-worker", f"n{number}", base="10.0.0.0/20", service="10.0.0.0/21"))
        assert within(answer.cidrs[0], ip_network("10.0.8.0/21"))


def test_every_source_is_explained_in_order_also_those_after_the_one_that_counts():
    said, answer = explain(ask("dual-stack", environ={"NODE_POD_CIDR": ""}))
    assert answer == find(ask("dual-stack"))
    node = [row for row in said if row.about == "node"]
    assert [row.source.split("/")[-1] for row in node] == [
        *("config network.podCIDR.nodeLocal", "environment NODE_POD_CIDR", "config.yaml", "node-n1.yaml"),
        "hash of the node's name",
    ]
    assert [row.answer for row in node] == [
        *("nothing", "nothing", "absent", "10.42.3.0/24, 2001:cafe:42:3::/64 (spec.podCIDRs)", "not needed"),
    ]
    assert [row.chosen for row in node] == [False, False, False, True, False]
    cluster = [row for row in said if row.about == "cluster"]
    assert len(cluster) == 10
    assert [row.source for row in cluster if row.chosen] == ["file /etc/rancher/k3s/config.yaml"]
    assert [row.source for row in said if row.about == "service" and row.chosen] == [
        "file /etc/rancher/k3s/config.yaml"
    ]


def test_an_explanation_of_what_is_wrong_tells_of_the_other_sources_too():
    said, answer = explain(ask("broken-yaml"))
    assert isinstance(answer, ConfigError)
    rows = {row.source: row for row in said if row.about == "node"}
    assert rows[f"file {KUBELET}"].answer.startswith(f"wrong: {KUBELET}: line 3")
    assert rows[f"file {KUBELET}"].chosen
    assert rows["file " + K3S_NODE.format("n1")].answer == "10.42.2.0/24 (podCIDR)"
    assert not rows["file " + K3S_NODE.format("n1")].chosen


def test_a_kubeconfig_is_passed_over():
    said, _ = explain(ask("kubeadm-control-plane"))
    [row] = [r for r in said if r.about == "cluster" and r.source == "file /etc/kubernetes/admin.conf"]
    assert row.answer == "a kubeconfig, which holds none"


@pytest.fixture
def nobodys_tree():
    """Some of the trees' files, in a place that user 65534 reaches; the test goes on as that user where it is root."""
    root = tempfile.mkdtemp()
    os.chmod(root, 0o755)
    for path in ("/var/lib/kubelet/config.yaml", "/etc/rancher/k3s/k3s.yaml"):
        target = Path(root + path)
        target.parent.mkdir(parents=True)
        target.write_text("podCIDR: 10.244.1.0/24\n")
        target.chmod(0)
    as_root = os.geteuid() == 0
    if as_root:
        os.seteuid(65534)
    yield root
    if as_root:
        os.seteuid(0)
    shutil.rmtree(root)


def test_a_file_that_may_not_be_read_is_no_file_that_is_absent(nobodys_tree):
    wanted = Asked("n1", read_documents, {}, root=nobodys_tree)
    with pytest.raises(ConfigError) as caught:
        find(wanted)
    assert str(caught.value) == f"{KUBELET}: permission denied; give k3net the right to read it"


def test_who_says_the_cidr_needs_no_right_to_the_files(nobodys_tree):
    answer = find(Asked("n1", read_documents, {}, root=nobodys_tree, node_local="10.42.1.0/24"))
    assert texts(answer.cidrs) == ["10.42.1.0/24"]


def test_what_is_no_file_is_named_and_not_waited_for(tmp_path):
    place = tmp_path / "var/lib/kubelet"
    place.mkdir(parents=True)
    os.mkfifo(place / "config.yaml")
    wanted = Asked("n1", read_documents, {}, root=str(tmp_path))
    with pytest.raises(ConfigError, match=f"{KUBELET}: not a file"):
        find(wanted)
    (place / "config.yaml").unlink()
    (place / "config.yaml").mkdir()
    with pytest.raises(ConfigError, match=f"{KUBELET}: not a file"):
        find(wanted)


def test_a_file_too_long_is_refused(tmp_path):
    place = tmp_path / "var/lib/kubelet/config.yaml"
    place.parent.mkdir(parents=True)
    place.write_bytes(b"#" * (1 << 21))
    with pytest.raises(ConfigError, match="longer than 1 MiB"):
        find(Asked("n1", read_documents, {}, root=str(tmp_path)))
