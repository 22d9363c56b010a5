"""The section `network`, also as HeadCNI's chart spells it."""

from pathlib import Path

import pytest

from k3net.config import load
from k3net.config.strict_yaml import read_documents
from k3net.errors import ConfigError

CHART = """\
image: {repository: headcni}
config:
  network:
    podCIDR:
      base: "10.244.0.0/16"  # 集群的 Pod CIDR
      perNode: "/24"
    serviceCIDR: "10.96.0.0/16"
    mtu: 1280
"""


def loaded(tmp_path: Path, text: str):
    file = tmp_path / "values.yaml"
    file.write_text(text)
    return load(str(file), {}, {"node_name": "n1"})


def test_the_values_of_headcnis_chart_are_read_as_they_are(tmp_path: Path) -> None:
    found = loaded(tmp_path, CHART)
    network = found.settings.network
    assert (network.podCIDR.base, network.podCIDR.perNode, network.podCIDR.nodeLocal, network.serviceCIDR) == (
        "10.244.0.0/16",
        "/24",
        "",
        "10.96.0.0/16",
    )
    assert found.warnings == (f"{tmp_path}/values.yaml: not for k3net, ignored: image",)
    assert found.origins["network.podCIDR.base"] == f"{tmp_path}/values.yaml"


def test_the_charts_node_local_is_network_pod_cidr_node_local(tmp_path: Path) -> None:
    in_chart = loaded(tmp_path, 'config: {network: {podCIDR: {nodeLocal: "10.244.1.0/24"}}}\n').settings
    assert in_chart == loaded(tmp_path, "network: {podCIDR: {nodeLocal: 10.244.1.0/24}}\n").settings
    assert in_chart.network.podCIDR.nodeLocal == "10.244.1.0/24"


@pytest.mark.parametrize("text", ["config: {x: 1}\n", "config: 5\n", "config: {network: null}\n", "config: []\n"])
def test_another_programs_config_is_passed_over(tmp_path: Path, text: str) -> None:
    found = loaded(tmp_path, text)
    assert found.settings.network.podCIDR.base == ""
    assert "ignored: config" in found.warnings[0]


def test_two_families_are_kept_in_one_form(tmp_path: Path) -> None:
    found = loaded(tmp_path, "network: {podCIDR: {base: '10.42.0.0/16 ,2001:DB8:0:0::/56'}}\n")
    assert found.settings.network.podCIDR.base == "10.42.0.0/16,2001:db8::/56"


def test_several_documents_are_read_where_several_are_allowed() -> None:
    assert read_documents(b"a: 1\n---\n---\nb: 2\n", "f") == [{"a": 1}, None, {"b": 2}]
    with pytest.raises(ConfigError, match="f: line 3: too many documents"):
        read_documents(b"a: 1\n---\n---\nb: 2\n", "f", most=2)
