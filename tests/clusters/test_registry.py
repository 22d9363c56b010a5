"""Clusters are created, changed and deleted by compare-and-set, and their kubeconfigs are nowhere in plain text."""

from clusters.api_server import TOKEN
from clusters.world import World, config
from twisted.trial.unittest import SynchronousTestCase

from k3net.clusters.kubeconfig import BadKubeconfig
from k3net.clusters.secrets import CannotOpen, NoKey
from k3net.errors import AlreadyThere, BadRequest, Changed, NotFound, StoreUnavailable
from k3net.model.cluster import Receipt, Since


class RegistryTests(SynchronousTestCase):
    def setUp(self):
        self.world = World()
        self.registry = self.world.registry

    def create(self, name="c1", description="first", text=None):
        return self.successResultOf(self.registry.create(name, description, text or config()))

    def get(self, name="c1"):
        return self.successResultOf(self.registry.get(name))

    def test_what_one_instance_creates_another_reads_and_opens(self):
        made = self.create()
        self.assertEqual((made.description, made.created, made.updated), ("first", 1000.0, 1000.0))
        other = self.world.another()
        found = self.successResultOf(other.get("c1"))
        self.assertEqual(found, made)
        self.assertEqual(self.successResultOf(other.kubeconfig(found)).token, TOKEN)
        self.assertEqual([one.name for one in self.successResultOf(other.page()).clusters], ["c1"])
        self.assertEqual(self.successResultOf(other.changes(Since())).clusters, (made,))

    def test_the_store_and_every_text_hold_ciphertext_only(self):
        made = self.create()
        for text in (made.sealed, repr(made), repr(self.world.shared.clusters), str(made)):
            self.assertNotIn(TOKEN, text)
            self.assertNotIn("clusters:", text)
        self.assertNotIn(made.sealed, repr(made))

    def test_a_name_that_is_taken_or_none_is_refused(self):
        self.create()
        self.failureResultOf(self.registry.create("c1", "", config()), AlreadyThere)
        for name in ("C1", "", "a/b", "a" * 254, "ü"):
            self.failureResultOf(self.registry.create(name, "", config()), BadRequest)
        for description in ("x" * 1025, "a\x00b", "\ud800"):
            self.failureResultOf(self.registry.create("c2", description, config()), BadRequest)
        self.failureResultOf(self.registry.create("c2", "", "no"), BadKubeconfig)
        self.failureResultOf(self.registry.get("c2"), NotFound)

    def test_without_a_key_none_is_taken_and_those_there_are_stay(self):
        made = self.create()
        self.world.keys()
        self.failureResultOf(self.registry.create("c2", "", config()), NoKey)
        self.failureResultOf(self.registry.update("c1", kube_config=config("https://h")), NoKey)
        self.failureResultOf(self.registry.kubeconfig(made), CannotOpen)
        changed = self.successResultOf(self.registry.update("c1", description="new"))
        self.assertEqual((changed.description, changed.sealed), ("new", made.sealed))

    def test_an_update_changes_what_is_given_and_nothing_else(self):
        made = self.create()
        self.world.now = 2000.0
        new = self.successResultOf(self.registry.update("c1", description="second"))
        self.assertEqual(
            (new.description, new.sealed, new.created, new.updated), ("second", made.sealed, 1000.0, 2000.0)
        )
        newer = self.successResultOf(self.registry.update("c1", kube_config=config("https://other")))
        self.assertEqual(newer.description, "second")
        self.assertEqual(self.successResultOf(self.registry.kubeconfig(newer)).server, "https://other")
        self.assertGreater(newer.generation, new.generation)

    def test_an_update_that_changes_nothing_writes_nothing(self):
        made = self.create()
        same = self.successResultOf(self.registry.update("c1", description="first", kube_config=config()))
        self.assertEqual(same, made)

    def test_what_was_read_before_another_s_change_is_not_written_over_it(self):
        made = self.create()
        self.successResultOf(self.world.another().update("c1", description="theirs"))
        for late in (
            self.registry.update("c1", description="mine", generation=made.generation),
            self.registry.delete("c1", generation=made.generation),
        ):
            error = self.failureResultOf(late, Changed).value
            self.assertIn(f"not {made.generation}", str(error))
        self.assertEqual(self.get().description, "theirs")

    def test_a_change_between_reading_and_writing_is_not_lost(self):
        self.create()
        other = self.world.another()

        def meanwhile(verb):
            if verb == "write_cluster":
                self.world.store.before = None
                self.successResultOf(other.update("c1", kube_config=config("https://theirs")))

        self.world.store.before = meanwhile
        both = self.successResultOf(self.registry.update("c1", description="mine"))
        self.assertEqual(both.description, "mine")
        self.assertEqual(self.successResultOf(self.registry.kubeconfig(both)).server, "https://theirs")

    def test_who_is_overtaken_all_the_time_gives_up(self):
        self.create()
        other = self.world.another()
        count = iter(range(100))

        def meanwhile(verb):
            if verb == "write_cluster":
                self.successResultOf(other.update("c1", description=f"theirs {next(count)}"))

        self.world.store.before = meanwhile
        self.failureResultOf(self.registry.update("c1", description="mine"), Changed)
        self.failureResultOf(self.registry.delete("c1"), Changed)
        self.assertLess(next(count), 20)

    def test_a_deletion_is_told_to_who_reads_the_changes(self):
        made = self.create()
        start = self.successResultOf(self.registry.changes(Since()))
        gone = self.successResultOf(self.registry.delete("c1", generation=made.generation))
        self.assertTrue(gone.deleted)
        self.assertEqual(self.successResultOf(self.registry.changes(start.then)).clusters, (gone,))
        self.failureResultOf(self.registry.get("c1"), NotFound)
        self.failureResultOf(self.registry.delete("c1"), NotFound)
        self.failureResultOf(self.registry.update("c1", description=""), NotFound)

    def test_a_store_that_is_away_is_said_to_be(self):
        self.world.store.away = True
        for call in (self.registry.get("c1"), self.registry.create("c1", "", config()), self.registry.page()):
            self.failureResultOf(call, StoreUnavailable)
        self.failureResultOf(self.registry.rekey(), StoreUnavailable)

    def test_receipts_are_kept(self):
        made = self.create()
        told = Receipt("10.0.0.2:8081", made.generation, "delivered", 1)
        self.successResultOf(self.registry.add_receipts("c1", [told]))
        self.assertEqual(self.successResultOf(self.registry.receipts("c1")), (told,))


