"""This machine's registration, driven by a clock (spec/2-consul.md)."""

from ipaddress import ip_interface

from discovery.fake_consul import FakeConsul
from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from k3net.discovery.consul import ConsulRegistration
from k3net.discovery.consul_api import ConsulError, Denied, Throttled, Unreachable
from k3net.host import Host, Interface

DOWN = Unreachable("Consul at http://127.0.0.1:8500: refused")


def interface(name, *addresses, index=2):
    return Interface(name, index, True, True, False, tuple(map(ip_interface, addresses)))


LAN = interface("eth0", "192.0.2.5/24", "2001:db8::5/64")
STORAGE = interface("eth1", "198.51.100.5/24", index=3)
DOCKER = interface("docker0", "172.17.0.1/16", index=4)


class World:
    def __init__(self, *, interfaces=(LAN, STORAGE, DOCKER), **settings):
        self.clock = Clock()
        self.consul = FakeConsul(self.clock)
        self.consul.local = settings.pop("local", "192.0.2.5")
        self.host = Host(interfaces, "eth0")
        self.changes = 0
        self.port = 7946
        self.registration = ConsulRegistration(
            self.clock,
            self.consul,
            service="k3-node",
            service_id="k3-node-a",
            node="a",
            pid=77,
            port=lambda: self.port,
            host=lambda: self.host,
            changed=self.changed,
            **settings,
        )

    def changed(self):
        self.changes += 1

    def start(self):
        self.registration.startService()
        self.clock.advance(0)
        return self

    def advance(self, seconds):
        self.clock.pump([0.5] * round(seconds * 2))

    @property
    def registered(self):
        return self.consul._services.get("k3-node-a")

    def requests(self):
        return [verb for verb, _ in self.consul.requests]


