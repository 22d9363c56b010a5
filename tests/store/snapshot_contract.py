"""What every store owes to snapshots; run on every driver."""

import random
from collections.abc import Callable
from threading import Thread
from typing import Any

from contracts import node
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from k3net.model.plan import Create
from k3net.store.snapshots import KEPT_FOR, MOST_BYTES, MOST_KEPT, PART, ISnapshotStore, Snapshot

NOW = 1_795_198_547.25


def noise(size: int) -> bytes:
    """Every byte there is, also those that SQL has to escape."""
    return random.Random(size).randbytes(size)


def make_snapshot_tests(make_store: Callable[[Any], Any]) -> type[SynchronousTestCase]:  # noqa: C901 - a suite
    """`make_store` as for `contracts.make_store_tests`."""

    class SnapshotTests(SynchronousTestCase):
        def setUp(self) -> None:
            self.store, self.controller, self.another = make_store(self)

        def names(self) -> "list[str]":
            return [snapshot.name for snapshot in self.another().snapshots()]

        def test_it_provides_what_it_says(self):
            verifyObject(ISnapshotStore, self.store)

        def test_at_first_there_is_none(self):
            self.assertEqual((self.store.snapshots(), self.store.snapshot("a")), ([], None))

        def test_another_reads_what_was_saved_byte_for_byte(self):
            for body in (b"", b"x", noise(70_000), bytes(range(256)) * 10):
                self.store.save_snapshot("a", body, NOW)
                self.assertEqual(self.another().snapshot("a"), body)
            self.assertEqual(self.another().snapshots(), [Snapshot("a", NOW)])

        def test_one_of_many_parts_is_whole_also_where_a_longer_one_was(self):
            for size in (3 * PART + 7, PART + 1, 2 * PART, PART, 5):
                self.store.save_snapshot("a", noise(size), NOW + size)
                self.assertTrue(self.another().snapshot("a") == noise(size), size)
            self.assertEqual(self.store.snapshots(), [Snapshot("a", NOW + 5)])

        def test_the_newest_comes_first_whoever_saved_it(self):
            for at, name in enumerate("bca"):
                self.store.save_snapshot(name, name.encode(), NOW + at)
            self.assertEqual(self.names(), ["a", "c", "b"])
            self.store.save_snapshot("b", b"new", NOW + 9)
            self.assertEqual(self.names(), ["b", "a", "c"])
            self.assertEqual([self.store.snapshot(name) for name in "abc"], [b"a", b"new", b"c"])

        def test_the_oldest_gives_way_when_there_are_many(self):
            for at in range(MOST_KEPT + 3):
                self.store.save_snapshot(f"n{at}", noise(PART + at), NOW + at)
            self.assertEqual(self.names(), [f"n{at}" for at in range(MOST_KEPT + 2, 2, -1)])
            self.assertIsNone(self.store.snapshot("n0"))
            for at in range(3, MOST_KEPT + 3):
                self.assertTrue(self.store.snapshot(f"n{at}") == noise(PART + at), at)

        def test_what_is_old_goes_when_another_is_saved(self):
            self.store.save_snapshot("a", b"a", NOW)
            self.store.save_snapshot("b", b"b", NOW + 2)
            self.store.save_snapshot("c", b"c", NOW + KEPT_FOR + 1)
            self.assertEqual(self.names(), ["c", "b"])
            self.store.save_snapshot("c", b"c", NOW + 3 * KEPT_FOR)
            self.assertEqual((self.names(), self.store.snapshot("b")), (["c"], None))

        def test_what_is_too_large_or_has_no_name_is_refused_and_leaves_what_is_there(self):
            self.store.save_snapshot("a", b"a", NOW)
            for name, body in (("a", bytes(MOST_BYTES + 1)), ("", b""), ("a/b", b""), ("a\0", b""), ("ä", b"")):
                with self.assertRaises(ValueError):
                    self.store.save_snapshot(name, body, NOW + 1)
            self.assertEqual((self.names(), self.store.snapshot("a")), (["a"], b"a"))

        def test_a_name_may_be_long_and_another_begin_with_it(self):
            long = ".".join(["n" * 63] * 3 + ["n" * 61])
            for at, name in enumerate(("n", long, "n.n", "n-n")):
                self.store.save_snapshot(name, name.encode(), NOW + at)
            self.store.save_snapshot("n", b"again", NOW + 9)
            self.assertEqual(self.store.snapshot(long), long.encode())
            self.assertEqual([self.store.snapshot(name) for name in ("n", "n.n", "n-n")], [b"again", b"n.n", b"n-n"])

        def test_snapshots_are_no_nodes_and_touch_none(self):
            self.store.apply([Create(node("n1"))])
            before = self.controller.raw("n1")
            for at in range(MOST_KEPT + 1):
                self.store.save_snapshot(f"n{at}", b"x", NOW + at)
            self.assertEqual([found.name for found in self.store.list()], ["n1"])
            self.assertEqual(self.controller.raw("n1"), before)
            self.assertEqual(self.store.check(), "")

        def test_of_those_who_save_at_the_same_time_none_destroys_another_and_all_that_is_read_is_whole(self):
            failures: list[Exception] = []

            def save(store: Any, name: str, fill: bytes) -> None:
                try:
                    for turn in range(6):
                        store.save_snapshot(name, fill * (2 * PART + turn), NOW + turn)
                except Exception as error:
                    failures.append(error)
                finally:
                    store.close()

            saves = [("a", b"1"), ("a", b"2"), ("b", b"3")]
            threads = [Thread(target=save, args=(self.another(), *each)) for each in saves]
            reader, read = self.another(), 0
            for thread in threads:
                thread.start()
            while any(thread.is_alive() for thread in threads) and not failures:
                body = reader.snapshot("a")
                read += body is not None
                self.assertTrue(body is None or (body.strip(body[:1]) == b"" and len(body) >= 2 * PART))
            for thread in threads:
                thread.join(30)
            self.assertEqual((failures, self.names()[0] in "ab", sorted(self.names())), ([], True, ["a", "b"]))
            self.assertTrue(self.store.snapshot("b") == b"3" * (2 * PART + 5))
            self.assertTrue(self.store.snapshot("a") in [fill * (2 * PART + 5) for fill in (b"1", b"2")])

    return SnapshotTests
