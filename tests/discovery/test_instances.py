"""Which instances are found, in which order they are looked for, and that this one is none of the others."""

from ipaddress import ip_address
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IHostnameResolver
from twisted.internet.task import Clock
from twisted.logger import formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface import implementer

from k3net.discovery.instance_names import NoAnswer, addresses_of_service
from k3net.discovery.instances import MOST_INSTANCES, Instance, Instances, instances_among, parse_address
from k3net.model.observation import Observation
from k3net.model.peers import PeerTable

OWN = "me"


class World:
    """What DNS says, and who answers where."""

    def __init__(self, case: Any, environ: "dict[str, str]", **how: Any):
        self.clock = Clock()
        self.names: dict[str, list[str]] = {}
        self.who: dict[str, str] = {}
        self.asked: list[str] = []
        self.peers: list[Instance] = []
        self.environ = environ
        self.lines: list[str] = []
        observer = lambda event: self.lines.append(formatEvent(event))  # noqa: E731
        globalLogPublisher.addObserver(observer)
        case.addCleanup(globalLogPublisher.removeObserver, observer)
        self.instances = Instances(
            self.clock,
            environ=environ,
            own_identity=OWN,
            own_places=lambda: [("10.0.0.1", 8080)],
            resolve=self.resolve,
            identify=self.identify,
            discovered=lambda: self.peers,
            **how,
        )

    def resolve(self, name: str) -> "Deferred[Any]":
        return succeed(self.names[name]) if name in self.names else fail(NoAnswer(f"{name}: no DNS server answered"))

    def identify(self, instance: Instance) -> "Deferred[str]":
        self.asked.append(instance.address)
        who = self.who.get(instance.address)
        return fail(OSError("refused")) if who is None else succeed(who)


