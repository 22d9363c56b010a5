"""What Mdns takes of what it hears: by a clock that the test moves, the real peer table, and no network."""

from ipaddress import ip_interface, ip_network

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from k3net.discovery.dnssd import Instance
from k3net.discovery.mdns import Mdns
from k3net.host import Host, Interface
from k3net.model.observation import Observation
from k3net.model.peers import PeerTable

TYPE = "_k3._tcp.local."
ALLOWED = (ip_network("10.0.0.0/16"), ip_network("fd77::/64"))


def interface(name, *addresses, index=2):
    """One that is up and cannot multicast, so that nothing is ever opened."""
    return Interface(name, index, True, False, name == "lo", tuple(map(ip_interface, addresses)))


LO = interface("lo", "127.0.0.1/8", "::1/128", index=1)
ETH0 = interface("eth0", "10.0.0.1/16", "fd77::1/64", "fe80::1/64")
DOCKER0 = interface("docker0", "10.0.99.1/24", index=3)


class MdnsTestCase(SynchronousTestCase):
    def setUp(self):
        self.clock = Clock()
        self.clock.advance(1000)
        self.table = PeerTable()
        self.refused = []
        self.host = Host((LO, ETH0, DOCKER0))
        self.mdns = self.started()

    def tearDown(self):
        self.assertEqual(self.flushLoggedErrors(), [])

    def started(self, **settings):
        mdns = Mdns(
            self.clock,
            self.table.observe,
            name="here",
            port=lambda: 7946,
            pid=7,
            host=lambda: self.host,
            peer_of=self.table.get,
            refused=self.refused.append,
            **settings,
        )
        mdns.startService()
        return mdns

    def instance(self, label="n1", address="10.0.0.2", *more, srv=7946, goodbye=False, **txt):
        addresses = (address, *more) if address else ()
        return Instance(f"{label}.{TYPE}", "h.local.", srv, txt, addresses, self.clock.seconds(), goodbye)

    def hear(self, *args, **how):
        self.mdns._hear([self.instance(*args, **how)])
        return self.table.get("n1").observations["mdns"] if "n1" in self.table else None


