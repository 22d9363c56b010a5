"""The section `clusters`: off unless it stands there, and what may not stand there together."""

import re
from pathlib import Path

import pytest

from k3net.config import load
from k3net.config.settings import Settings, flat, leaves
from k3net.config.strict_yaml import read_yaml
from k3net.errors import ConfigError

SHIPPED = Path(__file__).parents[2] / "etc/k3net-clusters.yaml"
NODE = {"node_name": "lab7"}


def loaded(tmp_path: Path, text: str) -> Settings:
    file = tmp_path / "k3net.yaml"
    file.write_text(text)
    return load(str(file), {}, NODE).settings


def test_the_section_turns_clusters_on_and_no_file_does_not(tmp_path: Path) -> None:
    assert not load(None, {}, NODE).settings.clusters.enabled
    assert loaded(tmp_path, "clusters:\n").clusters.enabled
    assert not loaded(tmp_path, "clusters: {enabled: false}\n").clusters.enabled


def test_the_shipped_file_turns_it_on_and_has_each_key_with_its_default(tmp_path: Path) -> None:
    usual = flat(Settings())
    text = SHIPPED.read_text()
    switched_on = re.sub(r"^( *)#(\w+:)", r"\1\2", text, flags=re.MULTILINE)
    for variant in (text, switched_on):
        values = flat(loaded(tmp_path, variant))
        changed = {path: value for path, value in values.items() if value != usual[path]}
        assert changed == {"node.name": "lab7", "clusters.enabled": True}
    section = read_yaml(switched_on.encode(), "")["clusters"]
    keys = [f"{k}.{i}" for k, v in section.items() if isinstance(v, dict) for i in v]
    assert {f"clusters.{key}" for key in section if key != "instances"} | {f"clusters.{key}" for key in keys} == {
        leaf.path for leaf in leaves() if leaf.path.startswith("clusters.") and leaf.path != "clusters.enabled"
    }


@pytest.mark.parametrize(
    ("section", "error"),
    [
        ("{internal_listen: ':8081'}", "clusters.internal_token_files: what clusters.internal_listen serves"),
        ("{internal_ca: ca.pem}", "clusters.internal_cert: is missing beside clusters.internal_ca"),
        ("{internal_server_name: i}", "clusters.internal_cert: is missing beside clusters.internal_server_name"),
        ("{internal_cert: c.pem}", "clusters.internal_key: is missing beside clusters.internal_cert"),
        ("{internal_listen: ':8080', internal_token_files: [t]}", "clusters.internal_listen: :8080 is taken by api"),
        ("{internal_listen: 'nowhere'}", "clusters.internal_listen: expected an address"),
        ("{allow: [everything]}", r"clusters.allow\[0\]: expected one of exec, auth-provider, files"),
        ("{fan_out: 0}", "clusters.fan_out: expected a number from 1 to 1000"),
        ("{instances: {discovery: last}}", "clusters.instances.discovery: expected one of first, merge"),
    ],
)
def test_what_cannot_be_is_one_error_that_names_the_setting(tmp_path: Path, section: str, error: str) -> None:
    with pytest.raises(ConfigError, match=error):
        loaded(tmp_path, f"clusters: {section}\n")


def test_an_internal_listener_beside_the_public_one_is_fine(tmp_path: Path) -> None:
    settings = loaded(tmp_path, "clusters: {internal_listen: ':8081', internal_token_files: [t]}\n")
    assert settings.clusters.internal_listen.port == 8081
