"""The own node's pod CIDR: held, moved, kept over a restart, and never that of another."""

import json
from ipaddress import ip_network
from itertools import combinations
from typing import Any

from reconciler.world import World
from twisted.internet.defer import fail
from twisted.trial.unittest import SynchronousTestCase

from k3net.config.strict_yaml import read_documents
from k3net.discovery.pod_cidr import PodCidr
from k3net.errors import ConfigError
from k3net.model.claims import Claim
from k3net.model.explain import explain
from k3net.pod_cidr import Asked, find
from k3net.store.memory import MemoryStore


class Verbs:
    """The claims of a daemon's store beside its Nodes."""

    def __init__(self, wire: Any):
        self._wire = wire
        self.get = wire.get

    def claims(self):
        return self._wire._call("claims")

    def claim(self, wanted, instead_of=""):
        return self._wire._call("claim", wanted, instead_of)

    def release(self, claim):
        return self._wire._call("release", claim)


class Machine:
    """A daemon of the world whose own node has a pod CIDR."""

    def __init__(self, world: World, name: str, **settings: Any):
        self.world = world
        self.name = name
        self.settings = {"base": "10.9.0.0/24", "per_node": "/28", **settings}
        self.daemon = world.daemon(name)
        self.wire = self.daemon.wire
        self.daemon.speaks = self.speaks  # type: ignore[method-assign]
        self.wrong: Exception | None = None
        self.part = PodCidr(
            world.clock,
            Verbs(self.daemon.wire),
            name=name,
            find=self.find,
            nodes=lambda: self.daemon.stored if self.daemon.reconciler.last_success is not None else None,
            changed=self.speaks,
        )
        self.speaks()
        self.part.startService()

    def find(self) -> Any:
        if self.wrong is not None:
            return fail(self.wrong)
        return find(Asked(self.name, read_documents, {}, root="/nowhere", **self.settings))

    def speaks(self, beats: int = 3) -> bool:
        word = {"meta": {"podCIDR": self.part.word}} if self.part.word else {}
        return self.daemon.observe(self.name, "own", beats * 30.0, pod_cidrs=self.part.told, **word)

    @property
    def carries(self) -> tuple[str, ...]:
        """What its Node has in the store."""
        node = self.world.node(self.name)
        return () if node is None else node.pod_cidrs

    def stop(self) -> None:
        self.part.stopService()
        self.world.kill(self.name)