class TakenTests(MdnsTestCase):
    def test_an_instance_becomes_an_observation(self):
        o = self.hear("n1", "10.0.0.2", node="n1", port="7000", pid="42")
        self.assertEqual((o.peer, o.source, o.seen_at, o.ttl, o.ready), ("n1", "mdns", 1000.0, 90.0, True))
        self.assertEqual((o.addresses, o.port, dict(o.meta)), (("10.0.0.2",), 7000, {"pid": "42"}))
        self.assertEqual((o.reason, o.message), ("LANDiscovery", "discovered via mDNS"))
        self.assertEqual(self.refused, [])

    def test_a_goodbye_is_one(self):
        self.hear()
        self.clock.advance(1)
        o = self.hear(goodbye=True)
        self.assertEqual((o.goodbye, o.reason, o.message), (True, "PeerGoodbye", "goodbye via mDNS"))

    def test_a_goodbye_needs_no_address_that_counts(self):
        self.hear()
        self.clock.advance(1)
        self.assertTrue(self.hear("n1", "127.0.0.1", goodbye=True).goodbye)

    def test_the_name_is_that_in_the_txt_and_else_the_label(self):
        for label, node, name in (("x", "n1", "n1"), ("n2", None, "n2"), ("n3", "", "n3"), ("n4", "  ", "n4"),
                                  ("x", " n5 ", "n5"), ("a.b", None, "a.b")):  # fmt: skip
            self.hear(label, **({} if node is None else {"node": node}))
            self.assertIn(name, self.table)
        self.assertEqual(self.refused, [])

    def test_a_name_that_no_node_can_have_is_refused(self):
        for label, node in (("UPPER", ""), ("n1", "UPPER"), ("n1", "a b"), ("n1", "../etc"), ("n1", "x" * 254),
                            ("n1\n", ""), ("-n1", ""), ("ünï", ""), ("", ""), ("n1", "nul\x00")):  # fmt: skip
            self.hear(label, node=node)
        self.assertEqual(self.refused, ["name"] * 10)
        self.assertEqual(len(self.table), 0)

    def test_of_the_addresses_those_that_others_can_have_in_the_networks_count(self):
        for bad in ("127.0.0.1", "0.0.0.0", "224.0.0.1", "255.255.255.255", "169.254.169.254", "8.8.8.8", "::1",
                    "fe80::2", "ff02::1", "2001:db8::1", "::ffff:10.0.0.3", "10.0.0.1", "fd77::1", "10.0.99.1",
                    "nonsense"):  # fmt: skip
            self.assertEqual(self.hear("n1", bad, "10.0.0.2").addresses, ("10.0.0.2",), bad)
            self.clock.advance(1)
            self.hear("n2", bad)
            self.assertNotIn("n2", self.table, bad)
        self.assertEqual(set(self.refused), {"addresses"})

    def test_addresses_of_both_families_count_each_once_and_at_most_sixteen(self):
        self.assertEqual(
            self.hear("n1", "fd77::2", "10.0.0.2", "fd77::2", "10.0.0.2").addresses, ("fd77::2", "10.0.0.2")
        )
        self.clock.advance(1)
        self.assertEqual(len(self.hear("n1", *(f"10.0.0.{i}" for i in range(2, 40))).addresses), 16)

    def test_given_networks_count_instead_of_those_this_machine_is_on(self):
        self.mdns = self.started(allowed=[ip_network("172.20.0.0/16")])
        self.assertEqual(self.hear("n1", "10.0.0.2", "172.20.0.2").addresses, ("172.20.0.2",))

    def test_networks_are_looked_at_each_time(self):
        self.hear("n1", "10.5.0.2")
        self.host = Host((LO, interface("eth0", "10.5.0.1/16")))
        self.assertEqual(self.hear("n1", "10.5.0.2").addresses, ("10.5.0.2",))
        self.assertEqual(self.refused, ["addresses"])

    def test_the_port_is_that_in_the_txt_if_valid_and_else_that_of_the_srv(self):
        valid = {"7000": 7000, " 80 ": 80, "65535": 65535, "00080": 80}
        invalid = dict.fromkeys(("", "0", "65536", "99999", "-1", "+1", "1e3", "８０", "80.0", "0x50", "000080"), 5)
        for said, port in (valid | invalid).items():
            self.clock.advance(1)
            self.assertEqual(self.hear(srv=5, port=said).port, port, said)
            if said in invalid:
                self.hear("n2", srv=0, port=said)
        self.assertEqual(self.refused, ["port"] * len(invalid))

    def test_an_instance_without_a_port_is_refused(self):
        for srv in (0, -1, 65536, 10**9):
            self.hear("n1", srv=srv)
        self.assertEqual(self.refused, ["port"] * 4)

    def test_a_pid_counts_if_it_is_a_number(self):
        for said, meta in (("7", {"pid": "7"}), (" 7 ", {"pid": "7"}), ("", {}), ("-1", {}), ("７", {}), ("x", {}),
                           ("12345678901", {}), ("1\n2", {})):  # fmt: skip
            self.clock.advance(1)
            self.assertEqual(dict(self.hear(pid=said).meta), meta, said)

    def test_a_table_without_room_is_a_refusal(self):
        self.table = PeerTable(newcomers=3)
        self.mdns = self.started()
        for i in range(5):
            self.hear(f"x{i}")
        self.assertEqual((len(self.table), self.refused), (3, ["table full"] * 2))

    def test_a_flood_is_taken_in_slices_between_which_others_get_their_turn(self):
        self.mdns._hear([self.instance(f"x{i}", f"10.0.{i // 200 + 1}.{i % 200 + 1}") for i in range(1000)])
        self.assertEqual((len(self.table), len(self.clock.getDelayedCalls())), (200, 2))
        self.clock.advance(0)
        self.assertEqual(len(self.table), 1000)

    def test_what_is_heard_before_the_start_and_after_the_stop_is_not_taken(self):
        self.mdns._hear([self.instance(f"x{i}") for i in range(1000)])
        before = len(self.table)
        self.successResultOf(self.mdns.stopService())
        self.clock.advance(1)
        self.hear()
        self.assertEqual(len(self.table), before)

    texts = st.text(max_size=300)
    instances = st.builds(
        Instance,
        name=texts | st.builds("{}._k3._tcp.local.".format, texts | st.just("here") | st.just("n1")),
        host=texts,
        port=st.integers() | st.integers(0, 65535),
        txt=st.dictionaries(
            st.sampled_from(["node", "port", "pid", "x"]), texts | st.sampled_from(["here", "n1", "80"])
        ),
        addresses=st.lists(
            texts | st.ip_addresses().map(str) | st.sampled_from(["10.0.0.2", "10.0.0.1"]), max_size=20
        ).map(tuple),
        heard_at=st.floats(allow_nan=True),
        goodbye=st.booleans(),
    )

    @given(st.lists(instances, max_size=5))
    def test_whatever_is_heard_is_taken_or_refused(self, instances):
        self.mdns._hear(instances)
        self.assertEqual(self.flushLoggedErrors(), [])
        for peer in self.table:
            self.assertNotEqual(peer.name, "here")


