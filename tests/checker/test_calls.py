"""What an agent says to a server over real HTTP, and what comes of answers that are not good."""

from checker.fake_server import FakeServer
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from k3net.checker.calls import TRIES, Server, ServerError
from k3net.checker.wire import ConnectivityResult, Heartbeat, SentReport

BEAT = Heartbeat(node_ip="10.0.0.1", pod_ip="10.244.0.2", pod_name="agent-1", namespace="k3net", node_name="edge-1")
REPORT = SentReport("10.0.0.1", [ConnectivityResult(target_ip="10.0.0.2", ping_status="reachable")])


class CallTests(TestCase):
    def setUp(self):
        self.fake = FakeServer()
        self.port = reactor.listenTCP(0, self.fake.site(), interface="127.0.0.1")
        self.addCleanup(self.port.stopListening)
        self.server = self.asking()

    def asking(self, **more):
        url = f"http://127.0.0.1:{self.port.getHost().port}"
        return Server(reactor, url, chance=lambda: -0.49, **more)

    async def error(self, done):
        error = await self.assertFailure(done, ServerError)
        assert "\n" not in str(error)
        return error

    async def test_a_heartbeat_has_the_fields_of_the_contract(self):
        await self.server.beat(BEAT)
        assert {"node_ip", "pod_ip", "pod_name", "namespace"} <= self.fake.heartbeats[0].keys()

    async def test_lists_hold_addresses_only_each_once_in_their_shortest_form(self):
        self.fake.lists["hosts"] = ["10.0.0.2", "fd00:0::1", "fd00::1", "x; rm -rf /", "10.0.0.02", ""]
        assert await self.server.hosts() == ("10.0.0.2", "fd00::1")

    async def test_those_that_fell_silent_are_listed_after_those_that_live(self):
        answers = {"hosts": {"host_ips": ["10.0.0.9"], "count": 1, "silent": ["10.0.0.2", "10.0.0.9"]}}
        answers["pods"] = {"pod_ips": None, "silent": ["10.1.0.2"]}
        self.fake._answer = lambda path, _: answers[path.rpartition("/")[2]]
        assert await self.server.hosts() == ("10.0.0.9", "10.0.0.2")
        assert await self.server.pods() == ("10.1.0.2",)

    async def test_a_list_of_another_shape_is_an_error_that_is_not_asked_again(self):
        self.fake.lists["pods"] = ["10.0.0.1", 7]
        self.fake._answer = lambda *_: {"pod_ips": 7}
        error = await self.error(self.server.pods())
        assert not error.may_pass
        assert len(self.fake.requests) == 1

    async def test_what_can_pass_is_tried_again_and_then_given_up(self):
        self.fake.script = [503, 429]
        await self.server.take("hosts", REPORT)
        assert [layer for layer, _ in self.fake.reports] == ["hosts"]
        self.fake.script = [500] * 10
        error = await self.error(self.server.take("hosts", REPORT))
        assert "500" in str(error)
        assert len(self.fake.script) == 10 - TRIES

    async def test_what_is_refused_for_good_is_not_tried_again(self):
        for status in (400, 401, 403, 404, 413):
            self.fake.script = [status] * 3
            error = await self.error(self.server.take("pods", REPORT))
            assert str(status) in str(error)
            assert len(self.fake.script) == 2

    async def test_a_heartbeat_is_never_tried_again(self):
        self.fake.script = [503] * 2
        await self.error(self.server.beat(BEAT))
        assert len(self.fake.script) == 1

    async def test_retry_after_is_heeded_up_to_a_bound(self):
        self.fake.headers, self.fake.script = {"Retry-After": "1"}, [429]
        begun = reactor.seconds()
        await self.server.hosts()
        assert reactor.seconds() - begun >= 1

    async def test_a_server_that_says_nothing_is_given_up_in_time(self):
        self.fake.script = [Deferred()] * 3
        error = await self.error(self.asking(timeout=0.2).hosts())
        assert error.may_pass
        assert len(self.fake.requests) == TRIES

    async def test_the_token_is_read_for_each_request_and_never_told(self):
        tokens = iter(["one", "two"])
        server = self.asking(token=lambda: next(tokens))
        await server.beat(BEAT)
        self.fake.script = [401]
        error = await self.error(server.hosts())
        assert self.fake.tokens == ["Bearer one", "Bearer two"]
        assert "two" not in str(error)
