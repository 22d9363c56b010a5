"""What every implementation owes: suites written once, run on each driver and each fake."""

import json
from copy import deepcopy
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from k3net.errors import CorruptRecord
from k3net.model.node import MANAGED, Node
from k3net.model.plan import Create, Update, plan
from k3net.store.interface import Conflict, Done, IStore, Refused


def manifest_of(name: str, *, managed: Any = "true", **annotations: str) -> dict[str, Any]:
    """A v1 Node as k3net writes it, `managed` its label (None: no such label)."""
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "uid": f"node-{name}",
            "labels": {"kubernetes.io/hostname": name, **({} if managed is None else {MANAGED: managed})},
            "annotations": annotations,
        },
        "spec": {},
        "status": {"phase": "Running", "addresses": [], "conditions": [{"type": "Ready", "status": "True"}]},
    }


def node(name: str, **parts: Any) -> Node:
    return Node(name, manifest_of(name, **parts))


NOT_MANAGED = [
    manifest_of("n1", managed=None),
    *(manifest_of("n1", managed=label) for label in ("True", "TRUE", "false", "", "true ", "1")),
    {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1", "labels": None}},
    {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}},
    {"metadata": {"name": "n1", "annotations": {MANAGED: "true"}}},
]
CORRUPT = [
    b"",
    b"not json",
    b"null",
    b"[]",
    b'{"metadata":{"name":"n1"',
    b'{"metadata":{"name":"n2","labels":{"k3.network/managed":"true"}}}',
    b'{"metadata":{"name":"n1","labels":{"k3.network/managed":true}}}',
    b'{"metadata":{"name":"n1","labels":{"k3.network/managed":"true"}},"x":NaN}',
    b'{"metadata":{"name":"n1","labels":{"k3.network/managed":"true","k3.network/managed":"true"}}}',
    b'{"metadata":{"name":"n1","labels":{"k3.network/managed":"true"}},"x":"\\ud800"}',
    b'{"metadata":{"name":"n1","labels":{"k3.network/managed":"true"}},"x":"\xff"}',
    b'{"metadata":{"name":"n1","labels":{"k3.network/managed":"true"}},"x":' + b"[" * 5000 + b"]" * 5000 + b"}",
]
UNKNOWN = (
    '{"zeta":1,"alpha":[true,null,{}],"big":123456789012345678901234567890,"exact":0.1000000000000000055511151231257827,'
    '"huge":1e400,"tiny":5e-324,"whole":1.0,"text":"é\\u2028\\u0000😀 \\u003c\\/>","metadata":{"name":"n1",'
    '"generation":9007199254740993,"labels":{"k3.network\\/managed":"true","b":"2","a":"1"}},"spec":{"taints":[{"key":"x"}]}}'
)


