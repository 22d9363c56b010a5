"""The variables of the Go checker: what they set, and when."""

from pathlib import Path

import pytest

from k3net.config import load
from k3net.config.settings import Settings, flat
from k3net.errors import ConfigError

SERVER = "checker: {server: }\n"
AGENT = "checker: {agent: {}}\n"
GO_SERVER = {"CACHE_KEY_SECOND": "20", "REPORT_INTERVAL": "600", "HTTP_PORT": "9090", "LOG_LEVEL": "WARN"}
GO_AGENT = {
    "NODE_IP": "192.0.2.1",
    "POD_IP": "2001:DB8::2",
    "POD_NAME": "agent-1",
    "NAMESPACE": "kube-system",
    "SERVER_URL": "http://server:8080",
    "HEARTBEAT_INTERVAL": "3",
    "TEST_PORT": "2222",
    "CLIENT_PORT": "6200",
    "CUSTOM_SERVICE_NAME": "web.lab.svc",
    "CUSTOM_SERVICE_PORT": "8443",
    "LOG_LEVEL": "debug",
}


def changed(tmp_path: Path, text: str, environ: "dict[str, str]") -> "dict[str, object]":
    file = tmp_path / "k3net.yaml"
    file.write_text(text)
    usual = flat(Settings())
    values = flat(load(str(file), environ, {"node_name": "n1"}).settings)
    return {path: value for path, value in values.items() if value != usual[path] and path != "node.name"}


def error(tmp_path: Path, text: str, environ: "dict[str, str]") -> str:
    with pytest.raises(ConfigError) as caught:
        changed(tmp_path, text, environ)
    return str(caught.value)


def test_a_server_follows_the_variables_of_the_go_server(tmp_path: Path) -> None:
    assert changed(tmp_path, SERVER, GO_SERVER) == {
        "checker.server.enabled": True,
        "checker.server.expiry": 20.0,
        "checker.server.report_interval": 600.0,
        "api.listen": "127.0.0.1:9090",
        "log.level": "warn",
    }


def test_an_agent_follows_the_variables_of_the_go_client(tmp_path: Path) -> None:
    assert changed(tmp_path, AGENT, GO_AGENT) == {
        "checker.agent.enabled": True,
        "checker.agent.node_ip": "192.0.2.1",
        "checker.agent.pod_ip": "2001:db8::2",
        "checker.agent.pod_name": "agent-1",
        "checker.agent.namespace": "kube-system",
        "checker.agent.server_url": "http://server:8080",
        "checker.agent.heartbeat": 3.0,
        "checker.agent.test_port": 2222,
        "checker.agent.client_port": 6200,
        "checker.agent.service_name": "web.lab.svc",
        "checker.agent.service_port": 8443,
        "log.level": "debug",
    }


def test_without_the_section_the_variables_mean_nothing(tmp_path: Path) -> None:
    assert changed(tmp_path, "checker: {auth: token}\n", {**GO_SERVER, **GO_AGENT, "HTTP_PORT": "x"}) == {}


def test_our_own_variables_win_over_those_of_the_go_programs_and_those_over_the_file(tmp_path: Path) -> None:
    text = "checker: {server: {expiry: 30s, report_interval: 1m}}\napi: {listen: '[::1]:8080'}\n"
    both = {**GO_SERVER, "K3NET_CHECKER_SERVER_EXPIRY": "40s"}
    found = changed(tmp_path, text, both)
    assert found["checker.server.expiry"] == 40
    assert found["checker.server.report_interval"] == 600
    assert found["api.listen"] == "[::1]:9090"


def test_our_own_variable_turns_a_role_on_too(tmp_path: Path) -> None:
    environ = {"K3NET_CHECKER_SERVER_ENABLED": "true", "CACHE_KEY_SECOND": "20"}
    assert changed(tmp_path, "", environ)["checker.server.expiry"] == 20


def test_all_that_an_agent_lacks_is_named_in_one_error(tmp_path: Path) -> None:
    assert error(tmp_path, AGENT, {"POD_IP": "192.0.2.2", "NAMESPACE": ""}).endswith(
        "k3net.yaml: checker.agent: missing:"
        " node_ip (NODE_IP), pod_name (POD_NAME), namespace (NAMESPACE), server_url (SERVER_URL)"
    )


@pytest.mark.parametrize(
    ("variable", "text", "says"),
    [
        ("HEARTBEAT_INTERVAL", "5s", "checker.agent.heartbeat: expected whole seconds from 1 to 86400, not '5s'"),
        ("HEARTBEAT_INTERVAL", "0", "checker.agent.heartbeat: expected whole seconds from 1 to 86400, not '0'"),
        ("TEST_PORT", "65536", "checker.agent.test_port: expected a port from 1 to 65535, not '65536'"),
        ("NODE_IP", "node-1", "checker.agent.node_ip: expected an IP address, not 'node-1'"),
        ("LOG_LEVEL", "loud", "log.level: expected one of debug, info, warn, error, not 'loud'"),
        ("SERVER_URL", "http://a/?b", "checker.agent.server_url: expected a URL without a query, such as http://"),
    ],
)
def test_an_error_names_the_variable(tmp_path: Path, variable: str, text: str, says: str) -> None:
    assert error(tmp_path, AGENT, {**GO_AGENT, variable: text}).startswith(f"{variable}: {says}")


def test_a_server_that_others_reach_names_the_agents_tokens_or_says_that_it_needs_none(tmp_path: Path) -> None:
    opened = "api: {listen: ':8080', auth: none}\n"
    assert "checker.server.token_files: agents report to :8080: name a token file" in error(
        tmp_path, opened + SERVER, {}
    )
    for more in ("{auth: none, server: }", "{server: {token_files: [/run/token]}}"):
        assert changed(tmp_path, f"{opened}checker: {more}\n", {})["checker.server.enabled"]


@pytest.mark.parametrize(("member", "said"), [("https://b:8080", "not https"), ("''", "not nothing")])
def test_members_are_asked_by_http(tmp_path: Path, member: str, said: str) -> None:
    text = f"checker: {{server: {{members: ['http://a:8080', {member}]}}}}\n"
    told = error(tmp_path, text, {})
    assert "checker.server.members[1]: servers speak http to each other" in told
    assert said in told


def test_a_heartbeat_that_is_not_below_the_expiry_is_warned_about(tmp_path: Path) -> None:
    file = tmp_path / "k3net.yaml"
    file.write_text("checker: {server: , agent: {heartbeat: 15s}}\n")
    environ = {**GO_AGENT, "HEARTBEAT_INTERVAL": ""}
    [warning] = load(str(file), environ, {"node_name": "n1"}).warnings
    assert warning == (
        "checker.agent.heartbeat (15s) is not below checker.server.expiry (15s):"
        " agents will seem gone between two heartbeats"
    )
