"""Settings as people and programs read them."""

import json
from pathlib import Path

import msgspec

from k3net.config import Settings, load
from k3net.config.dump import public_dump, schema, yaml_text
from k3net.config.settings import flat, leaves

ENVIRON = {
    "K3NET_STORAGE_ETCD_PASSWORD": "hunter2",
    "K3NET_LIVENESS_PEER_TTL": "1m1.5s",
    "K3NET_LOG_PATH": "no",
    "K3NET_STORAGE_MYSQL_USER": 'a"b: #c',
    "K3NET_MDNS_INTERFACES": "eth0,1e3",
    "K3NET_NODE_NAME": "007",
}


def test_durations_are_go_texts_and_secrets_are_stars() -> None:
    dumped = public_dump(load(None, ENVIRON, {}).settings)
    assert dumped["liveness"] == {
        "peer_ttl": "1m1.5s",
        "probe_interval": "15s",
        "probe_timeout": "700ms",
        "max_in_flight": 256,
    }
    assert (dumped["storage"]["etcd"]["password"], dumped["storage"]["mysql"]["password"]) == ("***", "***")
    assert "hunter2" not in json.dumps(dumped)


def test_no_repr_shows_a_secret() -> None:
    assert "hunter2" not in repr(load(None, ENVIRON, {}))


def test_a_dump_in_yaml_reads_back_as_the_same_settings(tmp_path: Path) -> None:
    loaded = load(None, {**ENVIRON, "K3NET_STORAGE_ETCD_PASSWORD": "***", "K3NET_STORAGE_MYSQL_PASSWORD": "***"}, {})
    dumped = tmp_path / "dumped.yaml"
    dumped.write_text(yaml_text(loaded.settings, loaded.origins))
    assert load(str(dumped), {}, {}).settings == loaded.settings


def test_what_is_no_default_says_where_it_comes_from(tmp_path: Path) -> None:
    file = tmp_path / "k3net.yaml"
    file.write_text("debug: true\n")
    loaded = load(str(file), {"NODE_NAME": "n1"}, {"peer_ttl": "6s"})
    commented = [line.strip() for line in yaml_text(loaded.settings, loaded.origins).splitlines() if "#" in line]
    assert commented == [
        f"debug: true  # {file}",
        "name: n1  # NODE_NAME",
        "peer_ttl: 6s  # --peer-ttl",
        "probe_interval: 2s  # liveness.peer_ttl",
        "level: debug  # debug",
    ]


def test_the_schema_has_every_setting_with_its_default_and_no_secret() -> None:
    described = json.loads(json.dumps(schema()))
    usual = flat(Settings())
    for leaf in leaves():
        at = described
        for name in leaf.path.split("."):
            at = at["properties"][name]
        if leaf.path.endswith(("password", "consul.token")):
            assert at == {"type": "string", "writeOnly": True}
        elif isinstance(usual[leaf.path], (bool, int)) or leaf.kind is str:
            assert at["default"] == usual[leaf.path]
        else:
            assert "default" in at
    assert described["properties"]["liveness"]["properties"]["peer_ttl"]["default"] == "1m30s"
    assert described["properties"]["liveness"]["properties"]["peer_ttl"]["type"] == "string"
    assert described["properties"]["liveness"]["additionalProperties"] is False
    assert described["additionalProperties"] is True


def test_the_tree_itself_refuses_unknown_fields_and_changes() -> None:
    for section in [Settings, *(field.type for field in msgspec.structs.fields(Settings))]:
        if isinstance(section, type) and issubclass(section, msgspec.Struct):
            assert section.__struct_config__.frozen
            assert section.__struct_config__.forbid_unknown_fields
