"""A kubeconfig is read, or refused with what is missing or not allowed; nothing of it is quoted."""

import json
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest
import yaml
from authority import Authority
from clusters.api_server import TOKEN, data, kubeconfig
from hypothesis import given
from hypothesis import strategies as st

from k3net.clusters.kubeconfig import LARGEST, BadKubeconfig, read_kubeconfig

SERVER = "https://10.0.0.1:6443"
EVERYTHING = ("exec", "auth-provider", "files", "proxy-url", "insecure-skip-tls-verify", "impersonation")


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("ca"))


def config(server: str = SERVER, **parts: Any) -> str:
    return yaml.safe_dump(kubeconfig(server, **parts))


def refusal(text: str, *allow: str) -> str:
    with pytest.raises(BadKubeconfig) as caught:
        read_kubeconfig(text, allow)
    return str(caught.value)


def test_a_token_and_an_authority_are_read_from_yaml_and_from_json(authority) -> None:
    whole = kubeconfig(SERVER + "/", cluster={"certificate-authority-data": data(authority.ca), "tls-server-name": "k"})
    for text in (yaml.safe_dump(whole), json.dumps(whole)):
        found = read_kubeconfig(text)
        assert (found.server, found.server_name, found.token) == (SERVER, "k", TOKEN)
        assert found.ca.startswith(b"-----BEGIN CERTIFICATE-----")
        assert TOKEN not in repr(found)


def test_a_client_certificate_and_a_password_are_read(authority) -> None:
    certificate, key = authority.issue("client")
    user = {"client-certificate-data": data(certificate), "client-key-data": data(key)}
    found = read_kubeconfig(config(user=user))
    assert b"PRIVATE KEY" in found.key
    assert "PRIVATE" not in repr(found)
    found = read_kubeconfig(config(user={"username": "u", "password": "p"}))
    assert (found.username, found.password) == ("u", "p")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "expected a mapping with clusters, contexts and users"),
        ("just text", "expected a mapping"),
        ("a: [1", "not YAML"),
        ("a: &x 1\nb: *x", "not YAML"),
        ("\ud800", "not UTF-8"),
        ("x" * (LARGEST + 1), "longer than 128 KiB"),
        (config(kind="Pod"), "kind is not Config"),
        (config(apiVersion="v2"), "apiVersion is not v1"),
        (config(clusters=None), "no clusters"),
        (config(users=None), "no users"),
        (config(contexts=None), "no contexts"),
        (config(clusters={}), "clusters: expected a list"),
        (config(users=[1]), "users[0]: expected a mapping"),
        (config(users=[{"user": {}}]), "users[0]: no name"),
        (config(**{"current-context": None}), "the kubeconfig: no current-context"),
        (config(**{"current-context": "y"}), "no context 'y', which current-context names"),
        (config(contexts=[{"name": "x", "context": {"user": "u"}}]), "context 'x': no cluster"),
        (config(contexts=[{"name": "x", "context": {"cluster": "k"}}]), "context 'x': no user"),
        (config(contexts=[{"name": "x", "context": {"cluster": "o", "user": "u"}}]), "no cluster 'o', which context"),
        (config(contexts=[{"name": "x", "context": {"cluster": "k", "user": "o"}}]), "no user 'o', which context 'x'"),
        (json.dumps(kubeconfig(SERVER, users=[{"name": "u"}] * 2)), "users[1]: a second user 'u'"),
        (config(user={}), "user 'u': no credentials"),
        (config(user={"token": 123}), "user 'u': token: expected a text; put it in quotes"),
        (config(user={"token": "two words"}), "user 'u': token is not printable ASCII"),
        (config(user={"token": "a\nX-Evil: 1"}), "user 'u': token is not printable ASCII"),
        (config(user={"username": "a:b", "password": "c"}), "username has a colon"),
        (config(user={"client-certificate-data": "eA=="}), "no client-key-data"),
        (config(user={"client-key-data": "eA=="}), "no client-certificate-data"),
        (config(user={"client-key-data": "!", "client-certificate-data": "eA=="}), "is not base64"),
        (
            config(user={"client-key-data": "eA==", "client-certificate-data": "eA=="}),
            "user 'u': client-certificate-data with client-key-data: no certificate",
        ),
        (
            config(cluster={"certificate-authority-data": "eA=="}),
            "cluster 'k': certificate-authority-data: no certificate in",
        ),
        (config("http://10.0.0.1"), "server is not https://"),
        (config("https://u:p@10.0.0.1"), "server has a user name"),
        (config("https://10.0.0.1?x=1"), "server has a user name, a query"),
        (config("https://"), "server is not a URL"),
        (config("https://h:99999"), "server is not a URL"),
        (config("https://h\r\nX: 1/"), "server is not a URL"),
        (config(cluster={"server": None}), "cluster 'k': no server"),
    ],
)
def test_what_is_none_is_refused_with_what_is_missing(text: str, words: str) -> None:
    assert words in refusal(text)


