"""`fetch` over TLS, against a real TLS server on 127.0.0.1."""

import tempfile
from pathlib import Path

from certificates import Authority
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.ssl import Certificate, PrivateCertificate
from twisted.trial.unittest import TestCase

from k3net.credentials import BadSecret, Token, Trust
from k3net.http import ConnectFailed, fetch


class Hello(Protocol):
    def dataReceived(self, data: bytes) -> None:
        self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")


class TlsTests(TestCase):
    def setUp(self):
        self.folder = Path(tempfile.mkdtemp())
        self.authority = Authority(self.folder)
        self.trust = Trust(str(self.authority.ca))

    def serving(self, *hosts: str, asks_for_certificate: bool = False) -> str:
        """A server with a certificate for these hosts; the URL by which it is asked."""
        certificate, key = self.authority.issue("server", *hosts)
        pair = PrivateCertificate.loadPEM(certificate.read_bytes() + key.read_bytes())
        authorities = [Certificate.loadPEM(self.authority.ca.read_bytes())] if asks_for_certificate else []
        port = reactor.listenSSL(0, Factory.forProtocol(Hello), pair.options(*authorities), interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        return f"https://127.0.0.1:{port.getHost().port}/"

    def fetch(self, url: str, **how: object) -> "Deferred[object]":
        return fetch(reactor, "GET", url, **{"tls": self.trust, **how})

    async def reason_of_failure(self, url: str, **how: object) -> str:
        return (await self.assertFailure(self.fetch(url, **how), ConnectFailed)).reason

    async def test_a_server_with_a_certificate_of_the_authority_is_asked(self):
        answer = await self.fetch(self.serving("127.0.0.1"))
        self.assertEqual((answer.status, answer.body, answer.local), (200, b"hi", "127.0.0.1"))

    async def test_a_certificate_for_another_host_is_not_believed(self):
        reason = await self.reason_of_failure(self.serving("consul.example.org", "127.0.0.2"))
        self.assertEqual(reason, "TLS: the certificate is another host's")

    async def test_a_certificate_of_another_authority_is_not_believed(self):
        stranger = Trust(str(Authority(self.folder, "stranger").ca))
        self.assertIn(
            "certificate verify failed", await self.reason_of_failure(self.serving("127.0.0.1"), tls=stranger)
        )

    async def test_without_an_authority_of_its_own_the_machine_s_are_asked_for(self):
        self.assertIn("TLS: ", await self.reason_of_failure(self.serving("127.0.0.1"), tls=Trust()))

    async def test_a_server_that_asks_for_a_certificate_is_given_it(self):
        url = self.serving("127.0.0.1", asks_for_certificate=True)
        self.assertIn("TLS: ", await self.reason_of_failure(url))
        certificate, key = self.authority.issue("client")
        answer = await self.fetch(url, tls=Trust(str(self.authority.ca), str(certificate), str(key)))
        self.assertEqual(answer.status, 200)

    async def test_https_is_not_spoken_where_nobody_asked_for_it(self):
        self.assertIn("not a URL for this", await self.reason_of_failure(self.serving("127.0.0.1"), tls=None))


class SecretTests(TestCase):
    def setUp(self):
        self.folder = Path(tempfile.mkdtemp())
        self.file = self.folder / "token"

    def test_a_token_file_that_changes_is_read_again(self):
        self.file.write_text("# of the agent\n\nfirst\n")
        token = Token(path=str(self.file))
        self.assertEqual((token(), token()), ("first", "first"))
        self.file.write_text("the-second\n")
        self.assertEqual(token(), "the-second")

    def test_a_comment_after_a_token_and_what_it_may_are_not_shown(self):
        self.file.write_text("first write  # the boss\nsecond\n")
        self.assertEqual(Token(path=str(self.file))(), "first")

    def test_a_token_that_is_given_comes_before_the_file_and_shows_in_no_repr(self):
        self.assertEqual(Token("given", "/nowhere")(), "given")
        self.assertNotIn("given", repr(Token("given")))
        self.assertEqual(Token()(), "")

    def test_what_is_wrong_with_a_file_is_said_without_its_contents(self):
        self.file.write_text("caf\xe9\n")
        said = str(self.assertRaises(BadSecret, Token(path=str(self.file))))
        self.assertNotIn("caf", said)
        self.assertIn(str(self.file), said)
        self.assertRaises(BadSecret, Token("two words"))
        self.assertIn("No such file", str(self.assertRaises(BadSecret, Token(path=str(self.folder / "none")))))
        self.file.write_text("# nothing\n")
        self.assertIn("no token in it", str(self.assertRaises(BadSecret, Token(path=str(self.file)))))

    def test_a_ca_file_without_a_certificate_is_told(self):
        self.file.write_text("hello")
        self.assertIn("no certificate", str(self.assertRaises(BadSecret, Trust(str(self.file)), "h")))
        self.file.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
        self.assertIn("not a PEM", str(self.assertRaises(BadSecret, Trust(str(self.file)), "h")))
