"""What every store owes to claims on subnets; run on every driver."""

from collections.abc import Callable
from dataclasses import replace
from threading import Barrier, Thread
from typing import Any

from contracts import node
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from k3net.model.claims import Claim
from k3net.model.plan import Create
from k3net.store.claims import IClaimStore

SUBNET, OTHER = "10.244.7.0/24", "2001:db8:7::/64"


def make_claim_tests(make_store: Callable[[Any], Any]) -> type[SynchronousTestCase]:  # noqa: C901 - a suite
    """`make_store` as for `contracts.make_store_tests`."""

    class ClaimTests(SynchronousTestCase):
        def setUp(self) -> None:
            self.store, self.controller, self.another = make_store(self)

        def test_it_provides_what_it_says(self):
            verifyObject(IClaimStore, self.store)

        def test_at_first_nothing_is_claimed(self):
            self.assertEqual(self.store.claims(), [])

        def test_a_free_subnet_is_its_who_asks_first(self):
            first = self.store.claim(Claim(SUBNET, "n1"))
            self.assertEqual((first.subnet, first.owner, first.exact), (SUBNET, "n1", False))
            self.assertTrue(first.version)
            self.assertEqual(self.another().claim(Claim(SUBNET, "n2")), first)
            self.assertEqual(self.store.claims(), [first])

        def test_who_holds_it_may_ask_again_and_nothing_changes(self):
            first = self.store.claim(Claim(SUBNET, "n1"))
            self.assertEqual(self.store.claim(Claim(SUBNET, "n1")), first)
            self.assertEqual(self.store.claim(replace(first, version="")), first)

        def test_who_holds_it_may_say_that_it_is_exact(self):
            first = self.store.claim(Claim(SUBNET, "n1"))
            exact = self.store.claim(Claim(SUBNET, "n1", exact=True))
            self.assertEqual((exact.owner, exact.exact), ("n1", True))
            self.assertNotEqual(exact.version, first.version)
            self.assertEqual(self.another().claims(), [exact])

        def test_another_takes_it_only_from_the_very_claim_it_saw(self):
            first = self.store.claim(Claim(SUBNET, "n1"))
            taken = self.store.claim(Claim(SUBNET, "n2"), instead_of=first.version)
            self.assertEqual(taken.owner, "n2")
            self.assertEqual(self.store.claim(Claim(SUBNET, "n3"), instead_of=first.version), taken)
            self.store.release(taken)
            again = self.store.claim(Claim(SUBNET, "n1"))
            self.assertEqual(self.store.claim(Claim(SUBNET, "n3"), instead_of=first.version), again)
            self.assertEqual(again.owner, "n1")

        def test_to_take_one_that_is_gone_is_to_claim_it(self):
            first = self.store.claim(Claim(SUBNET, "n1"))
            self.store.release(first)
            self.assertEqual(self.store.claim(Claim(SUBNET, "n2"), instead_of=first.version).owner, "n2")

        def test_only_this_very_claim_is_released(self):
            first = self.store.claim(Claim(SUBNET, "n1"))
            self.store.release(first)
            self.store.release(first)
            self.assertEqual(self.store.claims(), [])
            second = self.store.claim(Claim(SUBNET, "n1"))
            self.assertNotEqual(second.version, first.version)
            self.store.release(first)
            self.assertEqual(self.store.claims(), [second])

        def test_subnets_of_both_families_and_all_sizes_are_told_apart(self):
            subnets = [SUBNET, OTHER, "10.244.7.0/25", "10.244.0.0/16", "::/0", "10.244.70.0/24"]
            made = [self.store.claim(Claim(subnet, f"n{at}")) for at, subnet in enumerate(subnets)]
            self.assertEqual(sorted(self.store.claims(), key=repr), sorted(made, key=repr))

        def test_the_longest_name_is_kept(self):
            name = ".".join(["n" * 63] * 3 + ["n" * 61])
            self.assertEqual(self.another().claim(self.store.claim(Claim(OTHER, name))).owner, name)

        def test_claims_are_no_nodes(self):
            self.store.claim(Claim(SUBNET, "n1"))
            self.assertEqual(self.store.list(), [])
            self.store.apply([Create(node("n1"))])
            self.assertEqual(len(self.store.claims()), 1)
            self.assertEqual(len(self.store.list()), 1)

        def test_of_many_who_ask_at_the_same_time_one_gets_it(self):
            stores = [self.another() for _ in range(4)]
            subnets = [f"10.244.{number}.0/24" for number in range(25)]
            together, answers = Barrier(len(stores)), {}

            def ask(number: int, store: Any) -> None:
                together.wait()
                answers[number] = [store.claim(Claim(subnet, f"n{number}")) for subnet in subnets]
                store.close()

            threads = [Thread(target=ask, args=each) for each in enumerate(stores)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(30)
            self.assertEqual(len(answers), len(stores))
            held = {claim.subnet: claim for claim in self.store.claims()}
            self.assertEqual(sorted(held), sorted(subnets))
            for told in answers.values():
                self.assertEqual([held[claim.subnet] for claim in told], told)

    return ClaimTests