REFUSED = [
    ({}, {"exec": {"command": "aws"}}, "exec", "exec"),
    ({}, {"auth-provider": {"name": "gcp", "config": {"id-token": TOKEN}}}, "auth-provider", "auth-provider"),
    ({"certificate-authority": "/etc/ca"}, None, "certificate-authority", "files"),
    ({}, {"client-certificate": "/c", "client-key": "/k"}, "client-certificate", "files"),
    ({}, {"tokenFile": "/etc/shadow"}, "tokenFile", "files"),
    ({"proxy-url": "http://proxy"}, None, "proxy-url", "proxy-url"),
    ({"insecure-skip-tls-verify": True}, None, "insecure-skip-tls-verify", "insecure-skip-tls-verify"),
    ({}, {"token": TOKEN, "as": "root"}, "as", "impersonation"),
    ({}, {"token": TOKEN, "as-groups": ["a", "b"]}, "as-groups", "impersonation"),
    ({}, {"token": TOKEN, "as-user-extra": {"Ä/b": ["1"]}}, "as-user-extra", "impersonation"),
]


@pytest.mark.parametrize(("cluster", "user", "field", "name"), REFUSED)
def test_what_would_act_on_this_machine_is_refused_unless_it_is_allowed(cluster, user, field, name) -> None:
    text = config(cluster=cluster, user=user)
    said = refusal(text, *(other for other in EVERYTHING if other != name))
    assert f": {field} is refused here" in said
    assert f"add {name} to clusters.allow" in said
    assert read_kubeconfig(text, [name]).server == SERVER


def test_an_entry_that_no_context_names_is_refused_too() -> None:
    whole = kubeconfig(SERVER)
    whole["users"].append({"name": "other", "user": {"exec": {"command": "rm"}}})
    assert "user 'other': exec is refused" in refusal(yaml.safe_dump(whole))


def test_what_is_allowed_is_read() -> None:
    extra = {"token": TOKEN, "as": "root", "as-groups": ["a", "b"], "as-user-extra": {"x/y": ["1"]}}
    found = read_kubeconfig(config(user=extra), EVERYTHING)
    assert found.impersonate == (
        ("Impersonate-User", "root"),
        ("Impersonate-Group", "a"),
        ("Impersonate-Group", "b"),
        ("Impersonate-Extra-x%2Fy", "1"),
    )
    assert "a value of Impersonate-User" in refusal(config(user={"token": "t", "as": "a\r\nb: c"}), *EVERYTHING)
    assert not read_kubeconfig(config(cluster={"insecure-skip-tls-verify": True}), EVERYTHING).verify
    assert read_kubeconfig(config(cluster={"proxy-url": "http://p"}), EVERYTHING).foreign == ("proxy-url",)
    assert dict(read_kubeconfig(config(user={"tokenFile": "/t"}), EVERYTHING).files) == {"tokenFile": "/t"}


def test_a_key_that_is_not_the_certificate_s_or_has_a_passphrase_is_refused(authority, tmp_path) -> None:
    from cryptography.hazmat.primitives import serialization

    (certificate, key), (_, another) = authority.issue("one"), authority.issue("two")
    user = {"client-certificate-data": data(certificate), "client-key-data": data(another)}
    assert "not that of its certificate" in refusal(config(user=user))
    private = serialization.load_pem_private_key(Path(key).read_bytes(), None)
    locked = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"x")
    )
    user["client-key-data"] = b64encode(locked).decode()
    assert "protected by a passphrase" in refusal(config(user=user))


FIELDS = ["clusters", "users", "contexts", "current-context", "name", "user", "cluster", "context", "as"]
NEARLY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=5),
    max_leaves=20,
)


@given(st.text(max_size=200) | NEARLY.map(json.dumps))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        read_kubeconfig(text, EVERYTHING)
    except BadKubeconfig as error:
        assert "\n" not in str(error)  # noqa: PT017
        assert len(str(error)) < 500  # noqa: PT017


@given(st.sampled_from(range(40)), st.text("abc:{}[]'\"&*!|>%@`#,\n -", min_size=1, max_size=3))
def test_no_error_quotes_a_secret(at: int, noise: str) -> None:
    secret = "canary-5f2d8a"
    lines = config(user={"token": secret, "password": secret, "username": "u"}).splitlines(keepends=True)
    lines.insert(at % len(lines), noise)
    try:
        assert secret not in repr(read_kubeconfig("".join(lines)))
    except BadKubeconfig as error:
        assert secret not in str(error)  # noqa: PT017