class InstancesTests(SynchronousTestCase):
    def world(self, environ: "dict[str, str] | None" = None, **how: Any) -> World:
        return World(self, environ or {}, **how)

    def found(self, world: World) -> "list[str]":
        return [one.address for one in self.successResultOf(world.instances.others())]

    def test_pod_ips_without_the_own_one_at_the_port_of_the_pods(self):
        world = self.world(
            {"POD_IPS": "10.10.12.95, 10.10.12.96,10.10.12.97,", "POD_IP": "10.10.12.95", "POD_PORT": "81"}
        )
        self.assertEqual(self.found(world), ["10.10.12.96:81", "10.10.12.97:81"])
        self.assertIn("Found 3 instances from POD_IPS environment variable", world.lines)

    def test_pod_ips_that_are_the_own_pod_alone_are_followed_by_the_next_method(self):
        for own in ({"POD_IP": "10.0.0.9"}, {}):
            world = self.world({"POD_IPS": "10.0.0.9,fd00::9", "INSTANCE_ADDRESSES": "a:1", **own})
            world.who = {"10.0.0.9:8080": OWN, "[fd00::9]:8080": OWN}
            self.assertEqual(self.found(world), ["a:1"])

    def test_ipv6_is_put_in_brackets_and_compared_as_an_address(self):
        world = self.world({"POD_IPS": "fd00:0::1,FD00::2,fd00:0:0::2", "POD_IP": "fd00:0:0:0::1"})
        self.assertEqual(self.found(world), ["[fd00::2]:8080"])

    def test_instance_addresses_with_names_and_brackets_and_what_is_none_is_passed_over(self):
        texts = "10.0.0.1:8080,h-2:81,[fd00::3]:82,fd00::4:83,nonsense,h:0,h:70000,[10.0.0.5]:1,10.0.0.300:1,a b:1"
        world = self.world({"INSTANCE_ADDRESSES": texts})
        self.assertEqual(self.found(world), ["h-2:81", "[fd00::3]:82"])
        self.assertIn("Found 3 instances from INSTANCE_ADDRESSES environment variable", world.lines)
        self.assertEqual(sum("passed over" in line for line in world.lines), 7)

    def test_this_instance_is_known_by_its_identity_whatever_its_address_is_called(self):
        world = self.world({"INSTANCE_ADDRESSES": "me.example:8080,127.0.0.2:9,b:1,b.example:1,silent:1"})
        world.who = {"me.example:8080": OWN, "127.0.0.2:9": OWN, "b:1": "bee", "b.example:1": "bee"}
        self.assertEqual(self.found(world), ["b:1", "silent:1"])

    def test_an_identity_is_asked_for_again_after_a_minute_and_one_that_was_not_told_each_time(self):
        world = self.world({"INSTANCE_ADDRESSES": "b:1,silent:1"})
        world.who = {"b:1": "bee"}
        for _ in range(2):
            self.found(world)
        self.assertEqual(world.asked, ["b:1", "silent:1", "silent:1"])
        world.clock.advance(61)
        self.found(world)
        self.assertEqual(world.asked.count("b:1"), 2)

    def test_at_hand_nobody_is_asked_and_who_has_answered_somewhere_is_remembered_for_a_minute(self):
        world = self.world({"INSTANCE_ADDRESSES": "Me:1,b:1,[fd00::b]:1,10.0.0.1:8080"})
        at_hand = lambda: [one.address for one in self.successResultOf(world.instances.at_hand())]  # noqa: E731
        self.assertEqual(at_hand(), ["me:1", "b:1", "[fd00::b]:1"])
        for address, identity in (("me:1", OWN), ("b:1", "bee"), ("[fd00::b]:1", "bee"), ("b:1", "")):
            world.instances.met(address, identity)
        self.assertEqual(at_hand(), ["b:1"])
        world.clock.advance(61)
        self.assertEqual(at_hand(), ["me:1", "b:1", "[fd00::b]:1"])
        self.assertEqual(world.asked, [])

    def test_at_hand_the_own_addresses_alone_are_followed_by_the_next_method_once_they_are_known(self):
        world = self.world({"POD_IPS": "10.0.0.9", "INSTANCE_ADDRESSES": "b:1"})
        world.instances.met("10.0.0.9:8080", OWN)
        self.assertEqual([one.address for one in self.successResultOf(world.instances.at_hand())], ["b:1"])

    def test_the_headless_service_is_asked_for_in_dns(self):
        world = self.world({"SERVICE_NAME": "knm", "POD_NAMESPACE": "ns", "POD_PORT": "8081"}, domain="example.org.")
        world.names = {"knm.ns.svc.example.org.": ["10.0.0.7", "fd00::7"]}
        self.assertEqual(self.found(world), ["10.0.0.7:8081", "[fd00::7]:8081"])
        self.assertIn("Found 2 instances from Kubernetes Service DNS", world.lines)

    def test_a_dns_that_fails_or_a_name_that_is_none_leaves_the_peers(self):
        for name in ("knm", "no such.name"):
            world = self.world({"SERVICE_NAME": name, "POD_NAMESPACE": "ns"})
            world.peers = [Instance("10.0.0.8", 8081, "pea"), Instance("10.0.0.1", 8081, OWN)]
            self.assertEqual(self.found(world), ["10.0.0.8:8081"])
            self.assertTrue(any("no DNS" in line for line in world.lines), world.lines)

    def test_the_first_method_that_yields_another_is_used_and_merge_joins_all(self):
        environ = {"POD_IPS": "10.0.0.2", "INSTANCE_ADDRESSES": "b:1,c:1", "SERVICE_NAME": "s", "POD_NAMESPACE": "n"}
        for how, wanted in (("first", ["10.0.0.2:8080"]), ("merge", ["10.0.0.2:8080", "c:1", "10.0.0.3:8080", "d:1"])):
            world = self.world(environ, discovery=how)
            world.names = {"s.n.svc.cluster.local.": ["10.0.0.2", "10.0.0.3"]}
            world.who = {"10.0.0.2:8080": "bee", "b:1": "bee"}
            world.peers = [Instance("d", 1, "dee")]
            self.assertEqual(self.found(world), wanted)

    def test_they_are_found_anew_each_time(self):
        world = self.world({"INSTANCE_ADDRESSES": "b:1"})
        self.found(world)
        world.environ["INSTANCE_ADDRESSES"] = "c:1"
        self.assertEqual(self.found(world), ["c:1"])

    def test_nothing_to_find_is_no_instance_and_no_word(self):
        world = self.world()
        self.assertEqual(self.found(world), [])
        self.assertEqual(world.lines, [])

    def test_there_is_a_most(self):
        world = self.world({"INSTANCE_ADDRESSES": ",".join(f"h{at}:1" for at in range(MOST_INSTANCES + 50))})
        world.instances._identify = lambda instance: succeed("")
        self.assertEqual(len(self.found(world)), MOST_INSTANCES)


