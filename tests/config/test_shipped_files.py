"""etc/k3net.yaml and docs/configuration.md say what the settings are."""

import re
from pathlib import Path

from k3net.config import load
from k3net.config.dump import public_dump
from k3net.config.read import FLAGS, OFF
from k3net.config.settings import Settings, flat, leaves
from k3net.config.strict_yaml import read_yaml

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "etc/k3net.yaml"
WITH_CONSUL = ROOT / "etc/k3net-consul.yaml"
SERVER, AGENT = ROOT / "etc/k3net-server.yaml", ROOT / "etc/k3net-agent.yaml"
ENVIRON = {
    "NODE_IP": "192.0.2.1",
    "POD_IP": "192.0.2.2",
    "POD_NAME": "agent-1",
    "NAMESPACE": "lab",
    "SERVER_URL": "http://checker:8080/",
}
DOCUMENT = (ROOT / "docs/configuration.md").read_text()


def switched_on(file: Path = SHIPPED) -> str:
    """The shipped file with the `#` of every `#key:` removed."""
    return re.sub(r"^( *)#(\w+:)", r"\1\2", file.read_text(), flags=re.MULTILINE)


def of_lan(path: str) -> bool:
    """Whether the setting is in a section that is on without being asked for."""
    return path.partition(".")[0] not in {section.partition(".")[0] for section in OFF}


def test_the_shipped_file_is_the_same_as_no_file() -> None:
    assert load(str(SHIPPED), {}, {}) == load(None, {}, {})


def test_the_shipped_file_switched_on_says_the_defaults(tmp_path: Path) -> None:
    file = tmp_path / "k3net.yaml"
    file.write_text(switched_on())
    loaded = load(str(file), {}, {"node_name": "lab7"})
    usual = flat(Settings())
    assert {path for path, value in flat(loaded.settings).items() if value != usual[path]} == {"node.name"}
    assert set(loaded.origins) == {leaf.path for leaf in leaves() if of_lan(leaf.path)}
    assert loaded.warnings == ()


def test_every_setting_stands_in_the_shipped_file_in_order() -> None:
    def paths(section: dict, prefix: str = "") -> list[str]:
        return [
            path
            for name, value in section.items()
            for path in (paths(value, f"{prefix}{name}.") if isinstance(value, dict) else [prefix + name])
        ]

    assert paths(read_yaml(switched_on().encode(), "etc/k3net.yaml")) == [
        leaf.path for leaf in leaves() if of_lan(leaf.path)
    ]


def test_the_file_for_consul_turns_it_on_and_has_each_of_its_keys_with_the_default(tmp_path: Path) -> None:
    usual = flat(Settings())
    for text in (WITH_CONSUL.read_text(), switched_on(WITH_CONSUL)):
        file = tmp_path / "k3net.yaml"
        file.write_text(text)
        loaded = load(str(file), {}, {"node_name": "lab7"})
        changed = {path: value for path, value in flat(loaded.settings).items() if value != usual[path]}
        assert changed == {"node.name": "lab7", "consul.enabled": True, "mdns.enabled": False}
        assert loaded.warnings == ()
    keys = [leaf.path for leaf in leaves() if leaf.path.startswith("consul.")]
    section = read_yaml(switched_on(WITH_CONSUL).encode(), "etc/k3net-consul.yaml")["consul"]
    assert ["consul.enabled", *(f"consul.{key}" for key in section)] == keys


def test_the_file_of_a_checkers_server_opens_its_api_to_those_who_bear_a_token() -> None:
    usual = flat(Settings())
    loaded = load(str(SERVER), {}, {"node_name": "lab7"})
    changed = {path: value for path, value in flat(loaded.settings).items() if value != usual[path]}
    assert changed == {
        "node.name": "lab7",
        "node.register_self": False,
        "api.listen": ":8080",
        "api.token_files": ("/etc/k3net/token",),
        "storage.type": "memory",
        "mdns.enabled": False,
        "checker.server.enabled": True,
    }
    assert loaded.warnings == ()


def test_the_file_of_an_agent_needs_what_kubernetes_tells_it() -> None:
    usual = flat(Settings())
    loaded = load(str(AGENT), ENVIRON, {"node_name": "lab7"})
    changed = {path: value for path, value in flat(loaded.settings).items() if value != usual[path]}
    assert changed == {
        "node.name": "lab7",
        "node.register_self": False,
        "storage.type": "memory",
        "mdns.enabled": False,
        "checker.agent.enabled": True,
        "checker.agent.server_url": "http://checker:8080",
        "checker.agent.node_ip": "192.0.2.1",
        "checker.agent.pod_ip": "192.0.2.2",
        "checker.agent.pod_name": "agent-1",
        "checker.agent.namespace": "lab",
    }


def test_both_files_of_the_checker_have_each_of_its_keys_with_the_default(tmp_path: Path) -> None:
    for file, role in ((SERVER, "server"), (AGENT, "agent")):
        switched = tmp_path / file.name
        switched.write_text(switched_on(file))
        environ = ENVIRON if role == "agent" else {}
        assert flat(load(str(switched), environ, {"node_name": "a"}).settings) == flat(
            load(str(file), environ, {"node_name": "a"}).settings
        )
        section = read_yaml(switched.read_bytes(), file.name)["checker"][role]
        prefix = f"checker.{role}."
        assert [f"{prefix}{key}" for key in section] == [
            leaf.path for leaf in leaves() if leaf.path.startswith(prefix) and not leaf.path.endswith(".enabled")
        ]


def documented(path: str) -> "list[str] | None":
    row = re.search(rf"^\| `{re.escape(path)}` \| (.*?) \| .+ \|$", DOCUMENT, re.MULTILINE)
    return re.findall("`([^`]*)`", row[1]) if row else None


def test_every_setting_stands_in_the_document_with_its_default() -> None:
    for leaf in leaves():
        value = public_dump(Settings())
        for name in leaf.path.split("."):
            value = value[name]
        written = documented(leaf.path)
        assert written is not None, leaf.path
        if leaf.path == "storage.mysql.password":
            assert written == ["password"]
            continue
        [default] = written
        assert read_yaml(f"x: {default}".encode(), "docs") == {"x": _as_documented(leaf.path, value)}, leaf.path


def _as_documented(path: str, value: object) -> object:
    """The document writes 90s and 60s where Go prints 1m30s and 1m0s."""
    plain = {
        "liveness.peer_ttl": "90s",
        "reconcile.report_every": "60s",
        "checker.server.report_interval": "300s",
        "checker.agent.round": "60s",
    }
    return plain.get(path, value)


def test_every_flag_stands_in_the_document_beside_its_setting() -> None:
    for flag, path in FLAGS.items():
        assert re.search(
            rf"^\| `--{flag.replace('_', '-')} [A-Z]+` \| `{re.escape(path)}` \|", DOCUMENT, re.MULTILINE
        ), flag