def make_store_tests(make_store: Any) -> type[SynchronousTestCase]:  # noqa: C901 - a suite
    """The suite that every driver of IStore passes.

    `make_store(case)` gives a store, a controller that shares its records (see tests/store/controllers.py), and
    what opens another store on the same records, as another process would. It cleans up through `case.addCleanup`.
    """

    class StoreTests(SynchronousTestCase):
        def setUp(self) -> None:
            self.store, self.controller, self.another = make_store(self)

        def listed(self) -> dict[str, Any]:
            return {record.name: record for record in self.store.list()}

        def created(self, *names: str) -> list[Node]:
            for outcome in self.store.apply([Create(node(name)) for name in names]):
                self.assertIsInstance(outcome, Done)
            return [self.store.get(name) for name in names]

        def test_it_provides_the_interface(self):
            self.assertTrue(verifyObject(IStore, self.store))

        def test_a_new_store_is_empty(self):
            self.assertEqual((self.store.list(), self.store.get("n1")), ([], None))

        def test_no_steps_have_no_outcomes(self):
            self.assertEqual(self.store.apply([]), [])

        def test_what_is_created_is_read_back_with_the_version_it_was_given(self):
            [done] = self.store.apply([Create(node("n1", port="1"))])
            self.assertIsInstance(done, Done)
            stored = self.store.get("n1")
            self.assertEqual((stored.manifest, stored.version), (manifest_of("n1", port="1"), done.version))
            self.assertEqual(self.store.list(), [stored])

        def test_a_node_is_created_only_if_there_is_none(self):
            self.created("n1")
            self.assertEqual(self.store.apply([Create(node("n1", port="2"))]), [Conflict("n1")])
            self.assertEqual(self.store.get("n1").manifest, manifest_of("n1"))

        def test_a_node_is_not_created_over_a_controllers(self):
            self.controller.put(manifest_of("n1", managed=None))
            before = self.controller.raw("n1")
            self.assertEqual(self.store.apply([Create(node("n1"))]), [Conflict("n1")])
            self.assertEqual(self.controller.raw("n1"), before)

        def test_an_update_planned_against_the_stored_version_is_done(self):
            [have] = self.created("n1")
            [done] = self.store.apply([Update(node("n1", port="1"), have.version)])
            self.assertNotEqual(done.version, have.version)
            stored = self.store.get("n1")
            self.assertEqual((stored.manifest, stored.version), (manifest_of("n1", port="1"), done.version))

        def test_an_update_that_changes_nothing_is_done_with_a_new_version(self):
            [have] = self.created("n1")
            [done] = self.store.apply([Update(have, have.version)])
            self.assertNotEqual(done.version, have.version)
            self.assertEqual(self.store.get("n1").version, done.version)

        def test_an_update_planned_against_an_old_version_conflicts(self):
            [have] = self.created("n1")
            self.store.apply([Update(node("n1", port="1"), have.version)])
            self.assertEqual(self.store.apply([Update(node("n1", port="2"), have.version)]), [Conflict("n1")])
            self.assertEqual(self.store.get("n1").annotations, {"port": "1"})

        def test_an_update_of_a_node_that_is_gone_conflicts(self):
            [have] = self.created("n1")
            self.controller.delete("n1")
            self.assertEqual(self.store.apply([Update(have, have.version)]), [Conflict("n1")])
            self.assertEqual(self.controller.raw("n1"), None)

        def test_an_update_planned_against_no_version_conflicts(self):
            self.created("n1")
            self.assertEqual(self.store.apply([Update(node("n1", port="1"), "")]), [Conflict("n1")])

        def test_an_update_of_what_was_deleted_and_made_again_conflicts(self):
            for bump in (self.controller.put, lambda m: self.controller.edit_without_version_bump("n1", m)):
                self.controller.delete("n1")
                bump(manifest_of("n1", life="first"))
                have = self.store.get("n1")
                self.controller.delete("n1")
                bump(manifest_of("n1", life="second"))
                before = self.controller.raw("n1")
                self.assertEqual(self.store.apply([Update(have, have.version)]), [Conflict("n1")])
                self.assertEqual(self.controller.raw("n1"), before)

        def test_an_edit_that_leaves_the_version_as_it_was_is_seen(self):
            [have] = self.created("n1")
            self.controller.edit_without_version_bump("n1", manifest_of("n1", edited="yes"))
            before = self.controller.raw("n1")
            self.assertEqual(self.store.apply([Update(have, have.version)]), [Conflict("n1")])
            self.assertEqual(self.controller.raw("n1"), before)
            self.assertNotEqual(self.store.get("n1").version, have.version)

        def test_a_record_that_a_controller_takes_over_before_the_write_is_refused(self):
            for take_over in (self.controller.put, lambda m: self.controller.edit_without_version_bump("n1", m)):
                self.controller.put(manifest_of("n1"))
                have = self.store.get("n1")
                take_over(manifest_of("n1", managed=None, owner="controller"))
                before = self.controller.raw("n1")
                self.assertEqual(self.store.apply([Update(have, have.version)]), [Refused("n1", "not managed")])
                self.assertEqual(self.controller.raw("n1"), before)

        def test_what_is_not_managed_is_refused_byte_for_byte(self):
            for manifest in NOT_MANAGED:
                self.controller.put(manifest)
                before = self.controller.raw("n1")
                have = self.store.get("n1")
                self.assertFalse(have.managed)
                outcomes = self.store.apply([Update(node("n1"), have.version), Create(node("n1"))])
                self.assertEqual(outcomes, [Refused("n1", "not managed"), Conflict("n1")])
                self.assertEqual(self.controller.raw("n1"), before)

        def test_a_node_that_would_not_be_managed_is_not_written(self):
            [have] = self.created("n1")
            steps = [Update(node("n1", managed=None), have.version), Create(node("n2", managed="false"))]
            reason = "would not be managed"
            self.assertEqual(self.store.apply(steps), [Refused("n1", reason), Refused("n2", reason)])
            self.assertEqual(self.store.list(), [have])

        def test_a_corrupt_record_is_listed_as_such_and_left_alone(self):
            for raw in CORRUPT:
                self.controller.put_raw("n1", raw)
                [record] = self.store.list()
                self.assertIsInstance(record, CorruptRecord)
                self.assertEqual(record.name, "n1")
                self.assertEqual(self.assertRaises(CorruptRecord, self.store.get, "n1").reason, record.reason)
                for step in (Create(node("n1")), Update(node("n1"), "1-0")):
                    [outcome] = self.store.apply([step])
                    self.assertEqual(outcome, Refused("n1", f"corrupt: {record.reason}"))
                self.assertEqual(self.controller.raw("n1"), raw)

        def test_a_corrupt_record_does_not_hide_the_others(self):
            self.created("n0", "n2")
            self.controller.put_raw("n1", b"{")
            kinds = {name: type(record) for name, record in self.listed().items()}
            self.assertEqual(kinds, {"n0": Node, "n1": CorruptRecord, "n2": Node})

        def test_unknown_fields_survive_an_update(self):
            self.controller.put_raw("n1", UNKNOWN.encode())
            have = self.store.get("n1")
            self.assertEqual(have.manifest["huge"], Decimal("1e400"))
            wanted = {**have.manifest, "zeta": 2}
            [done] = self.store.apply([Update(Node("n1", wanted), have.version)])
            self.assertIsInstance(done, Done)
            stored = json.loads(self.controller.raw("n1"), parse_float=Decimal, object_pairs_hook=list)
            expected = json.loads(UNKNOWN, parse_float=Decimal, object_pairs_hook=list)
            self.assertEqual(stored, [("zeta", 2), *expected[1:]])

        def test_outcomes_stand_in_the_order_of_the_steps_and_a_conflict_undoes_none(self):
            [n3, n1] = self.created("n3", "n1")
            self.controller.put(manifest_of("n2", managed=None))
            self.controller.put_raw("n5", b"{")
            steps = [
                Create(node("n4")),
                Create(node("n3")),
                Update(node("n3", port="3"), n3.version),
                Update(node("n2"), "1-0"),
                Update(node("n1", port="1"), "1-0"),
                Create(node("n5")),
                Update(node("n6"), "1-0"),
                Create(node("n6")),
                Create(node("n6")),
            ]
            outcomes = self.store.apply(steps)
            self.assertEqual([o.name for o in outcomes], [s.name for s in steps])
            kinds = [Done, Conflict, Done, Refused, Conflict, Refused, Conflict, Done, Conflict]
            self.assertEqual([type(o) for o in outcomes], kinds)
            listed = self.listed()
            done = {o.name: o.version for o in outcomes if isinstance(o, Done)}
            self.assertEqual({name: listed[name].version for name in done}, done)
            self.assertEqual(listed["n1"], n1)

        def test_steps_may_come_from_a_generator(self):
            outcomes = self.store.apply(Create(node(name)) for name in ("n1", "n2"))
            self.assertEqual([type(o) for o in outcomes], [Done, Done])

        def test_hundreds_of_steps_have_an_outcome_each(self):
            names = [f"n{i}" for i in range(300)]
            taken = set(names[::7])
            self.created(*taken)
            outcomes = self.store.apply([Create(node(name)) for name in names])
            self.assertEqual({o.name for o in outcomes if isinstance(o, Conflict)}, taken)
            self.assertEqual([o.name for o in outcomes], names)
            self.assertEqual(sorted(self.listed()), sorted(names))

        def test_names_are_exact(self):
            longest = ".".join(["a" * 63] * 3 + ["b" * 61])
            names = [
                longest,
                "n1",
                "N1",
                "n1 ",
                "n\u00e91",
                "ne\u03011",
                "n%",
                "n_",
                "名前",
                "😀",
                "'; --",
                "n\x00",
            ]
            self.created(*names)
            self.assertEqual(sorted(self.listed()), sorted(names))
            for name in names:
                self.assertEqual(self.store.get(name).name, name)

        def test_a_name_that_looks_like_a_path_is_kept_as_it_is_or_refused(self):
            names = ["a/b", "/", "n1/", "../n2", ""]
            outcomes = self.store.apply([Create(node(name)) for name in [*names, "n1"]])
            done = {outcome.name for outcome in outcomes if isinstance(outcome, Done)}
            self.assertEqual({o.name for o in outcomes if isinstance(o, Refused)}, {*names, "n1"} - done)
            self.assertIn("n1", done)
            self.assertEqual(set(self.listed()), done)

        def test_a_name_that_no_text_can_hold_is_absent(self):
            self.assertIsNone(self.store.get("n\ud800"))
            [outcome] = self.store.apply([Create(node("n\ud800"))])
            self.assertIsInstance(outcome, Refused)

        def test_a_node_stored_under_another_name_is_refused(self):
            outcomes = self.store.apply([Create(Node("n1", manifest_of("n2"))), Create(node("n3"))])
            self.assertEqual([type(o) for o in outcomes], [Refused, Done])

        def test_a_node_too_large_is_refused_and_the_others_are_done(self):
            steps = [Create(node("n1", blob="x" * 1_600_000)), Create(node("n2"))]
            self.assertEqual([type(o) for o in self.store.apply(steps)], [Refused, Done])
            self.assertEqual(list(self.listed()), ["n2"])

        def test_what_a_caller_does_to_a_manifest_does_not_reach_the_store(self):
            given = manifest_of("n1")
            self.store.apply([Create(Node("n1", given))])
            expected = deepcopy(given)
            given["metadata"]["labels"]["x"] = "y"
            for taken in (self.store.get("n1"), *self.store.list()):
                taken.manifest["metadata"]["labels"][MANAGED] = "false"
            self.assertEqual(self.store.get("n1").manifest, expected)

        def test_versions_never_repeat(self):
            seen = []
            for _ in range(5):
                [done] = self.store.apply([Create(node("n1"))])
                seen.append(done.version)
                [done] = self.store.apply([Update(node("n1"), done.version)])
                seen.append(done.version)
                self.controller.delete("n1")
                self.store.close()
            self.assertEqual(len(set(seen)), 10)

        def test_the_identity_is_the_same_for_all_who_share_the_records(self):
            identity = self.store.identity()
            self.assertIsInstance(identity, str)
            self.assertGreaterEqual(len(identity), 16)
            self.store.apply([Create(node("n1"))])
            self.assertEqual([self.another().identity(), self.store.identity()], [identity] * 2)

        def test_another_store_has_another_identity(self):
            stranger, _, _ = make_store(self)
            self.assertNotEqual(stranger.identity(), self.store.identity())

        def test_what_one_process_writes_another_reads_and_may_update(self):
            other = self.another()
            [have] = self.created("n1")
            self.assertEqual(other.list(), [have])
            [done] = other.apply([Update(node("n1", by="other"), have.version)])
            self.assertEqual(self.store.get("n1").version, done.version)
            self.assertEqual(self.store.apply([Update(node("n1", by="us"), have.version)]), [Conflict("n1")])

        def test_who_only_looks_finds_what_is_there(self):
            self.assertEqual(self.store.look().listing, [])
            nodes, identity = self.created("n1"), self.store.identity()
            self.controller.put_raw("n2", b"{")
            found = self.another().look()
            self.assertEqual([record for record in found.listing if isinstance(record, Node)], nodes)
            self.assertEqual((len(found.listing), found.identity), (2, identity))

        def test_a_check_finds_nothing_wrong_and_leaves_nothing_behind(self):
            self.assertEqual(self.store.check(), "")
            self.assertEqual(self.store.list(), [])
            nodes = self.created("n1")
            self.assertEqual((self.store.check(), self.store.list()), ("", nodes))

        def test_a_check_names_a_corrupt_record_in_one_line(self):
            self.created("n0")
            self.controller.put_raw("n1", b"{\n")
            said = self.store.check()
            self.assertIn("1 record is corrupt and left alone; mend or delete 'n1' (no JSON: ", said)
            self.assertEqual(len(said.splitlines()), 1)
            self.controller.put_raw("n2", b"")
            self.assertIn("2 records are corrupt", self.store.check())

        def test_closing_twice_is_harmless_and_nothing_is_lost(self):
            nodes = self.created("n1", "n2")
            identity = self.store.identity()
            self.store.close()
            self.store.close()
            self.assertEqual(sorted(self.store.list(), key=lambda n: n.name), nodes)
            self.assertEqual(self.store.identity(), identity)

    return StoreTests