class OwnersTests(MdnsTestCase):
    def alarms(self):
        return [alarm for alarm in self.mdns.alarms if "two machines" in alarm]

    def test_a_second_machine_with_the_name_is_an_alarm_and_changes_nothing(self):
        self.hear("n1", "10.0.0.2")
        self.assertEqual(self.hear("other", "10.0.0.66", node="n1").addresses, ("10.0.0.2",))
        [alarm] = self.alarms()
        self.assertIn(f"n1.{TYPE}", alarm)
        self.assertIn(f"other.{TYPE}", alarm)

    def test_a_goodbye_of_another_than_the_owner_is_not_one(self):
        self.hear("n1", "10.0.0.2")
        self.assertFalse(self.hear("other", "10.0.0.66", node="n1", goodbye=True).goodbye)
        self.assertEqual(self.alarms(), [])

    def test_the_owner_may_move(self):
        self.hear("n1", "10.0.0.2")
        self.clock.advance(1)
        self.assertEqual(self.hear("n1", "10.0.0.9").addresses, ("10.0.0.9",))

    def test_the_owner_may_spell_its_instance_otherwise(self):
        self.hear("Box-1", "10.0.0.2", node="n1")
        self.clock.advance(1)
        self.assertEqual(self.hear("BOX-1", "10.0.0.9", node="n1").addresses, ("10.0.0.9",))

    def test_the_same_machine_may_speak_by_another_instance(self):
        self.hear("n1", "10.0.0.2")
        self.clock.advance(1)
        self.assertEqual(self.hear("box", "10.0.0.2", node="n1", srv=7000).port, 7000)

    def test_after_the_owners_goodbye_anyone_may_have_the_name(self):
        self.hear("n1", "10.0.0.2")
        self.clock.advance(1)
        self.hear("n1", "10.0.0.2", goodbye=True)
        self.clock.advance(1)
        self.assertEqual(self.hear("other", "10.0.0.66", node="n1").addresses, ("10.0.0.66",))
        self.assertEqual(self.alarms(), [])

    def test_once_the_peer_has_lapsed_anyone_may_have_the_name_and_not_before(self):
        self.hear("n1", "10.0.0.2")
        self.clock.advance(90)
        self.assertEqual(self.hear("other", "10.0.0.66", node="n1").addresses, ("10.0.0.2",))
        self.clock.advance(1)
        self.assertEqual(self.hear("other", "10.0.0.66", node="n1").addresses, ("10.0.0.66",))

    def test_a_peer_that_is_alive_keeps_its_name_although_it_says_nothing(self):
        self.hear("n1", "10.0.0.2")
        self.clock.advance(80)
        self.table.observe(Observation("n1", "liveness", self.clock.seconds(), 90.0))
        self.clock.advance(80)
        self.assertEqual(self.hear("other", "10.0.0.66", node="n1").addresses, ("10.0.0.2",))

    def test_one_refused_for_want_of_room_owns_nothing(self):
        self.table = PeerTable(newcomers=0)
        self.mdns = self.started()
        self.hear("n1", "10.0.0.2")
        self.table._newcomers = 10
        self.assertEqual(self.hear("other", "10.0.0.66", node="n1").addresses, ("10.0.0.66",))

    def test_those_that_come_and_go_leave_nothing_behind(self):
        for i in range(3000):
            self.clock.advance(0.01)
            self.hear(f"x{i}")
            self.clock.advance(0.01)
            self.hear(f"x{i}", goodbye=True)
            self.table.forget_hearsay(self.clock.seconds())
        self.assertEqual(self.refused, [])
        self.assertLess(len(self.mdns._hearing._owners), 100)


