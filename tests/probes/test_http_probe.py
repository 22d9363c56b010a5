"""The HTTP probe against real servers: statuses, phases, certificates, and what is not HTTP."""

import tempfile
import time
from pathlib import Path

from certificates import Authority
from probes.servers import full, listening, refusing, web
from twisted.internet import reactor
from twisted.internet.ssl import PrivateCertificate
from twisted.trial.unittest import TestCase

from k3net.credentials import Trust
from k3net.probes import http


def saying(status, *headers, body=b""):
    return "\r\n".join([f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]).encode() + body


class HttpProbeTests(TestCase):
    async def get(self, port, path="/", host="127.0.0.1", timeout=2.0, scheme="http", **how):
        return await http.probe(reactor, f"{scheme}://{host}:{port}{path}", timeout, **how)

    async def test_the_status_decides(self):
        for status, ok in (
            ("200 OK", True),
            ("204 No Content", True),
            ("301 Moved", False),
            ("404 Not Found", False),
            ("503 X", False),
        ):
            found = await self.get(web(self, saying(status, "Location: /elsewhere")))
            code = int(status[:3])
            self.assertEqual((found.ok, found.facts["status"]), (ok, code))
            self.assertEqual(found.reason, "" if ok else f"status: {code}")

    async def test_phases_are_told_in_their_order_and_make_up_the_whole(self):
        found = await self.get(web(self), host="localhost")
        self.assertEqual(list(found.phases), ["resolve", "connect", "processing", "transfer"])
        self.assertAlmostEqual(sum(found.phases.values()), found.rtt, places=3)
        self.assertEqual((found.facts["bytes"], found.facts["version"], found.facts["secure"]), (2, "1.1", False))

    async def test_the_phase_in_which_it_failed_is_not_told(self):
        self.assertEqual(list((await self.get(refusing(self))).phases), ["resolve"])
        self.assertEqual(list((await self.get(full(self), timeout=0.1)).phases), ["resolve"])
        silent = await self.get(listening(self), timeout=0.1)
        self.assertEqual((list(silent.phases), silent.reason), (["resolve", "connect"], "not HTTP: silent"))

    async def test_what_is_no_whole_http_is_told_apart(self):
        for words, reason in (
            (b"SSH-2.0-OpenSSH_9.2\r\n", "not HTTP: another protocol"),
            (saying("200 OK", body=b"x" * (http.MAX_BYTES + 1)), "too large: "),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi", "timeout"),
            (b"HTTP/1.1 banana\r\n\r\n", "broken: "),
        ):
            found = await self.get(web(self, words), timeout=0.5)
            self.assertFalse(found.ok)
            self.assertIsNotNone(found.ok, found)
            self.assertTrue(found.reason.startswith(reason), found.reason)

    async def test_a_name_that_nobody_knows_is_told(self):
        found = await self.get(80, host="nowhere.invalid.")
        self.assertEqual((found.ok, found.reason), (False, "unknown host"))

    async def test_an_address_that_is_given_is_asked_in_place_of_the_host(self):
        found = await self.get(web(self), host="k3.example", address="127.0.0.1")
        self.assertEqual((found.ok, found.facts["address"]), (True, "127.0.0.1"))
        self.assertEqual(list(found.phases), ["connect", "processing", "transfer"])


class HttpsProbeTests(TestCase):
    def setUp(self):
        self.folder = Path(tempfile.mkdtemp())
        self.authority = Authority(self.folder)

    async def get(self, names, host="k3.example", **how):
        certificate, key = self.authority.issue("server", *names)
        pair = PrivateCertificate.loadPEM(certificate.read_bytes() + key.read_bytes())
        port = web(self, contextFactory=pair.options())
        how = {"tls": Trust(str(self.authority.ca)), **how}
        return await http.probe(reactor, f"https://{host}:{port}/", 2.0, address="127.0.0.1", **how)

    async def test_a_certificate_of_the_authority_is_believed(self):
        found = await self.get(["k3.example"])
        self.assertEqual((found.ok, found.reason, found.facts["secure"]), (True, "", True))
        self.assertEqual(list(found.phases), ["connect", "tls", "processing", "transfer"])
        self.assertTrue(0 < found.facts["expires"] - time.time() < 2 * 86400)

    async def test_a_certificate_for_another_is_not(self):
        found = await self.get(["k4.example"])
        self.assertEqual((found.ok, found.reason), (False, "TLS: the certificate is another host's"))

    async def test_without_an_authority_the_machines_are_asked(self):
        found = await self.get(["k3.example"], tls=None)
        self.assertFalse(found.ok)
        self.assertIn("certificate verify failed", found.reason)

    async def test_an_authority_that_cannot_be_read_is_a_local_fault(self):
        found = await self.get(["k3.example"], tls=Trust("/nowhere/ca.pem"))
        self.assertIsNone(found.ok)
        self.assertIn("/nowhere/ca.pem", found.reason)
