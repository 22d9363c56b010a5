"""What k3net relies on in Consul; the real one and the fake are held to it."""

import time
from typing import Any

from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

REGISTRATION = {
    "Name": "k3-node",
    "ID": "k3-node-a",
    "Tags": ["edge"],
    "Address": "192.0.2.1",
    "Port": 7946,
    "Meta": {"node": "a", "pid": "7"},
    "Check": {"TTL": "1h"},
}


def make_consul_tests(make_consul: Any) -> type[TestCase]:  # noqa: C901 - a suite
    """`make_consul(case)` gives an api (the verbs of ConsulApi) and what brings about (`service`, `check`, ...)."""

    class ConsulTests(TestCase):
        def setUp(self) -> None:
            self.api, self.consul = make_consul(self)

        async def settled(self) -> Any:
            """What is known once the agent has told its server all it knows."""
            health = await self.api.health("k3-node")
            for _ in range(20):
                await deferLater(reactor, 0.05)
                later = await self.api.health("k3-node")
                if later.index == health.index:
                    break
                health = later
            return later

        async def test_a_service_that_nobody_registered_has_no_instances_and_an_index(self):
            health = await self.api.health("k3-node")
            self.assertEqual(health.entries, ())
            self.assertGreater(health.index, 0)

        async def test_what_is_registered_is_known_to_the_agent_and_to_everybody(self):
            self.assertIsNone((await self.api.registered("k3-node-a")).service)
            await self.api.register(REGISTRATION)
            found = await self.api.registered("k3-node-a")
            self.assertEqual((found.service.address, found.service.port), ("192.0.2.1", 7946))
            self.assertEqual((found.service.meta, found.service.tags), ({"node": "a", "pid": "7"}, ("edge",)))
            self.assertEqual(found.local, "127.0.0.1")
            [entry] = (await self.settled()).entries
            self.assertEqual((entry.service.id, entry.service.meta), ("k3-node-a", {"node": "a", "pid": "7"}))
            self.assertEqual((entry.node.name, entry.node.address), ("agent-one", "127.0.0.1"))
            self.assertEqual({check.id: check.status for check in entry.checks}["service:k3-node-a"], "critical")

        async def test_registering_again_keeps_what_the_check_said(self):
            self.consul.service("k3-node-a", status="passing")
            self.consul.check("k3-node-a", "warn")
            self.consul.service("k3-node-a", status=None, Port=1)
            [entry] = (await self.settled()).entries
            self.assertEqual(entry.service.port, 1)
            self.assertEqual({c.id: c.status for c in entry.checks}.get("ttl-k3-node-a"), "warning")

        async def test_what_is_deregistered_is_gone_and_that_twice_is_no_error(self):
            await self.api.register(REGISTRATION)
            await self.settled()
            for _ in range(2):
                await self.api.deregister("k3-node-a")
            self.assertIsNone((await self.api.registered("k3-node-a")).service)
            self.assertEqual((await self.settled()).entries, ())

        async def test_an_odd_id_is_the_id_it_is(self):
            odd = "k3-node-ä/b?c=d e"
            await self.api.register({**REGISTRATION, "ID": odd})
            self.assertEqual((await self.api.registered(odd)).service.id, odd)
            await self.api.deregister(odd)
            self.assertIsNone((await self.api.registered(odd)).service)

        async def test_a_poll_ends_with_the_change_it_waits_for(self):
            self.consul.service("k3-node-a")
            health = await self.settled()
            waiting = self.api.health("k3-node", index=health.index, wait=5.0)
            await deferLater(reactor, 0.1)
            self.assertFalse(waiting.called)
            begun = time.monotonic()
            self.consul.check("k3-node-a", "fail")
            after = await waiting
            self.assertLess(time.monotonic() - begun, 1.0)
            self.assertGreater(after.index, health.index)
            [entry] = after.entries
            self.assertIn("critical", [check.status for check in entry.checks])

        async def test_a_poll_without_a_change_ends_with_its_wait_and_the_same_index(self):
            self.consul.service("k3-node-a")
            health = await self.settled()
            begun = time.monotonic()
            after = await self.api.health("k3-node", index=health.index, wait=0.5)
            self.assertGreater(time.monotonic() - begun, 0.4)
            self.assertEqual(after.index, health.index)
            self.assertEqual(len(after.entries), 1)

        async def test_maintenance_is_a_critical_check_with_its_reason_in_the_notes(self):
            self.consul.service("k3-node-a")
            self.consul.maintenance("k3-node-a", True, "new disk")
            [entry] = (await self.settled()).entries
            [mode] = [c for c in entry.checks if c.id.startswith("_service_maintenance:")]
            self.assertEqual((mode.id, mode.status), ("_service_maintenance:k3-node-a", "critical"))
            self.assertEqual(mode.notes, "new disk")
            self.consul.maintenance("k3-node-a", False)
            [entry] = (await self.settled()).entries
            self.assertNotIn("critical", [c.status for c in entry.checks])

        async def test_only_what_has_all_the_tags_is_listed(self):
            self.consul.service("k3-node-a", Tags=["edge", "ssd"])
            self.consul.service("k3-node-b", Tags=["edge"])
            await self.settled()
            listed = [
                (await self.api.health("k3-node", tags=tags)).entries for tags in ((), ("edge",), ("edge", "ssd"))
            ]
            ids = [sorted(entry.service.id for entry in entries) for entries in listed]
            self.assertEqual(ids, [["k3-node-a", "k3-node-b"]] * 2 + [["k3-node-a"]])

        async def test_a_new_server_knows_nothing_and_counts_from_the_beginning(self):
            for number in range(8):
                self.consul.service(f"k3-node-{number}")
            before = (await self.settled()).index
            self.consul.start()
            after = await self.api.health("k3-node")
            self.assertEqual(after.entries, ())
            self.assertLess(after.index, before)

    return ConsulTests