class PeersTests(SynchronousTestCase):
    def test_peers_that_say_where_they_serve_the_api_are_instances(self):
        table = PeerTable()
        for name, meta in (
            ("a", {"clusters": "8081", "instance": "ay", "store": "one"}),
            ("b", {"instance": "bee", "store": "one"}),
            ("c", {"clusters": "x", "instance": "sea", "store": "one"}),
            ("d", {"clusters": "8081", "store": "one"}),
            ("e", {"clusters": "8081", "instance": "of another service", "store": "two"}),
            ("f", {"clusters": "8081", "instance": "of no store", "store": ""}),
        ):
            table.observe(Observation(name, "mdns", 0.0, 90.0, addresses=("10.0.0.7",), port=1))
            table.observe(Observation(name, "liveness", 0.0, 90.0, addresses=("10.0.0.7",), port=1, meta=meta))
        self.assertEqual(list(instances_among(table, "one", 1.0)), [Instance("10.0.0.7", 8081, "ay")])
        self.assertEqual(list(instances_among(table, "one", 91.0)), [])
        self.assertEqual(list(instances_among(table, "", 1.0)), [])


@given(st.text(max_size=60))
def test_any_text_is_an_address_or_none(text: str) -> None:
    found = parse_address(text)
    if found is not None:
        assert parse_address(found.address) == found


@given(st.ip_addresses(), st.integers(1, 65535))
def test_an_address_survives_the_way_to_text_and_back(address: Any, port: int) -> None:
    found = Instance(str(address), port)
    assert parse_address(found.address) == found
    assert ip_address(found.host) == address


@implementer(IHostnameResolver)
class Names:
    """A resolver of the reactor's kind that answers when it is told to."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.receiver: Any = None

    def resolveHostName(self, resolutionReceiver: Any, hostName: str, *_args: Any, **_how: Any) -> Any:
        self.asked.append(hostName)
        self.receiver = resolutionReceiver
        resolutionReceiver.resolutionBegan(None)

    def answer(self, *addresses: str) -> None:
        for one in addresses:
            made = IPv6Address if ":" in one else IPv4Address
            self.receiver.addressResolved(made("TCP", one, 0))
        self.receiver.resolutionComplete()


class NamesTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock: Any = Clock()
        self.names = self.clock.nameResolver = Names()

    def test_all_addresses_are_given_once_ipv4_first(self):
        done = addresses_of_service(self.clock, "knm.ns.svc.cluster.local.")
        many = [f"10.0.{at // 250}.{at % 250 + 1}" for at in range(4000)]
        self.names.answer("fd00::1", *many, "10.0.0.1")
        self.assertEqual(self.successResultOf(done), (*many, "fd00::1"))
        self.assertEqual(self.names.asked, ["knm.ns.svc.cluster.local."])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_there_is_a_most(self):
        done = addresses_of_service(self.clock, "knm", most=2)
        self.names.answer("10.0.0.1", "10.0.0.2", "10.0.0.3")
        self.assertEqual(len(self.successResultOf(done)), 2)

    def test_a_resolver_that_hangs_is_not_waited_for_and_may_answer_late(self):
        done = addresses_of_service(self.clock, "knm", timeout=4.0)
        self.clock.advance(4.1)
        self.assertEqual(str(self.failureResultOf(done, NoAnswer).value), "knm: no DNS server answered within 4 s")
        self.names.answer("10.0.0.1")


class SystemTests(TestCase):
    async def test_the_system_s_resolver_is_asked(self):
        from twisted.internet import reactor

        self.assertIn("127.0.0.1", await addresses_of_service(reactor, "localhost"))
