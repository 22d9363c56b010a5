"""What every driver owes clusters: written once, run on each."""

from dataclasses import replace
from typing import Any
from unittest.mock import patch

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from k3net.model import cluster as model
from k3net.model.cluster import (
    LONGEST_DESCRIPTION,
    LONGEST_SEALED,
    Changes,
    Cluster,
    CreateCluster,
    DeleteCluster,
    Impossible,
    Receipt,
    Since,
    Stale,
    UpdateCluster,
    Written,
)
from k3net.store.clusters import IClusterStore


def cluster(name: str, **parts: Any) -> Cluster:
    return Cluster(
        name, f"uid-{name}"[:64], 0, **{"description": "é\u2028'\"", "sealed": "k1:abc", "created": 1.5, **parts}
    )


def make_cluster_tests(make_store: Any) -> type[SynchronousTestCase]:  # noqa: C901 - a suite
    """The suite; `make_store(case)` is that of `contracts.make_store_tests`."""

    class ClusterTests(SynchronousTestCase):
        def setUp(self) -> None:
            self.store, _, another = make_store(self)
            self.other = another()

        def create(self, name: str, **parts: Any) -> Cluster:
            return self.written(CreateCluster(cluster(name, **parts)))

        def written(self, step: Any) -> Cluster:
            outcome = self.store.write_cluster(step)
            self.assertIsInstance(outcome, Written, repr(outcome))
            return outcome.cluster

        def delete(self, stored: Cluster, now: float = 9.0) -> Cluster:
            return self.written(DeleteCluster(stored, now))

        def all_changes(self, since: Since, limit: int = 100) -> "list[Changes]":
            parts = [self.other.cluster_changes(since, limit)]
            while parts[-1].more:
                parts.append(self.other.cluster_changes(parts[-1].then, limit))
            return parts

        def test_a_driver_keeps_clusters(self) -> None:
            verifyObject(IClusterStore, self.store)

        def test_an_empty_store_has_none(self) -> None:
            self.assertEqual(self.store.clusters("", 10).clusters, ())
            self.assertIsNone(self.store.cluster("c1"))
            self.assertEqual(self.store.cluster_changes(Since(), 10).clusters, ())
            self.assertEqual(self.store.receipts("c1"), ())

        def test_what_was_created_is_read_by_another_as_it_was_written(self) -> None:
            made = self.create("c1", updated=2.25)
            self.assertGreater(made.generation, 0)
            self.assertEqual(made, replace(cluster("c1", updated=2.25), generation=made.generation))
            self.assertEqual(self.other.cluster("c1"), made)
            self.assertEqual(self.other.clusters("", 10).clusters, (replace(made, sealed=""),))

        def test_a_name_is_created_once(self) -> None:
            made = self.create("c1")
            again = CreateCluster(replace(cluster("c1"), uid="another"))
            self.assertIsInstance(self.other.write_cluster(again), Stale)
            self.assertEqual(self.store.cluster("c1"), made)

        def test_an_update_gives_a_newer_generation_and_keeps_when_it_was_created(self) -> None:
            made = self.create("c1")
            wanted = replace(made, description="new", sealed="k2:x", created=77.0, updated=3.0)
            new = self.written(UpdateCluster(wanted))
            self.assertGreater(new.generation, made.generation)
            self.assertEqual(new, replace(wanted, created=1.5, generation=new.generation))
            self.assertEqual(self.other.cluster("c1"), new)

        def test_what_was_planned_against_another_generation_or_uid_is_stale(self) -> None:
            made = self.create("c1")
            new = self.written(UpdateCluster(replace(made, description="new")))
            for held in (made, replace(new, uid="another"), replace(new, generation=new.generation + 1)):
                for step in (UpdateCluster(held), DeleteCluster(held, 5.0)):
                    outcome = self.other.write_cluster(step)
                    self.assertIsInstance(outcome, Stale)
                    self.assertEqual(outcome.stored.generation, new.generation)
            self.assertEqual(self.store.cluster("c1"), new)

        def test_what_is_not_there_is_neither_updated_nor_deleted(self) -> None:
            for step in (UpdateCluster(cluster("c1")), DeleteCluster(cluster("c1"), 5.0)):
                self.assertEqual(self.store.write_cluster(step), Stale("c1", None))

        def test_a_deleted_cluster_is_gone_and_a_new_one_may_have_its_name(self) -> None:
            made = self.create("c1")
            gone = self.delete(made)
            self.assertTrue(gone.deleted)
            self.assertEqual(gone.sealed, "")
            self.assertGreater(gone.generation, made.generation)
            self.assertIsNone(self.other.cluster("c1"))
            self.assertEqual(self.other.clusters("", 10).clusters, ())
            self.assertEqual(self.store.write_cluster(UpdateCluster(made)), Stale("c1", None))
            self.assertEqual(self.store.write_cluster(DeleteCluster(gone, 5.0)), Stale("c1", None))
            new = self.create("c1", description="another")
            self.assertGreater(new.generation, gone.generation)
            self.assertEqual(self.other.cluster("c1"), new)
            self.assertEqual([c.deleted for c in self.all_changes(Since())[0].clusters], [False])

        def test_pages_are_in_the_order_of_names_and_join_without_gap(self) -> None:
            names = ["a", "a-1", "a.b", "a1", "b", "c-9", "z"]
            for name in reversed(names):
                self.create(name)
            self.delete(self.store.cluster("b"))
            found, after = [], ""
            for _ in range(9):
                page = self.other.clusters(after, 2)
                self.assertLessEqual(len(page.clusters), 2)
                found += [c.name for c in page.clusters]
                after = page.after
                if not after:
                    break
            self.assertEqual(found, sorted(set(names) - {"b"}))
            self.assertEqual([c.name for c in self.store.clusters("a-5", 9).clusters], ["a.b", "a1", "c-9", "z"])
            self.assertEqual(self.store.clusters("é", 9).clusters, ())
            self.assertEqual(len(self.store.clusters("", 10**9).clusters), 6)

        def test_changes_since_a_generation_are_those_and_no_others(self) -> None:
            made = {name: self.create(name) for name in ("c1", "c2", "c3")}
            start = self.other.cluster_changes(Since(), 100)
            self.assertTrue(start.from_start)
            self.assertEqual(start.clusters, tuple(made.values()))
            self.assertEqual(self.other.cluster_changes(start.then, 100).clusters, ())
            new = self.written(UpdateCluster(replace(made["c1"], description="new")))
            gone = self.delete(made["c2"])
            later = self.other.cluster_changes(start.then, 100)
            self.assertEqual(later.clusters, (new, gone))
            self.assertFalse(later.from_start)
            self.assertFalse(later.more)
            self.assertEqual(self.other.cluster_changes(later.then, 100).clusters, ())

        def test_changes_come_in_parts_that_join_without_gap(self) -> None:
            made = [self.create(f"c{at}") for at in range(7)]
            gone = self.delete(made[2])
            parts = self.all_changes(Since(), 3)
            self.assertEqual([part.from_start for part in parts], [True, False, False])
            self.assertEqual([c for part in parts for c in part.clusters], [*made[:2], *made[3:], gone])

        def test_who_comes_from_another_life_of_the_store_begins_anew(self) -> None:
            made = self.create("c1")
            found = self.other.cluster_changes(Since(made.generation + 10**6), 100)
            self.assertTrue(found.from_start)
            self.assertEqual(found.clusters, (made,))

        def test_of_many_deletions_the_oldest_are_forgotten_and_who_missed_them_begins_anew(self) -> None:
            with patch.object(model, "TOMBSTONES_KEPT", 2):
                kept = [self.create(f"kept{at}") for at in range(3)]
                doomed = [self.create(f"doomed{at}") for at in range(4)]
                seen = self.other.cluster_changes(Since(), 100).then
                gone = [self.delete(one) for one in doomed]
            told = self.other.cluster_changes(Since(gone[1].generation), 100)
            self.assertEqual((told.clusters, told.from_start), (tuple(gone[2:]), False))
            parts = self.all_changes(seen, 2)
            self.assertEqual([part.from_start for part in parts], [True, False, False])
            self.assertEqual([c for part in parts for c in part.clusters], [*kept, *gone[2:]])
            self.assertEqual(self.store.receipts("doomed0"), ())

        def test_what_cannot_be_stored_is_impossible_and_changes_nothing(self) -> None:
            wrong = [
                cluster("C1"),
                cluster("a/b"),
                cluster(""),
                cluster("c" * 254),
                cluster("\ud800"),
                replace(cluster("c1"), uid=""),
                cluster("c1", description="x" * (LONGEST_DESCRIPTION + 1)),
                cluster("c1", sealed="x" * (LONGEST_SEALED + 1)),
                cluster("c1", sealed="é"),
            ]
            for one in wrong:
                self.assertIsInstance(self.store.write_cluster(CreateCluster(one)), Impossible, repr(one))
            self.assertEqual(self.store.cluster_changes(Since(), 100).clusters, ())
            for name in ("C1", "a/b", "", "\ud800"):
                self.assertIsNone(self.store.cluster(name))

        def test_the_longest_name_and_kubeconfig_there_may_be_are_kept(self) -> None:
            name = ".".join(["x" * 63] * 3 + ["y" * 61])
            made = self.create(name, sealed="s" * LONGEST_SEALED, description="é" * LONGEST_DESCRIPTION)
            self.assertEqual(self.other.cluster(name), made)

        def test_there_is_a_most_there_can_be(self) -> None:
            with patch.object(model, "MOST_CLUSTERS", 2):
                self.create("c1")
                self.delete(self.create("c2"))
                self.create("c3")
                self.assertIsInstance(self.store.write_cluster(CreateCluster(cluster("c4"))), Impossible)

        def test_receipts_are_one_for_each_instance_the_newest(self) -> None:
            made = self.create("c1")
            first = [Receipt("10.0.0.1:8080", made.generation, "failed", 3, "refused 'é'", 1.0)]
            self.store.add_receipts("c1", first)
            self.assertEqual(self.other.receipts("c1"), tuple(first))
            self.other.add_receipts(
                "c1", [replace(first[0], state="delivered", at=2.0), Receipt("[::1]:1", 1, "failed")]
            )
            self.store.add_receipts("c1", first)
            self.assertEqual([r.state for r in self.store.receipts("c1")], ["delivered", "failed"])
            self.assertEqual(self.store.cluster("c1"), made)
            self.assertEqual(self.store.receipts("c2"), ())
            self.store.add_receipts("c2", first)
            self.assertEqual(self.store.receipts("c2"), ())

        def test_receipts_outlive_a_deletion_and_not_the_next_creation(self) -> None:
            made = self.create("c1")
            gone = self.delete(made)
            told = Receipt("i1", gone.generation, "delivered", 1)
            self.store.add_receipts("c1", [told])
            self.assertEqual(self.store.receipts("c1"), (told,))
            self.create("c1")
            self.assertEqual(self.store.receipts("c1"), ())

        def test_nodes_and_clusters_know_nothing_of_each_other(self) -> None:
            from contracts import Create, node

            self.create("c1")
            self.store.apply([Create(node("c1")), Create(node("n1"))])
            self.assertEqual(sorted(record.name for record in self.store.list()), ["c1", "n1"])
            self.assertEqual([c.name for c in self.store.clusters("", 9).clusters], ["c1"])
            self.assertEqual(self.store.check(), "")

    return ClusterTests