class AlarmsTests(MdnsTestCase):
    def test_the_own_name_from_elsewhere_is_an_alarm_and_no_observation(self):
        self.hear("here", "10.0.0.66")
        [alarm] = self.mdns.alarms
        self.assertIn("10.0.0.66", alarm)
        self.assertEqual(len(self.table), 0)

    def test_so_is_the_own_name_in_the_txt_and_the_own_label_with_another_name(self):
        self.hear("other", "10.0.0.66", node="here")
        self.hear("here", "10.0.0.67", node="other")
        self.assertEqual(len(self.mdns.alarms), 2)
        self.assertEqual(len(self.table), 0)

    def test_the_own_words_that_come_back_are_none(self):
        self.hear("here", "10.0.0.1", node="here")
        self.hear("here", "fe80::1", node="here")
        self.hear("here", "10.0.0.66", node="here", goodbye=True)
        self.assertEqual((self.mdns.alarms, len(self.table), self.refused), ((), 0, []))

    def test_the_own_name_without_an_address_is_none(self):
        self.hear("here", "")
        self.assertEqual(self.mdns.alarms, ())

    def test_an_alarm_lasts_five_minutes_from_when_it_was_last_true(self):
        self.hear("here", "10.0.0.66")
        self.clock.advance(200)
        self.hear("here", "10.0.0.66")
        self.clock.advance(200)
        self.assertEqual(len(self.mdns.alarms), 1)
        self.clock.advance(101)
        self.assertEqual(self.mdns.alarms, ())

    def test_there_are_at_most_a_hundred_alarms(self):
        for i in range(150):
            self.hear("here", f"10.0.1.{i + 1}")
        self.assertEqual(len(self.mdns.alarms), 100)

    def test_old_alarms_make_room_for_new_ones_although_nobody_looks(self):
        for i in range(150):
            self.hear("here", f"10.0.1.{i + 1}")
        self.clock.advance(301)
        self.hear("here", "10.0.2.1")
        [alarm] = self.mdns.alarms
        self.assertIn("10.0.2.1", alarm)


class LoopTests(MdnsTestCase):
    def test_without_an_interface_the_loop_fails_and_says_so(self):
        self.clock.pump([1.0] * 12)
        self.assertEqual(self.mdns.loop.failures, 3)
        self.assertIn("no interface is up that can multicast", self.mdns.loop.last_error)
        self.assertEqual((self.mdns.name_is_free, self.mdns.dropped), (None, 0))

    def test_waited_counts_from_the_start(self):
        self.assertFalse(self.mdns.waited(1.5))
        self.clock.advance(1.5)
        self.assertTrue(self.mdns.waited(1.5))


class CrowdTests(MdnsTestCase):
    def test_one_address_has_sixteen_names_at_most(self):
        for n in range(20):
            self.hear(f"n{n}", "10.0.0.2")
        self.assertEqual(len(self.table), 16)
        self.assertEqual(self.refused, ["address crowded"] * 4)
        self.hear("n3", "10.0.0.2")
        self.hear("other", "10.0.0.3")
        self.assertIn("other", self.table)
        self.assertEqual(len(self.refused), 4)

    def test_a_goodbye_makes_room_at_its_address(self):
        for n in range(16):
            self.hear(f"n{n}", "10.0.0.2")
        self.clock.advance(1)
        self.hear("n0", "10.0.0.2", goodbye=True)
        self.hear("next", "10.0.0.2")
        self.assertIn("next", self.table)