class PodCidrTests(SynchronousTestCase):
    def setUp(self):
        self.world = World()
        self.store = MemoryStore(self.world.shared)

    def machine(self, name, **settings):
        machine = Machine(self.world, name, **settings)
        self.world.clock.advance(0)
        return machine

    def claimed(self):
        return {claim.subnet: claim.owner for claim in self.store.claims()}

    def relist(self):
        """Until every daemon has listed the store once more, and its part has looked."""
        self.world.advance(11 * 60 + 70)

    def conflict(self, name):
        node = self.world.node(name)
        found = [(c.status, c.message) for c in node.conditions if c.type == "PodCIDRConflict"]
        return found[0] if found else None

    def test_a_hash_is_claimed_and_then_carried_by_the_node(self):
        n1 = self.machine("n1")
        self.world.advance(3)
        [cidr] = n1.part.cidrs
        self.assertEqual(cidr, str(n1.part.answer.cidrs[0]))
        self.assertEqual(n1.carries, (cidr,))
        self.assertEqual(self.world.node("n1").manifest["spec"], {"podCIDR": cidr, "podCIDRs": [cidr]})
        self.assertEqual(self.claimed(), {cidr: "n1"})
        self.assertEqual(list(n1.part.alarms), [])
        self.assertIn("may be inaccurate", n1.part.word)

    def test_many_in_few_subnets_have_one_each_and_the_rest_are_told_why_they_have_none(self):
        machines = [self.machine(f"n{number}") for number in range(20)]
        self.world.advance(70)
        lucky = [machine for machine in machines if machine.part.cidrs]
        self.assertEqual(len(lucky), 15)
        self.assertEqual(len({machine.part.cidrs for machine in lucky}), 15)
        self.assertEqual({machine.name: machine.carries for machine in lucky}, {m.name: m.part.cidrs for m in lucky})
        self.assertNotIn("10.9.0.0/28", self.claimed())
        for machine in machines:
            if machine not in lucky:
                self.assertEqual(machine.carries, ())
                self.assertEqual(
                    list(machine.part.alarms),
                    [
                        (
                            "pod CIDR: no /28 of 10.9.0.0/24 is free: 15 for nodes, all taken; this node has none, "
                            "until one is free or network.podCIDR.base is larger"
                        )
                    ],
                )
                self.assertIn("no /28 of 10.9.0.0/24 is free", machine.part.word)

    def test_where_nothing_says_that_there_are_pods_a_node_without_a_cidr_is_no_alarm(self):
        self.machine("n1", base="", per_node="/17")
        late = self.machine("n2", base="", per_node="/17")
        self.world.advance(70)
        self.assertEqual((late.part.cidrs, list(late.part.alarms)), ((), []))
        self.assertIn("no /17 of 10.244.0.0/16 is free", late.part.word)
        late.wrong = ConfigError("podCIDR", "broken", "file")
        late.part.kick()
        self.world.advance(1)
        self.assertEqual(list(late.part.alarms), ["pod CIDR: file: podCIDR: broken"])

    def test_a_node_that_restarts_keeps_its_own_also_when_it_was_not_the_hashed_one(self):
        machines = [self.machine(f"n{number}") for number in range(15)]
        self.world.advance(5)
        moved = next(m for m in machines if m.part.cidrs != tuple(map(str, m.part.answer.cidrs)))
        before = moved.part.cidrs
        other = next(m for m in machines if (str(moved.part.answer.cidrs[0]),) == m.part.cidrs)
        moved.stop()
        self.store.release(next(c for c in self.store.claims() if c.owner == other.name))  # the hashed one is free now
        other.stop()
        again = self.machine(moved.name)
        self.world.advance(5)
        self.assertEqual(again.part.cidrs, before)
        self.assertEqual(again.carries, before)

    def test_what_the_stored_node_says_is_claimed_where_the_claims_were_lost(self):
        machines = [self.machine(f"n{number}") for number in range(15)]
        self.world.advance(5)
        before = {machine.name: machine.part.cidrs for machine in machines}
        for claim in self.store.claims():
            self.store.release(claim)
        self.world.advance(65)
        self.assertEqual({machine.name: machine.part.cidrs for machine in machines}, before)
        self.assertEqual(self.claimed(), {cidrs[0]: name for name, cidrs in before.items()})

    def test_a_cidr_of_the_controllers_node_is_left_to_it_also_one_that_comes_later(self):
        taken = str(find(Asked("n1", read_documents, {}, root="/nowhere", base="10.9.0.0/24", per_node="/28")).cidrs[0])
        self.world.foreign.put(self.foreign("cp", taken))
        n1 = self.machine("n1")
        self.world.advance(5)
        self.assertNotEqual(n1.part.cidrs, (taken,))
        first = n1.part.cidrs
        self.world.foreign.put(self.foreign("cp2", *first))
        self.relist()
        self.assertNotIn(n1.part.cidrs, ((), (taken,), first))
        self.assertEqual(n1.carries, n1.part.cidrs)
        self.assertIn(f"Claimed Pod CIDR {n1.part.cidrs[0]}", n1.part.word)
        self.world.advance(130)
        self.assertEqual(self.claimed(), {n1.part.cidrs[0]: "n1"})

    def test_a_node_that_is_the_controllers_is_neither_claimed_for_nor_written(self):
        self.world.foreign.put(self.foreign("n1", "10.77.5.0/24"))
        before = self.world.foreign.raw("n1")
        n1 = self.machine("n1", node_local="10.9.0.16/28")
        self.world.advance(200)
        self.assertEqual(n1.part.cidrs, ("10.77.5.0/24",))
        self.assertEqual(self.claimed(), {})
        self.assertEqual(self.world.foreign.raw("n1"), before)
        self.assertEqual(list(n1.part.alarms), [])

    def test_a_controller_that_takes_the_node_and_gives_it_back_leaves_the_claims_right(self):
        n1 = self.machine("n1")
        self.world.advance(5)
        ours, claims = self.world.node("n1").manifest, self.claimed()
        theirs = self.foreign("n1", "10.77.5.0/24")
        theirs["spec"]["podCIDRs"] = ["10.77.5.0/24", "10.77.6.0/24", "2001:db8::/64"]
        self.world.foreign.put(theirs)
        self.relist()
        self.assertEqual(n1.part.cidrs, ("10.77.5.0/24", "10.77.6.0/24", "2001:db8::/64"))
        self.assertEqual(n1.carries, n1.part.cidrs)
        self.world.foreign.put(ours)
        self.relist()
        self.assertEqual({n1.part.cidrs[0]: "n1"}, claims)
        self.assertEqual((self.claimed(), n1.carries), (claims, n1.part.cidrs))
        self.assertIsNone(n1.part.failing_since)

    def test_what_a_node_was_given_holds_at_once_and_without_the_store(self):
        n1 = Machine(self.world, "n1", node_local="10.9.0.32/28")
        n1.wire.down = True
        self.world.clock.advance(0)
        self.assertEqual(n1.part.cidrs, ("10.9.0.32/28",))

    def test_who_was_given_a_cidr_has_it_from_who_only_chose_it(self):
        n1 = self.machine("n1")
        self.world.advance(5)
        [chosen] = n1.part.cidrs
        n2 = self.machine("n2", node_local=chosen)
        self.world.advance(5)
        self.assertEqual((n2.part.cidrs, self.claimed()), ((chosen,), {chosen: "n2"}))
        self.world.advance(60)
        self.assertNotIn(n1.part.cidrs, ((), (chosen,)))
        self.assertEqual((n1.carries, n2.carries), (n1.part.cidrs, (chosen,)))
        self.relist()
        self.assertEqual(self.conflict("n2") in (None, ("False", "no other node has it")), True)

    def test_two_that_were_given_the_same_are_both_told(self):
        n1, n2 = (self.machine(name, node_local="10.9.0.32/28") for name in ("n1", "n2"))
        self.world.advance(5)
        self.assertEqual((n1.part.cidrs, n2.part.cidrs), (("10.9.0.32/28",), ("10.9.0.32/28",)))
        self.assertEqual(
            list(n2.part.alarms),
            ["pod CIDR: 10.9.0.32/28 is held by 'n1', to which it was given as to this node"],
        )
        self.relist()
        self.assertEqual(self.conflict("n1"), ("True", "10.9.0.32/28 is also node n2's"))
        self.assertEqual(self.conflict("n2"), ("True", "10.9.0.32/28 is also node n1's"))
        for machine in (n1, n2):
            self.assertIn("10.9.0.32/28 is also node", " ".join(machine.daemon.reconciler.alarms))
        n2.settings["node_local"] = "10.9.0.48/28"
        self.relist()
        self.relist()
        self.assertEqual([self.conflict(name)[0] for name in ("n1", "n2")], ["False", "False"])
        self.assertEqual(list(n2.part.alarms), [])
        self.assertEqual(list(n1.daemon.reconciler.alarms), [])
        self.assertEqual(self.claimed(), {"10.9.0.32/28": "n1", "10.9.0.48/28": "n2"})

    def test_a_subnet_of_a_node_that_is_gone_is_taken_over_when_no_other_is_left(self):
        machines = [self.machine(f"n{number}") for number in range(15)]
        self.world.advance(5)
        gone, silent = machines[:2]
        for machine in machines:
            machine.stop()
        late = self.machine("late")
        self.world.advance(200)
        self.assertEqual(late.part.cidrs, ())  # all of them have Nodes
        self.world.foreign.delete(gone.name)
        self.world.advance(11 * 60)
        self.world.advance(300)
        self.assertEqual(late.part.cidrs, gone.part.cidrs)
        self.assertEqual(late.carries, gone.part.cidrs)
        self.assertEqual(self.claimed()[silent.part.cidrs[0]], silent.name)
        self.assertEqual(list(late.part.alarms), [])

    def test_who_lost_its_claim_chooses_anew(self):
        n1 = self.machine("n1")
        self.world.advance(5)
        [claim] = self.store.claims()
        self.store.claim(Claim(claim.subnet, "n2"), claim.version)
        self.world.advance(61)
        self.assertNotIn(n1.part.cidrs, ((), (claim.subnet,)))
        self.assertEqual(n1.carries, n1.part.cidrs)

    def test_the_record_of_who_lost_its_claim_says_no_cidr_when_no_other_is_left(self):
        machines = [self.machine(f"n{number}") for number in range(15)]
        self.world.advance(70)
        loser = machines[3]
        before = loser.part.cidrs
        record = json.loads(self.world.foreign.raw(loser.name))
        record["spec"]["unschedulable"] = True
        self.world.foreign.put(record)
        claim = next(claim for claim in self.store.claims() if claim.owner == loser.name)
        self.store.claim(Claim(claim.subnet, "another"), claim.version)
        self.world.advance(61)
        self.assertEqual((loser.part.cidrs, loser.carries), ((), ()))
        self.assertEqual(self.world.node(loser.name).manifest["spec"], {"unschedulable": True})
        [claim] = [claim for claim in self.store.claims() if claim.owner == "another"]
        self.store.release(claim)
        self.world.advance(65)
        self.assertEqual((loser.part.cidrs, loser.carries), (before, before))

    def test_a_node_that_has_not_looked_yet_leaves_its_record_as_it_is(self):
        n1 = self.machine("n1")
        self.world.advance(5)
        before = n1.carries
        n1.stop()
        again = self.machine("n1")
        again.wrong = ConfigError("podCIDR", "broken", "file")
        again.part.answer, again.part.cidrs = None, ()
        again.part.kick()
        self.world.advance(70)
        self.assertEqual((again.part.told, again.carries), (None, before))

    def test_nodes_that_cut_the_cluster_differently_do_not_overlap(self):
        machines = [self.machine(f"n{number}", per_node=f"/{26 + number % 3}") for number in range(8)]
        self.world.advance(70)
        nets = [(m.name, m.part.answer.sizes, net) for m in machines for net in m.part.cidrs]
        self.assertGreater(len(nets), 3)
        for (_, _, one), (_, _, other) in combinations(nets, 2):
            self.assertFalse(ip_network(one).overlaps(ip_network(other)), (one, other))

    def test_one_of_each_family(self):
        machines = [self.machine(f"n{number}", base="10.9.0.0/24,2001:db8::/60") for number in range(15)]
        self.world.advance(5)
        self.assertEqual({len(machine.part.cidrs) for machine in machines}, {2})
        self.assertEqual(len({cidr for machine in machines for cidr in machine.part.cidrs}), 30)
        self.assertEqual(machines[0].carries, machines[0].part.cidrs)

    def test_while_the_store_is_away_all_stays_and_after_it_all_is_looked_at(self):
        n1 = self.machine("n1")
        self.world.advance(5)
        held = n1.part.cidrs
        n1.wire.down = True
        self.world.advance(200)
        self.assertEqual(n1.part.cidrs, held)
        self.assertIsNotNone(n1.part.failing_since)
        n1.wire.down = False
        self.world.advance(10)
        self.assertIsNone(n1.part.failing_since)
        self.assertEqual(n1.part.cidrs, held)

    def test_a_source_that_is_wrong_is_an_alarm_and_what_was_good_before_stands(self):
        wrong = ConfigError("podCIDR", "host bits are set in 'x\x1b\u202e'", "/var/lib/kubelet/config.yaml")
        n1 = Machine(self.world, "n1")
        n1.wrong = wrong
        self.world.advance(5)
        self.assertEqual(n1.part.cidrs, ())
        self.assertEqual(list(n1.part.alarms), [f"pod CIDR: {wrong}"])
        self.assertTrue(n1.part.word.isprintable())
        n1.wrong = None
        self.world.advance(61)
        held = n1.part.cidrs
        self.assertEqual((len(held), list(n1.part.alarms)), (1, []))
        n1.wrong = wrong
        self.world.advance(61)
        self.assertEqual((n1.part.cidrs, len(list(n1.part.alarms))), (held, 1))

    def test_another_answer_is_another_claim_and_the_old_one_is_let_go(self):
        n1 = self.machine("n1")
        self.world.advance(5)
        n1.settings["node_local"] = "10.9.0.192/28"
        self.world.advance(200)
        self.assertEqual((n1.part.cidrs, n1.carries), (("10.9.0.192/28",), ("10.9.0.192/28",)))
        self.assertEqual(self.claimed(), {"10.9.0.192/28": "n1"})
        self.assertTrue(self.store.claims()[0].exact)

    def test_who_has_nothing_new_to_say_asks_little(self):
        n1 = self.machine("n1")
        self.world.advance(200)
        before = len(n1.wire.calls)
        self.world.advance(120)
        asked = n1.wire.calls[before:]
        self.assertEqual(asked.count("claim"), 2)
        self.assertEqual(asked.count("claims"), 0)

    def test_what_is_said_is_explained(self):
        machines = [self.machine(f"n{number}") for number in range(16)]
        self.world.advance(70)
        for machine in machines:
            peer, now = machine.daemon.table.get(machine.name), self.world.clock.seconds()
            stored = self.world.node(machine.name)
            rows = explain(stored, peer.observations, stored, now, observer=machine.name)
            [row] = [row for row in rows if row.field == "spec.podCIDRs"]
            self.assertEqual((row.value, row.rule), (", ".join(machine.part.cidrs), machine.part.word))
            self.assertEqual("no /28" in row.rule, not machine.part.cidrs)

    def foreign(self, name, *cidrs):
        return {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": name},
            "spec": {"podCIDR": cidrs[0], "podCIDRs": list(cidrs)},
        }