class RekeyTests(SynchronousTestCase):
    def setUp(self):
        self.world = World()
        self.registry = self.world.registry
        for at in range(3):
            self.successResultOf(self.registry.create(f"c{at}", "", config()))

    def test_all_are_sealed_with_the_first_key_and_the_old_one_may_go(self):
        self.world.keys(b"n" * 32, bytes(range(32)))
        self.assertEqual(self.successResultOf(self.registry.rekey()), (3, {}))
        self.assertEqual(self.successResultOf(self.registry.rekey()), (0, {}))
        self.world.keys(b"n" * 32)
        for at in range(3):
            found = self.successResultOf(self.registry.get(f"c{at}"))
            self.assertEqual(self.successResultOf(self.registry.kubeconfig(found)).token, TOKEN)

    def test_one_that_cannot_be_opened_is_named_and_the_others_are_done(self):
        self.world.keys(b"l" * 32)
        self.successResultOf(self.registry.create("lost", "", config()))
        self.world.keys(b"n" * 32, bytes(range(32)))
        done, failed = self.successResultOf(self.registry.rekey())
        self.assertEqual((done, list(failed)), (3, ["lost"]))
        self.assertIn("which no file of clusters.key_files has", failed["lost"])

    def test_a_change_at_the_same_time_is_not_lost(self):
        self.world.keys(b"n" * 32, bytes(range(32)))
        other = self.world.another()

        def meanwhile(verb):
            if verb == "write_cluster":
                self.world.store.before = None
                self.successResultOf(other.update("c0", description="theirs"))
                self.successResultOf(other.delete("c1"))

        self.world.store.before = meanwhile
        self.assertEqual(self.successResultOf(self.registry.rekey()), (2, {}))
        self.assertEqual(self.successResultOf(self.registry.get("c0")).description, "theirs")

    def test_without_a_key_nothing_is_begun(self):
        self.world.keys()
        self.failureResultOf(self.registry.rekey(), NoKey)
