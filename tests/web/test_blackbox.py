"""`/probe?target=&module=` over real HTTP, beside what the blackbox exporter 0.23 said of the same targets."""

import re
import subprocess
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from probes.servers import full, mute, nameserver, refusing, web
from probes.servers import listening as taking
from rawhttp import listening, request, talk
from twisted.internet import reactor
from twisted.internet.defer import gatherResults
from twisted.trial.unittest import SynchronousTestCase, TestCase

from k3net.errors import BadRequest, Forbidden
from k3net.web.blackbox import MODULES, AllowList, Blackbox, Target, parse_target, scrape_timeout
from k3net.web.blackbox_text import fnv1a

COMMON = {
    "probe_success",
    "probe_duration_seconds",
    "probe_dns_lookup_time_seconds",
    "probe_ip_protocol",
    "probe_ip_addr_hash",
}
EXPORTERS = {
    "icmp": COMMON | {"probe_icmp_duration_seconds", "probe_icmp_reply_hop_limit"},
    "tcp_connect": COMMON | {"probe_failed_due_to_regex"},
    "dns": COMMON | {"probe_dns_answer_rrs", "probe_dns_duration_seconds", "probe_dns_query_succeeded"},
    "http_2xx": COMMON
    | {
        "probe_failed_due_to_regex",
        "probe_http_content_length",
        "probe_http_duration_seconds",
        "probe_http_redirects",
        "probe_http_ssl",
        "probe_http_status_code",
        "probe_http_uncompressed_body_length",
        "probe_http_version",
    },
}
OURS = {
    "icmp": {"probe_icmp_packets_sent", "probe_icmp_packets_received"},
    "tcp_connect": {"probe_tcp_duration_seconds"},
    "dns": set(),
    "http_2xx": set(),
}
NOT_FOUND = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
SCRAPE = "X-Prometheus-Scrape-Timeout-Seconds"


def samples(text):
    return {name: float(value) for name, value in re.findall(r"^(\w+(?:{[^}]*})?) (\S+)$", text, re.MULTILINE)}


