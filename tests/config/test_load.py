"""From file, environment and flags to settings."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k3net.config import Loaded, Settings, load
from k3net.config.load import config_path
from k3net.config.read import FLAGS, from_document
from k3net.config.settings import flat, leaves
from k3net.errors import ConfigError

Write = Callable[[str], str]
KEYS = sorted({name for leaf in leaves() for name in leaf.path.split(".")})


@pytest.fixture
def written(tmp_path: Path) -> Write:
    def write(text: str) -> str:
        path = tmp_path / "k3net.yaml"
        path.write_text(text)
        return str(path)

    return write


def loaded(path: "str | None" = None, environ: "dict[str, str] | None" = None, **flags: "str | None") -> Loaded:
    return load(path, environ or {}, flags, hostname=lambda: "Lab7.Example.Org")


def error_of(*args: Any, **flags: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        loaded(*args, **flags)
    return str(caught.value)


def test_without_anything_the_defaults_hold() -> None:
    settings, warnings, _ = loaded()
    usual = flat(Settings())
    assert {path: value for path, value in flat(settings).items() if value != usual[path]} == {
        "node.name": "lab7.example.org"
    }
    assert warnings == ()


@pytest.mark.parametrize("text", ["", "node:\nliveness: ~\nstorage: {sqlite: }\n", "liveness: {peer_ttl: }\nlisten:\n"])
def test_what_is_empty_is_the_default(written: Write, text: str) -> None:
    assert loaded(written(text)) == loaded()._replace(origins=loaded(written(text)).origins)


def test_a_missing_file_is_an_error() -> None:
    assert error_of("/nowhere/k3net.yaml") == "/nowhere/k3net.yaml: no such file or directory"


def test_a_directory_is_no_file(tmp_path: Path) -> None:
    assert error_of(str(tmp_path)) == f"{tmp_path}: is a directory"


def test_a_path_that_is_none_is_an_error_of_one_line() -> None:
    assert error_of("a\0b\n") == r"'a\x00b\n': not a path"


def test_a_file_of_the_go_programs_is_read_with_one_warning_for_their_sections(written: Write) -> None:
    path = written(
        "debug: true\nrole: agent\nweb: {port: 80}\njwt: {secret: x}\noutput: []\ncities: [a]\nlog: {level: warn}\n"
    )
    settings, warnings, _ = loaded(path)
    assert warnings == (f"{path}: not for k3net, ignored: role, web, jwt, output, cities",)
    assert (settings.debug, settings.log.level) == (True, "warn")


def test_debug_means_the_log_level_debug(written: Write) -> None:
    assert loaded(written("debug: true\n")).settings.log.level == "debug"
    assert loaded(written("debug: true\n"), {"K3NET_LOG_LEVEL": "error"}).settings.log.level == "error"


def test_texts_in_quotes_survive_as_they_are(written: Write) -> None:
    for name in ("no", "1e3", "007", "true", "null"):
        assert loaded(written(f"node: {{name: '{name}'}}\n")).settings.node.name == name
    assert loaded(written("node: {name: no}\n")).settings.node.name == "no"


def test_go_reads_on_and_off_as_truth_values_and_so_do_we(written: Write) -> None:
    assert loaded(written("reconcile: {brake: off}\nmetrics: {enabled: no}\n")).settings.reconcile.brake is False
    assert loaded(written("reconcile: {brake: on}\n")).settings.reconcile.brake is True


def test_a_flag_wins_over_the_environment_over_the_file_over_the_default(written: Write) -> None:
    path = written("liveness: {peer_ttl: 61s}\n")
    environ = {"K3NET_LIVENESS_PEER_TTL": "62s"}
    assert loaded().settings.liveness.peer_ttl == 90
    assert loaded(path).settings.liveness.peer_ttl == 61
    assert loaded(path, environ).settings.liveness.peer_ttl == 62
    assert loaded(path, environ, peer_ttl="1m3s").settings.liveness.peer_ttl == 63


def test_the_node_name_is_the_flag_then_k3net_node_name_then_node_name_then_the_file_then_the_hostname(
    written: Write,
) -> None:
    path = written("node: {name: from-file}\n")
    both = {"K3NET_NODE_NAME": "ours", "NODE_NAME": "theirs"}
    assert loaded(path, both, node_name="flag").settings.node.name == "flag"
    assert loaded(path, both).settings.node.name == "ours"
    assert loaded(path, {"NODE_NAME": "theirs", "K3NET_NODE_NAME": ""}).settings.node.name == "theirs"
    assert loaded(path).settings.node.name == "from-file"
    assert loaded(written("node: {name: ''}\n")).settings.node.name == "lab7.example.org"


def test_a_wrong_value_in_the_file_is_an_error_also_where_a_flag_wins(written: Write) -> None:
    assert "liveness.peer_ttl: expected a duration" in error_of(written("liveness: {peer_ttl: 61}\n"), peer_ttl="62s")


@pytest.mark.parametrize(
    ("variable", "text", "error"),
    [
        (
            "K3NET_LIVENESS_PEER_TTL",
            "60",
            "liveness.peer_ttl: expected a duration such as 90s, 1m30s or 250ms, not '60'",
        ),
        ("K3NET_LIVENESS_MAX_IN_FLIGHT", "0", "liveness.max_in_flight: expected a number from 1 to 10000, not 0"),
        ("K3NET_LIVENESS_MAX_IN_FLIGHT", "1.5", "liveness.max_in_flight: expected a whole number, not '1.5'"),
        ("K3NET_DEBUG", "maybe", "debug: expected true or false, not 'maybe'"),
        ("K3NET_LOG_FORMAT", "xml", "log.format: expected one of text, json, not 'xml'"),
        ("NODE_NAME", "A", "node.name: expected a DNS-1123 name (small letters, digits, '-' and '.'), not 'A'"),
        ("K3NET_MDNS_INTERFACES", "lo,a/b", "mdns.interfaces[1]: expected an interface name such as eth0, not 'a/b'"),
        (
            "K3NET_API_LISTEN",
            "[::]:8080",
            (
                "api.token_files: api.listen is [::]:8080, which other machines reach:"
                " name a token file, or say api.auth: none"
            ),
        ),
        (
            "K3NET_LIVENESS_PROBE_TIMEOUT",
            "15s",
            "liveness.probe_timeout: 15s is not shorter than liveness.probe_interval (15s)",
        ),
    ],
)
def test_an_error_names_its_variable(variable: str, text: str, error: str) -> None:
    assert error_of(None, {variable: text}) == f"{variable}: {error}"


@pytest.mark.parametrize(
    ("flag", "text", "error"),
    [
        ("peer_ttl", "90", "--peer-ttl: liveness.peer_ttl: expected a duration such as 90s, 1m30s or 250ms, not '90'"),
        ("register_self", "", "--register-self: node.register_self: expected true or false, not ''"),
        (
            "listen",
            "7946",
            "--listen: listen: expected an address such as :7946, 127.0.0.1:8080 or [::1]:0, not '7946'",
        ),
        ("service", "k3", "--service: mdns.service: expected a DNS-SD service type such as _k3._tcp, not 'k3'"),
        ("domain", "..", "--domain: mdns.domain: expected a domain such as local., not '..'"),
        (
            "node_name",
            "A",
            "--node-name: node.name: expected a DNS-1123 name (small letters, digits, '-' and '.'), not 'A'",
        ),
    ],
)
def test_an_error_names_its_flag(flag: str, text: str, error: str) -> None:
    assert error_of(**{flag: text}) == error


def test_every_flag_sets_its_setting() -> None:
    given_flags = {
        "listen": "127.0.0.1:0",
        "service": "_x._udp.",
        "domain": "lan",
        "node_name": "n1",
        "peer_ttl": "1m30s",
        "register_self": "F",
        "consul_addr": "https://[::1]:8501",
        "consul_token": "abc",
        "service_name": "edge",
        "service_id": "edge-7",
        "service_port": "7000",
        "watch_interval": "16s",
        "health_check_interval": "11s",
        "health_check_timeout": "4s",
        "deregister_after": "2m",
    }
    values = flat(loaded(**given_flags).settings)
    assert {flag: values[path] for flag, path in FLAGS.items()} == {
        "listen": "127.0.0.1:0",
        "service": "_x._udp",
        "domain": "lan.",
        "node_name": "n1",
        "peer_ttl": 90.0,
        "register_self": False,
        "consul_addr": "https://[::1]:8501",
        "consul_token": "abc",
        "service_name": "edge",
        "service_id": "edge-7",
        "service_port": 7000,
        "watch_interval": 16.0,
        "health_check_interval": 11.0,
        "health_check_timeout": 4.0,
        "deregister_after": 120.0,
    }


def test_every_setting_has_a_variable() -> None:
    texts = {
        "debug": ("true", True),
        "node.name": ("n1", "n1"),
        "listen": ("[::1]:1", "[::1]:1"),
        "api.listen": ("[::1]:2", "[::1]:2"),
        "api.auth": ("none", "none"),
        "api.token_files": ("/a, /b", ("/a", "/b")),
        "storage.type": ("memory", "memory"),
        "storage.etcd.endpoints": ("https://a:1,https://b:2", ("https://a:1", "https://b:2")),
        "mdns.interfaces": ("lo", ("lo",)),
        "mdns.service": ("_x._tcp", "_x._tcp"),
        "mdns.domain": ("x", "x."),
        "mdns.allowed_cidrs": ("10.0.0.0/8,fd00::/8", ("10.0.0.0/8", "fd00::/8")),
        "consul.tags": ("a,b", ("a", "b")),
        "consul.only_tags": ("c", ("c",)),
        "consul.enabled": ("1", True),
        "consul.addr": ("https://consul", "https://consul"),
        "network.podCIDR.base": ("10.42.0.0/16, 2001:DB8::/56", "10.42.0.0/16,2001:db8::/56"),
        "network.podCIDR.perNode": ("/26,/64", "/26,/64"),
        "network.podCIDR.nodeLocal": ("10.42.1.0/26", "10.42.1.0/26"),
        "network.serviceCIDR": ("10.43.0.0/16", "10.43.0.0/16"),
        "blackbox.allowed_targets": ("10.1.2.3, *.DB.example.", ("10.1.2.3/32", "*.db.example")),
        "clusters.enabled": ("1", True),
        "clusters.internal_listen": (":8081", ":8081"),
        "clusters.token_files": ("/t", ("/t",)),
        "clusters.internal_token_files": ("/c", ("/c",)),
        "clusters.key_files": ("/k", ("/k",)),
        "clusters.internal_ca": ("/ca", "/ca"),
        "clusters.internal_cert": ("/cert", "/cert"),
        "clusters.internal_key": ("/key", "/key"),
        "clusters.internal_server_name": ("instances.example", "instances.example"),
        "clusters.allow": ("exec,files", ("exec", "files")),
        "clusters.instances.discovery": ("merge", "merge"),
        "clusters.instances.domain": ("x", "x."),
        "checker.auth": ("none", "none"),
        "checker.server.enabled": ("1", True),
        "checker.server.token_files": ("/c,/d", ("/c", "/d")),
        "checker.server.members": ("http://a:1,http://b/", ("http://a:1", "http://b")),
        "checker.agent.enabled": ("1", True),
        "checker.agent.server_url": ("http://a:1/", "http://a:1"),
        "checker.server.expiry": ("9s", 9.0),
        "checker.agent.node_ip": ("2001:db8:0::1", "2001:db8::1"),
        "checker.agent.pod_ip": ("192.0.2.2", "192.0.2.2"),
        "liveness.peer_ttl": ("40s", 40.0),
        "liveness.probe_interval": ("4s", 4.0),
        "liveness.probe_timeout": ("400ms", 0.4),
        "log.level": ("trace", "trace"),
        "log.format": ("json", "json"),
    }
    by_type = {bool: ("0", False), int: ("7", 7), float: ("8s", 8.0), str: ("text", "text"), tuple: ("", ())}
    wanted, environ = {}, {}
    for leaf in leaves():
        plain = next(text for kind, text in by_type.items() if isinstance(leaf.default, kind))
        environ["K3NET_" + leaf.path.upper().replace(".", "_")], wanted[leaf.path] = texts.get(leaf.path, plain)
    settings, warnings, origins = loaded(None, environ)
    assert flat(settings) == wanted
    assert warnings == ()
    assert sorted(origins.values()) == sorted(environ)


def test_an_empty_variable_counts_as_unset() -> None:
    assert loaded(None, {"K3NET_LIVENESS_PEER_TTL": "", "NODE_NAME": ""}) == loaded()


def test_unknown_variables_are_one_warning_and_those_kubernetes_sets_are_none() -> None:
    injected = {
        "K3NET_SERVICE_HOST": "10.0.0.1",
        "K3NET_SERVICE_PORT": "7946",
        "K3NET_SERVICE_PORT_HTTP": "7946",
        "K3NET_PORT": "tcp://10.0.0.1:7946",
        "K3NET_PORT_7946_TCP": "tcp://10.0.0.1:7946",
        "K3NET_PORT_7946_TCP_PROTO": "tcp",
        "K3NET_PORT_7946_TCP_PORT": "7946",
        "K3NET_PORT_7946_TCP_ADDR": "10.0.0.1",
        "K3NET_API_SERVICE_HOST": "10.0.0.2",
        "K3NET_API_PORT_8080_TCP_ADDR": "10.0.0.2",
        "K3NET_ADDR": "127.0.0.1:8080",
        "K3NET_TOKEN_FILE": "/run/token",
        "HOME": "/root",
    }
    assert loaded(None, injected).warnings == ()
    assert loaded(None, {**injected, "K3NET_LIVENESS_PEERTTL": "1s", "K3NET_X": ""}).warnings == (
        "environment: not a setting, ignored: K3NET_LIVENESS_PEERTTL (did you mean K3NET_LIVENESS_PEER_TTL?), K3NET_X",
    )


def test_a_hostname_that_is_no_node_name_says_what_to_do() -> None:
    with pytest.raises(ConfigError) as caught:
        load(None, {}, {}, hostname=lambda: "my_host")
    assert str(caught.value) == (
        "hostname: node.name: expected a DNS-1123 name (small letters, digits, '-' and '.'), not 'my_host';"
        " set node.name, NODE_NAME or --node-name"
    )
    assert load(None, {}, {"node_name": "ok"}, hostname=lambda: "my_host").settings.node.name == "ok"


def test_a_machine_without_a_hostname_says_what_to_do() -> None:
    with pytest.raises(ConfigError, match="this machine has none; set node"):
        load(None, {}, {}, hostname=lambda: "")


def test_a_short_peer_ttl_is_probed_more_often(written: Write) -> None:
    liveness = loaded(peer_ttl="3s").settings.liveness
    assert (liveness.probe_interval, liveness.probe_timeout) == (1.0, 0.5)
    assert loaded(peer_ttl="45s").settings.liveness.probe_interval == 15
    kept = loaded(written("liveness: {probe_interval: 2s}\n"), peer_ttl="3s").settings.liveness
    assert (kept.probe_interval, kept.probe_timeout) == (2.0, 0.7)
    assert error_of(None, {"K3NET_LIVENESS_PROBE_INTERVAL": "15s"}, peer_ttl="10s") == (
        "K3NET_LIVENESS_PROBE_INTERVAL: liveness.probe_interval: 15s is not shorter than liveness.peer_ttl (10s),"
        " so peers would lapse between two probes"
    )


@pytest.mark.parametrize(
    ("listen", "api"),
    [(":8080", "127.0.0.1:8080"), ("127.0.0.1:1", "127.0.0.1:1"), ("127.0.0.1:1", "localhost:1")],
)
def test_one_address_cannot_be_listened_on_twice(listen: str, api: str) -> None:
    assert f"api.listen: {api} is taken by listen ({listen})" in error_of(
        None, {"K3NET_API_LISTEN": api}, listen=listen
    )


@pytest.mark.parametrize(("listen", "api"), [(":0", "127.0.0.1:0"), ("10.0.0.1:80", "127.0.0.1:80")])
def test_free_ports_and_other_hosts_do_not_clash(listen: str, api: str) -> None:
    assert loaded(None, {"K3NET_API_LISTEN": api}, listen=listen).settings.listen == listen


@pytest.mark.parametrize("more", ["token_files: [/run/token]", "auth: none"])
def test_off_loopback_the_api_has_tokens_or_says_that_it_needs_none(written: Write, more: str) -> None:
    assert loaded(written(f"api: {{listen: ':8080', {more}}}\n")).settings.api.listen.port == 8080


def test_a_name_too_long_for_mdns_is_fine_without_it(written: Write) -> None:
    name = f"{'a' * 40}.{'b' * 40}"
    assert loaded(written("mdns: {enabled: false}\n"), node_name=name).settings.node.name == name


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        loaded().settings.liveness.peer_ttl = 1.0  # type: ignore[misc]


def test_the_configuration_path_is_the_one_named_else_config_path() -> None:
    assert config_path("a", {"CONFIG_PATH": "b"}) == "a"
    assert config_path(None, {"CONFIG_PATH": "b"}) == "b"
    assert config_path(None, {"CONFIG_PATH": ""}) is None


def test_the_configuration_needs_no_twisted() -> None:
    program = "import sys, k3net.config, k3net.config.dump; sys.exit('twisted' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], timeout=60).returncode == 0


RAW = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.sampled_from(["90s", ":1", "on"])
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from([*KEYS, "x"]), inner, max_size=4)
    ),
    max_leaves=12,
)


VARIABLES = ["K3NET_" + leaf.path.upper().replace(".", "_") for leaf in leaves()]


def refusal_of(load_it: Callable[[], Any]) -> "str | None":
    try:
        load_it()
    except ConfigError as error:
        return str(error)
    return None


@given(st.dictionaries(st.sampled_from([*KEYS, "role"]) | st.text(max_size=8), RAW, max_size=5) | RAW)
def test_any_document_gives_values_or_a_config_error_of_one_line(document: Any) -> None:
    error = refusal_of(lambda: from_document(document, "f.yaml"))
    assert error is None or error.isprintable()
    if error is None:
        values, warnings = from_document(document, "f.yaml")
        assert set(values) <= {leaf.path for leaf in leaves()}
        assert all(line.isprintable() for line in warnings)


@given(st.dictionaries(st.sampled_from(VARIABLES), st.text(), max_size=4))
def test_any_environment_gives_settings_or_a_config_error_of_one_line(environ: "dict[str, str]") -> None:
    error = refusal_of(lambda: loaded(None, environ))
    assert error is None or error.isprintable()


def test_consul_is_off_until_its_section_or_a_flag_asks_for_it(written: Write) -> None:
    assert not loaded().settings.consul.enabled
    assert not loaded(
        None, {"CONSUL_HTTP_ADDR": "unix:///run/consul", "CONSUL_HTTP_TOKEN": "t"}
    ).settings.consul.enabled
    for text in ("consul:\n", "consul: {}\n", "consul: {addr: 'c:1'}\n"):
        assert loaded(written(text)).settings.consul.enabled
    assert not loaded(written("consul: {enabled: false, addr: 'c:1'}\n")).settings.consul.enabled
    settings, _, origins = loaded(service_name="edge")
    assert (settings.consul.enabled, origins["consul.enabled"]) == (True, "--service-name")
    assert loaded(written("consul: {enabled: false}\n"), consul_addr="c").settings.consul.enabled


def test_consul_s_own_variables_stand_between_ours_and_the_file(written: Write) -> None:
    path = written("consul: {addr: 'file:1', token: file}\n")
    theirs = {"CONSUL_HTTP_ADDR": "http://theirs:2", "CONSUL_HTTP_TOKEN": "theirs"}
    consul = loaded(path, theirs).settings.consul
    assert (consul.addr.url, consul.token) == ("http://theirs:2", "theirs")
    assert loaded(path, {**theirs, "K3NET_CONSUL_ADDR": "ours:3"}).settings.consul.addr.url == "http://ours:3"
    assert loaded(path, theirs, consul_addr="flag:4").settings.consul.addr.url == "http://flag:4"
    assert "CONSUL_HTTP_ADDR: consul.addr" in error_of(path, {"CONSUL_HTTP_ADDR": "unix:///run/consul"})


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("localhost:8500", "http://localhost:8500"),
        ("consul", "http://consul:8500"),
        ("http://10.0.0.1:1/", "http://10.0.0.1:1"),
        ("https://consul.example.org:8501", "https://consul.example.org:8501"),
        ("[::1]:8500", "http://[::1]:8500"),
        ("https://[fd00::7]", "https://[fd00::7]:8500"),
    ],
)
def test_consul_s_address_has_many_forms(text: str, url: str) -> None:
    assert loaded(consul_addr=text).settings.consul.addr.url == url


@pytest.mark.parametrize(
    "text", ["", ":8500", "::1", "[1.2.3.4]:1", "h:0", "h:70000", "ftp://h:1", "http://u@h:1", "h:1/x"]
)
def test_what_is_no_address_of_consul_is_an_error(text: str) -> None:
    assert error_of(consul_addr=text).startswith("--consul-addr: consul.addr: expected an address such as")


def test_the_health_server_and_the_registered_port_follow_one_another(written: Write) -> None:
    assert loaded(service_port="7000").settings.listen == ":7000"
    assert loaded(listen=":7001", consul_addr="c").settings.consul.service_port == 7001
    both = loaded(listen=":7001", service_port="7000").settings
    assert (both.listen, both.consul.service_port) == (":7001", 7000)
    assert loaded(listen=":0", consul_addr="c").settings.consul.service_port == 0


def test_tls_settings_that_cannot_hold_are_errors(written: Write) -> None:
    assert "consul.key: is missing beside consul.cert" in error_of(
        written("consul: {addr: 'https://c', cert: c.pem}\n")
    )
    assert "consul.ca is for TLS" in error_of(written("consul: {ca: ca.pem}\n"))


def test_no_mdns_turns_mdns_off(written: Write) -> None:
    settings, _, origins = loaded(written("mdns: {enabled: true}\n"), no_mdns=1)
    assert (settings.mdns.enabled, origins["mdns.enabled"]) == (False, "--no-mdns")
    assert loaded(no_mdns=0).settings.mdns.enabled
