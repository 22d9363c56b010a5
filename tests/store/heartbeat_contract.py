"""The one thing that a store lets us do to another's Node, and all that it does not; run on every driver."""

import json
from copy import deepcopy
from typing import Any

from contracts import manifest_of
from twisted.trial.unittest import SynchronousTestCase

from k3net.model.node import Node
from k3net.model.plan import Heartbeat
from k3net.store.interface import Conflict, Done, Refused

OLD, NEW = "2026-01-02T03:04:05Z", 1_800_000_000.0
NEW_TEXT = "2027-01-15T08:00:00Z"


def foreign(**status: Any) -> dict[str, Any]:
    """A Node as a kubelet reports it."""
    manifest = manifest_of("n1", managed=None, owner="kubelet")
    manifest["spec"] = {"podCIDR": "10.0.0.0/24", "taints": [{"key": "x", "effect": "NoSchedule"}]}
    manifest["status"] = {
        "phase": "Running",
        "capacity": {"cpu": "4"},
        "conditions": [
            {"type": "DiskPressure", "status": "False", "lastHeartbeatTime": OLD},
            {"type": "Ready", "status": "True", "lastHeartbeatTime": OLD, "lastTransitionTime": OLD, "extra": 1},
        ],
        **status,
    }
    return manifest


def changed(manifest: Any, *path: Any, to: Any) -> Any:
    new = deepcopy(manifest)
    at = new
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = to
    return new


def without_its_count(manifest: Any) -> Any:
    """Without what a store counts its writes with."""
    metadata = {key: value for key, value in manifest["metadata"].items() if key != "resourceVersion"}
    return {**manifest, "metadata": metadata}


def make_heartbeat_tests(make_store: Any) -> type[SynchronousTestCase]:  # noqa: C901 - a suite
    """`make_store` as for `contracts.make_store_tests`."""

    class HeartbeatTests(SynchronousTestCase):
        def setUp(self) -> None:
            self.store, self.controller, self.another = make_store(self)
            self.controller.put(foreign())
            self.have = self.store.get("n1")
            self.before = self.controller.raw("n1")

        def apply(self, node: Node, version: "str | None" = None) -> Any:
            [outcome] = self.store.apply([Heartbeat(node, self.have.version if version is None else version)])
            return outcome

        def test_the_heartbeat_of_ready_is_brought_forward_and_nothing_else(self):
            beating = self.have.beating(NEW)
            done = self.apply(beating)
            self.assertIsInstance(done, Done)
            stored = self.store.get("n1")
            self.assertEqual(stored.version, done.version)
            expected = changed(self.have.manifest, "status", "conditions", 1, "lastHeartbeatTime", to=NEW_TEXT)
            self.assertEqual(without_its_count(stored.manifest), without_its_count(expected))
            self.assertFalse(stored.managed)

        def test_again_and_again(self):
            for second in range(3):
                node = self.store.get("n1")
                [done] = self.store.apply([Heartbeat(node.beating(NEW + second), node.version)])
                self.assertIsInstance(done, Done)

        def test_a_step_that_changes_anything_else_is_refused(self):
            beating = self.have.beating(NEW).manifest
            for path, value in (
                (("metadata", "labels", "k3.network/managed"), "true"),
                (("metadata", "annotations", "owner"), "k3net"),
                (("metadata", "uid"), "other"),
                (("spec", "taints"), []),
                (("spec",), {}),
                (("status", "phase"), "Pending"),
                (("status", "conditions", 0, "lastHeartbeatTime"), NEW_TEXT),
                (("status", "conditions", 1, "status"), "False"),
                (("status", "conditions", 1, "reason"), "ConsulHealthCheck"),
                (("status", "conditions", 1, "lastTransitionTime"), NEW_TEXT),
                (("status", "conditions", 1, "extra"), True),
                (("status", "conditions", 1, "lastHeartbeatTime"), "2027-01-15T08:00:00.5Z"),
                (("status", "conditions"), beating["status"]["conditions"][1:]),
            ):
                outcome = self.apply(Node("n1", changed(beating, *path, to=value)))
                self.assertEqual(outcome, Refused("n1", "more than the heartbeat differs"), path)
                self.assertEqual(self.controller.raw("n1"), self.before)

        def test_a_heartbeat_is_not_taken_back_nor_made_up(self):
            for text in (OLD, "2025-01-01T00:00:00Z", "soon", None, 5):
                node = Node("n1", changed(self.have.manifest, "status", "conditions", 1, "lastHeartbeatTime", to=text))
                self.assertIsInstance(self.apply(node), Refused)
            for conditions in ([], [{"type": "Ready", "status": "True"}]):
                self.controller.put(foreign(conditions=conditions))
                have = self.store.get("n1")
                self.assertIsNone(have.beating(NEW))
                made_up = [{"type": "Ready", "status": "True", "lastHeartbeatTime": NEW_TEXT}]
                node = Node("n1", changed(have.manifest, "status", "conditions", to=made_up))
                self.assertIsInstance(self.apply(node, have.version), Refused)

        def test_what_the_controller_wrote_meanwhile_is_kept(self):
            for write in (self.controller.put, lambda m: self.controller.edit_without_version_bump("n1", m)):
                have = self.store.get("n1")
                write(foreign(capacity={"cpu": str(id(write))}))
                before = self.controller.raw("n1")
                [outcome] = self.store.apply([Heartbeat(have.beating(NEW), have.version)])
                self.assertEqual(outcome, Conflict("n1"))
                self.assertEqual(self.controller.raw("n1"), before)

        def test_a_node_that_is_gone_does_not_come_back(self):
            self.controller.delete("n1")
            self.assertEqual(self.apply(self.have.beating(NEW)), Conflict("n1"))
            self.assertIsNone(self.store.get("n1"))

        def test_unknown_fields_and_numbers_survive(self):
            odd = foreign(big=123456789012345678901234567890, fraction=0.1, text="é\u2028 <&>")
            self.controller.put(odd)
            have = self.store.get("n1")
            [outcome] = self.store.apply([Heartbeat(have.beating(NEW), have.version)])
            self.assertIsInstance(outcome, Done)
            expected = changed(have.manifest, "status", "conditions", 1, "lastHeartbeatTime", to=NEW_TEXT)
            found = self.store.get("n1").manifest
            self.assertEqual(json.dumps(without_its_count(found)), json.dumps(without_its_count(expected)))

    return HeartbeatTests