class ProbeRouteTests(TestCase):
    def setUp(self):
        allowed = AllowList(
            ["127.0.0.0/8", "localhost", "*.example"],
            peer=lambda name: ("127.0.0.1",) if name == "edge-1" else (),
            is_peer=lambda address: address == "10.1.2.3",
        )
        self.port = listening(self, Blackbox(reactor, allowed, at_once=2).routes()).port

    async def ask(self, module, target, *headers, more=""):
        [answer] = await talk(self.port, request(f"/probe?module={module}&target={quote(target)}{more}", *headers))
        return answer

    async def told(self, module, target, *headers):
        answer = await self.ask(module, target, *headers)
        self.assertEqual(answer.status, 200, answer.body)
        self.assertEqual(answer.headers["content-type"], "text/plain; version=0.0.4; charset=utf-8")
        self.text = answer.body.decode()
        return samples(self.text)

    def targets(self):
        zone = {("db.example", "A"): ["10.0.0.1"], ("db.example", "AAAA"): []}
        return {
            "tcp_connect": f"127.0.0.1:{taking(self)}",
            "http_2xx": f"http://localhost:{web(self)}/health",
            "dns": f"db.example@127.0.0.1:{nameserver(self, zone)[1]}",
        }

    async def test_the_names_are_the_exporters(self):
        for module, target in self.targets().items():
            found = await self.told(module, target)
            names = {name.partition("{")[0] for name in found}
            self.assertEqual(names, EXPORTERS[module] | OURS[module], module)
            self.assertEqual((found["probe_success"], found["probe_ip_protocol"]), (1, 4), module)

    @pytest.mark.requires("root")
    async def test_icmp_is_told(self):
        found = await self.told("icmp", "127.0.0.1")
        self.assertEqual({name.partition("{")[0] for name in found}, EXPORTERS["icmp"] | OURS["icmp"])
        self.assertEqual((found["probe_success"], found["probe_icmp_reply_hop_limit"]), (1, 64))
        self.assertTrue(0 < found['probe_icmp_duration_seconds{phase="rtt"}'] < 1)
        self.assertEqual(found["probe_ip_addr_hash"], 3668918509)

    @pytest.mark.requires("promtool")
    async def test_promtool_finds_no_fault(self):
        for module, target in self.targets().items():
            await self.told(module, target)
            checked = subprocess.run(
                ["promtool", "check", "metrics"], input=self.text, capture_output=True, text=True, timeout=20
            )
            self.assertEqual((checked.returncode, checked.stdout + checked.stderr), (0, ""), module)

    async def test_what_fails_is_no_success(self):
        short = f"{SCRAPE}: 0.7"
        for module, target in (
            ("tcp_connect", f"127.0.0.1:{refusing(self)}"),
            ("tcp_connect", f"127.0.0.1:{full(self)}"),
            ("http_2xx", f"127.0.0.1:{refusing(self)}/"),
            ("http_2xx", f"127.0.0.1:{web(self, NOT_FOUND)}/"),
            ("dns", f"db.example@127.0.0.1:{mute(self)}"),
            ("tcp_connect", "nowhere.invalid.example:80"),
        ):
            self.assertEqual((await self.told(module, target, short))["probe_success"], 0, target)

    async def test_the_status_is_told_also_of_a_failure(self):
        found = await self.told("http_2xx", f"127.0.0.1:{web(self, NOT_FOUND)}/")
        self.assertEqual((found["probe_success"], found["probe_http_status_code"]), (0, 404))

    async def test_a_peer_is_reached_by_its_name_and_not_looked_up(self):
        found = await self.told("http_2xx", f"http://edge-1:{web(self)}/")
        self.assertEqual(found["probe_success"], 1)
        self.assertEqual((await self.told("tcp_connect", f"edge-1:{taking(self)}"))["probe_success"], 1)

    async def test_nobody_else_may_be_probed(self):
        for module, target in (
            ("icmp", "10.0.0.1"),
            ("icmp", "::1"),
            ("tcp_connect", "edge-2:22"),
            ("http_2xx", "http://example/"),
            ("http_2xx", "http://db.example.org/"),
            ("dns", "localhost.org@127.0.0.1"),
            ("dns", "db.example@10.0.0.53"),
        ):
            answer = await self.ask(module, target)
            self.assertEqual((answer.status, answer.json["code"]), (403, "FORBIDDEN"), target)

    async def test_what_is_asked_wrongly_is_400(self):
        for module, target, more in (
            ("nope", "127.0.0.1", ""),
            ("icmp", "", ""),
            ("icmp", "127.0.0.1:7", ""),
            ("tcp_connect", "127.0.0.1", ""),
            ("tcp_connect", "127.0.0.1:0", ""),
            ("tcp_connect", "127.0.0.1:65536", ""),
            ("http_2xx", "ftp://127.0.0.1/", ""),
            ("http_2xx", "http://user:secret@127.0.0.1/", ""),
            ("dns", "127.0.0.1", ""),
            ("dns", "db.example@ns.example", ""),
            ("icmp", "127.0.0.1\r\nX: y", ""),
        ):
            self.assertEqual((await self.ask(module, target, more=more)).status, 400, (module, target))
        for wrong in ("x", "-1", "0", "nan", "inf"):
            self.assertEqual((await self.ask("icmp", "127.0.0.1", f"{SCRAPE}: {wrong}")).status, 400, wrong)

    async def test_what_was_not_measured_is_503_and_no_sample(self):
        answer = await self.ask("dns", f"{'x' * 70}.example@127.0.0.1")
        self.assertEqual((answer.status, answer.json["code"]), (503, "UNAVAILABLE"))
        self.assertIn("not measured: local fault: not a DNS name", answer.json["message"])

    async def test_only_so_many_at_once(self):
        target = f"127.0.0.1:{full(self)}"
        asked = request(f"/probe?module=tcp_connect&target={target}", f"{SCRAPE}: 0.9")
        answers = await gatherResults([talk(self.port, asked) for _ in range(4)])
        self.assertEqual(sorted(answer.status for [answer] in answers), [200, 200, 503, 503])
        self.assertEqual((await self.told("tcp_connect", f"127.0.0.1:{taking(self)}"))["probe_success"], 1)

    async def test_debug_explains(self):
        answer = await self.ask("tcp_connect", f"localhost:{refusing(self)}", more="&debug=true")
        text = answer.body.decode()
        for words in ("localhost is allowed", "address 127.0.0.1", "probe failed", "refused", "probe_success 0.0"):
            self.assertIn(words, text)
        unmeasured = await self.ask("dns", f"{'x' * 70}.example@127.0.0.1", more="&debug=true")
        self.assertEqual(unmeasured.status, 200)
        self.assertIn("probe not measured", unmeasured.body.decode())


class PartsTests(SynchronousTestCase):
    def test_the_timeout_leaves_prometheus_half_a_second(self):
        self.assertEqual([scrape_timeout(each) for each in ("15", "0.4", "1e9", None)], [14.5, 0.4, 60.0, 10.0])

    def test_the_address_is_hashed_as_the_exporter_does(self):
        self.assertEqual(fnv1a(bytes([127, 0, 0, 1])), 3668918509)

    def test_targets_are_read(self):
        self.assertEqual(parse_target("icmp", "fd00::1"), Target("fd00::1"))
        self.assertEqual(parse_target("tcp_connect", "[fd00::1]:22"), Target("fd00::1", 22))
        self.assertEqual(parse_target("http_2xx", "db1:80/x"), Target("db1", url="http://db1:80/x"))
        self.assertEqual(parse_target("dns", "a.b"), Target("", 53, name="a.b"))

    @given(st.sampled_from(list(MODULES)), st.text() | st.from_regex(r"[a-z0-9.:@\[\]/%]{0,30}", fullmatch=True))
    def test_any_text_is_a_target_or_a_bad_request(self, module, text):
        try:
            target = parse_target(module, text)
        except BadRequest:
            return
        self.assertTrue(target.host or target.name)
        self.assertIn(target.port, range(65536))

    @given(st.text(max_size=60))
    def test_nothing_is_admitted_by_an_empty_list(self, host):
        self.assertRaises(Forbidden, AllowList([]).admits, host)

    def test_a_name_below_an_allowed_one_needs_the_star(self):
        allowed = AllowList(["example.org", "*.lab"])
        self.assertIn("example.org", allowed.admits("Example.ORG."))
        self.assertIn("*.lab", allowed.admits("a.b.lab"))
        for host in ("www.example.org", "lab", "xlab", "example.org.evil"):
            self.assertRaises(Forbidden, allowed.admits, host)
