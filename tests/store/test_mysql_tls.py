"""The MySQL store over TLS."""

import pytest
from certificates import Authority
from contracts import node
from mariadb import MariaDb
from store.mysql_steps import kinds

from k3net.model.plan import Create
from k3net.store.interface import Done
from k3net.store.mysql import MysqlStore

pytestmark = pytest.mark.requires("mariadbd", "mariadb-install-db")


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def tls_server(authority):
    cert, key = authority.issue("server", "127.0.0.1")
    with MariaDb(f"--ssl-ca={authority.ca}", f"--ssl-cert={cert}", f"--ssl-key={key}") as mariadb:
        yield mariadb


def test_with_an_authority_the_line_is_encrypted_and_the_server_believed(tls_server, authority):
    tls_server.sql("alter user k3net require ssl")
    store = MysqlStore(tls_server.login(ca=str(authority.ca)))
    assert kinds(store.apply([Create(node("tls"))])) == [Done]
    store.close()
    tls_server.sql("alter user k3net require none")


def test_the_client_shows_its_certificate(tls_server, authority):
    cert, key = authority.issue("client")
    tls_server.sql("alter user k3net require x509")
    try:
        said = MysqlStore(tls_server.login(ca=str(authority.ca))).check()
        assert said.endswith("check storage.mysql.user and storage.mysql.password")
        assert MysqlStore(tls_server.login(ca=str(authority.ca), cert=str(cert), key=str(key))).check() == ""
    finally:
        tls_server.sql("alter user k3net require none")


def test_a_server_that_is_not_believed_gets_no_password(tls_server, mariadb, authority, tmp_path):
    stranger = Authority(tmp_path, "stranger")

    def said(of, **parts):
        return MysqlStore(of.login(**parts)).check().partition("/k3: ")[2]

    advice = "; check storage.mysql.ca, cert and key"
    assert said(tls_server, ca=str(stranger.ca)) == f"TLS: self-signed certificate in certificate chain{advice}"
    named = said(tls_server, host="localhost", ca=str(authority.ca))
    assert named.startswith("TLS: Hostname mismatch"), named
    assert "doesn't support" in said(mariadb, ca=str(authority.ca))
    assert said(tls_server, ca=str(tmp_path / "none.pem")).startswith(f"TLS: {tmp_path}/none.pem: No such file")
    mistaken = str(stranger.issue("mistaken")[1])
    assert said(tls_server, ca=mistaken).startswith(f"TLS: {mistaken} is not what it should be: ")