def with_uid(manifest: Any, uid: str) -> dict[str, Any]:
    return {**manifest, "metadata": {**manifest["metadata"], "uid": uid}}


NAMES = st.sampled_from(["n1", "n2", "n3"])
LABELS = st.sampled_from(["true", "true", None, "True", "false"])


def make_store_machine(make_store: Any) -> type[RuleBasedStateMachine]:  # noqa: C901 - a suite
    """A controller and k3net at work on one store in any order: stale plans, late writes, reopening.

    What the controller made unmanaged or corrupt stays as it is, byte for byte; what is Done can be read.
    """

    class StoreMachine(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            self.case = SynchronousTestCase()
            self.store, self.controller, self.another = make_store(self.case)
            self.seen: dict[str, Node] = {}
            self.late: list[Any] = []
            self.versions: set[str] = set()
            self.foreign: dict[str, bytes] = {}
            self.nonce = 0

        def teardown(self) -> None:
            self.case.doCleanups()

        def wrote(self, name: str) -> None:
            raw = self.controller.raw(name)
            self.foreign.pop(name, None)
            if raw is not None and (
                not raw.startswith(b"{") or json.loads(raw)["metadata"]["labels"].get(MANAGED) != "true"
            ):
                self.foreign[name] = raw

        def fresh(self, name: str, managed: Any) -> dict[str, Any]:
            self.nonce += 1
            return manifest_of(name, managed=managed, nonce=str(self.nonce))

        @rule(name=NAMES, managed=LABELS)
        def controller_puts(self, name: str, managed: Any) -> None:
            self.controller.put(self.fresh(name, managed))
            self.wrote(name)

        @rule(name=NAMES, managed=LABELS)
        def controller_edits_without_a_new_version(self, name: str, managed: Any) -> None:
            self.controller.edit_without_version_bump(name, self.fresh(name, managed))
            self.wrote(name)

        @rule(name=NAMES)
        def controller_deletes(self, name: str) -> None:
            self.controller.delete(name)
            self.wrote(name)

        @rule(name=NAMES)
        def controller_breaks(self, name: str) -> None:
            self.nonce += 1
            self.controller.put_raw(name, b"broken %d" % self.nonce)
            self.wrote(name)

        @rule()
        def k3net_reads(self) -> None:
            self.seen = {record.name: record for record in self.store.list() if isinstance(record, Node)}

        @rule(names=st.sets(NAMES, min_size=1), port=st.integers(1, 9))
        def k3net_plans(self, names: set[str], port: int) -> None:
            desired = {name: node(name, port=str(port)) for name in sorted(names)}
            self.late.append(list(plan(desired, self.seen, now=0.0, report_every=0.0)))

        @rule(data=st.data(), again=st.booleans())
        def k3net_writes_late(self, data: Any, again: bool) -> None:
            if not self.late:
                return
            at = data.draw(st.integers(0, len(self.late) - 1))
            steps = self.late[at] if again else self.late.pop(at)
            for step, outcome in zip(steps, self.store.apply(steps), strict=True):
                assert outcome.name == step.name
                if isinstance(outcome, Done):
                    assert outcome.name not in self.foreign, "wrote over a controller's record"
                    stored = self.store.get(outcome.name)
                    assert stored.version == outcome.version
                    assert stored.uid.startswith(step.node.uid), "a layout may only tell two lives of a name apart"
                    assert with_uid(stored.manifest, step.node.uid) == step.node.manifest
                    assert (outcome.name, outcome.version) not in self.versions, "a version came twice"
                    self.versions.add((outcome.name, outcome.version))

        @rule()
        def k3net_opens_anew(self) -> None:
            self.store.close()
            self.store = self.another()

        @invariant()
        def what_others_manage_is_as_they_left_it(self) -> None:
            for name, raw in self.foreign.items():
                assert self.controller.raw(name) == raw

    return StoreMachine