class RegistrationTests(SynchronousTestCase):
    def logged(self):
        lines = []
        globalLogPublisher.addObserver(lines.append)
        self.addCleanup(globalLogPublisher.removeObserver, lines.append)
        return lines

    def test_it_registers_at_once_with_all_that_the_contract_names(self):
        world = World(tags=["edge"], check_interval=10.0, check_timeout=3.0, deregister_after=90.0).start()
        self.assertEqual(
            world.registration.told,
            {
                "Name": "k3-node",
                "ID": "k3-node-a",
                "Tags": ["edge"],
                "Address": "192.0.2.5",
                "Port": 7946,
                "Meta": {"node": "a", "pid": "77"},
                "Check": {
                    "HTTP": "http://192.0.2.5:7946/healthz",
                    "Interval": "10s",
                    "Timeout": "3s",
                    "DeregisterCriticalServiceAfter": "1m30s",
                },
            },
        )
        self.assertEqual((world.registered.address, world.registered.port), ("192.0.2.5", 7946))
        self.assertTrue(world.registration.registered)
        self.assertEqual(world.changes, 1)

    def test_an_older_registration_of_the_same_id_is_replaced(self):
        world = World()
        world.consul.service("k3-node-a", Meta={"node": "a", "pid": "1"})
        world.start()
        self.assertEqual(world.registered.meta["pid"], "77")

    def test_the_address_is_the_one_that_routes_to_consul(self):
        for local, registered in (
            ("198.51.100.5", "198.51.100.5"),
            ("2001:db8::5", "2001:db8::5"),
            ("172.17.0.1", "192.0.2.5"),
            ("127.0.0.1", "192.0.2.5"),
            ("fe80::1%eth0", "192.0.2.5"),
        ):
            self.assertEqual(World(local=local).start().registered.address, registered, local)

    def test_an_ipv6_address_stands_in_brackets_in_the_check(self):
        told = World(local="2001:db8::5").start().registration.told
        self.assertEqual(told["Check"]["HTTP"], "http://[2001:db8::5]:7946/healthz")

    def test_a_machine_without_a_network_is_registered_by_what_consul_sees(self):
        self.assertEqual(World(interfaces=(), local="127.0.0.1").start().registered.address, "127.0.0.1")

    def test_a_health_server_on_one_address_is_registered_by_that(self):
        self.assertEqual(World(listen_host="203.0.113.9").start().registered.address, "203.0.113.9")
        for everywhere in ("0.0.0.0", "::", ""):
            self.assertEqual(World(listen_host=everywhere).start().registered.address, "192.0.2.5")

    def test_while_the_watch_sees_it_nothing_is_asked(self):
        world = World().start()
        before = len(world.requests())
        for _ in range(40):
            world.registration.seen(True)
            world.advance(15)
        self.assertEqual(len(world.requests()), before)

    def test_what_the_agent_has_lost_is_registered_again(self):
        world = World().start()
        world.consul.drop("k3-node-a")
        world.registration.seen(False)
        world.advance(0.5)
        self.assertIsNotNone(world.registered)

    def test_what_the_watch_does_not_see_but_the_agent_has_is_not_registered_again(self):
        world = World().start()
        for _ in range(10):
            world.registration.seen(False)
            world.advance(15)
        self.assertEqual(world.requests().count("register"), 1)
        self.assertLessEqual(world.requests().count("registered"), 20)

    def test_what_the_agent_has_and_the_answers_lack_for_long_is_a_missing_right(self):
        world = World().start()
        for _ in range(6):
            world.registration.seen(False)
            world.advance(10)
        self.assertIn("node:read", world.registration.trouble.error)
        world.registration.seen(True)
        world.advance(16)
        self.assertEqual(world.registration.trouble.error, "")

    def test_what_the_answers_lack_for_a_moment_is_none(self):
        world = World().start()
        for _ in range(20):
            world.registration.seen(False)
            world.advance(1)
        world.registration.seen(True)
        world.advance(60)
        self.assertEqual(world.registration.trouble.error, "")

    def test_without_a_watch_that_can_see_it_the_agent_is_asked_every_interval(self):
        world = World(look=True).start()
        world.advance(150)
        self.assertGreaterEqual(world.requests().count("registered"), 10)
        world.consul.drop("k3-node-a")
        world.advance(16)
        self.assertIsNotNone(world.registered)

    def test_another_address_or_port_is_registered_within_an_interval(self):
        world = World().start()
        world.host = Host((interface("eth0", "192.0.2.66/24"),), "eth0")
        world.consul.local = "192.0.2.66"
        world.advance(16)
        self.assertEqual(world.registered.address, "192.0.2.66")
        world.port = 7999
        world.advance(16)
        self.assertEqual(world.registered.port, 7999)

    def test_a_consul_that_is_down_at_the_start_is_asked_again_with_growing_pauses(self):
        world = World()
        world.consul.fault = DOWN
        world.start()
        world.advance(300)
        self.assertFalse(world.registration.registered)
        asked = len(world.requests())
        self.assertTrue(300 / 15 <= asked <= 300 / 7.5 + 8, asked)
        world.consul.fault = None
        world.advance(16)
        self.assertTrue(world.registration.registered)
        self.assertIsNone(world.registration.trouble.since)

    def test_429_is_left_alone_for_as_long_as_it_says(self):
        world = World()
        world.consul.fault = Throttled("429", 100.0)
        world.start()
        world.advance(99)
        self.assertEqual(len(world.requests()), 1)

    def test_a_denial_is_one_line_that_names_the_right(self):
        lines = self.logged()
        world = World()
        world.consul.fault = Denied("the Consul ACL token lacks service:write (Permission denied)")
        world.start()
        world.advance(600)
        spoken = [line for line in lines if "service:write" in str(line.get("error", ""))]
        self.assertEqual(len(spoken), 1)
        self.assertIn("service:write", world.registration.trouble.error)

    def test_that_consul_raises_deregister_after_is_told(self):
        for seconds, told in ((30.0, 1), (60.0, 0)):
            lines = self.logged()
            World(deregister_after=seconds).start()
            found = [line for line in lines if "deregister_after" in str(line.get("log_format"))]
            self.assertEqual(len(found), told)

    def test_a_clean_stop_deregisters_and_asks_nothing_more(self):
        world = World().start()
        self.assertIsNone(self.successResultOf(world.registration.stopService()))
        self.assertIsNone(world.registered)
        before = len(world.requests())
        world.advance(60)
        self.assertEqual((len(world.requests()), world.clock.getDelayedCalls()), (before, []))

    def test_without_a_goodbye_it_stays_registered(self):
        world = World(goodbye=False).start()
        self.successResultOf(world.registration.stopService())
        self.assertIsNotNone(world.registered)

    def test_a_stop_while_consul_is_down_ends(self):
        for started_well in (True, False):
            world = World()
            world.consul.fault = None if started_well else DOWN
            world.start()
            world.consul.fault = ConsulError("500")
            self.successResultOf(world.registration.stopService())
            world.advance(60)
            self.assertEqual(world.clock.getDelayedCalls(), [])
