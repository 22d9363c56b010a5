"""A whole daemon and its node's pod CIDR: the Node, /info, the alarms, and new settings."""

from test_daemon import DaemonCase as WholeDaemon
from test_daemon import until
from twisted.internet.defer import inlineCallbacks

SMALL = {"podCIDR": {"base": "10.9.0.0/24", "perNode": "/25"}}


class PodCidrOfADaemonTests(WholeDaemon):
    def carried(self, daemon):
        """By the own Node as it is stored, as soon as it carries any."""
        name = str(daemon.settings.node.name)
        return until(lambda: daemon["reconcile"].stored.get(name) and daemon["reconcile"].stored[name].pod_cidrs)

    @inlineCallbacks
    def info(self, daemon):
        answer = yield self.get(daemon, "/info", part="listen")
        return {key: value for key, value in answer.json().items() if key.startswith("podCIDR")}

    @inlineCallbacks
    def test_the_own_node_and_info_say_what_the_settings_say(self):
        daemon = yield self.running(network={"podCIDR": {"nodeLocal": "10.244.7.0/24"}})
        self.assertEqual((yield self.carried(daemon)), ("10.244.7.0/24",))
        self.assertEqual((yield self.info(daemon)), {"podCIDRs": ["10.244.7.0/24"], "podCIDRSource": "config"})
        node = (yield self.get(daemon, "/api/v1/nodes/n1")).json()
        self.assertEqual(node["spec"], {"podCIDR": "10.244.7.0/24", "podCIDRs": ["10.244.7.0/24"]})

    @inlineCallbacks
    def test_new_settings_are_followed_and_the_goodbye_keeps_the_cidr(self):
        daemon = yield self.running(network={"podCIDR": {"nodeLocal": "10.244.7.0/24"}})
        yield self.carried(daemon)
        yield daemon.reload(self.home.settings(network={"podCIDR": {"nodeLocal": "10.244.8.0/24"}}))
        yield until(lambda: daemon["reconcile"].stored["n1"].pod_cidrs == ("10.244.8.0/24",))
        yield daemon.stopService()
        self.assertEqual(self.home.ready()[0], "False")
        again = yield self.running(network={"podCIDR": {"nodeLocal": "10.244.8.0/24"}})
        self.assertEqual((yield self.carried(again)), ("10.244.8.0/24",))

    @inlineCallbacks
    def test_where_the_only_subnet_is_another_daemons_that_is_an_alarm_and_explained(self):
        first = yield self.running(network=SMALL)
        self.assertEqual((yield self.carried(first)), ("10.9.0.128/25",))
        other = yield self.running(node={"name": "n2"}, network=SMALL)
        yield until(lambda: other["pod-cidr"].trouble)
        report = (yield self.get(other, "/readyz")).json()
        self.assertEqual(report["status"], "ready")
        [alarm] = [text for text in report["alarms"] if text.startswith("pod CIDR")]
        self.assertIn("no /25 of 10.9.0.0/24 is free: 1 for nodes, all taken", alarm)
        yield until(lambda: other.table.get("n2").observations["own"].meta.get("podCIDR"))
        rows = (yield self.get(other, "/api/v1/nodes/n2/explain")).json()["fields"]
        [row] = [row for row in rows if row["field"] == "spec.podCIDRs"]
        self.assertEqual(row["value"], "")
        self.assertIn("no /25 of 10.9.0.0/24 is free", row["rule"])
        self.assertEqual((yield self.info(other))["podCIDRs"], [])

    @inlineCallbacks
    def test_two_that_were_given_the_same_are_counted(self):
        given = {"podCIDR": {"nodeLocal": "10.244.7.0/24"}}
        first = yield self.running(network=given)
        yield self.carried(first)
        other = yield self.running(node={"name": "n2"}, network=given)
        yield self.carried(other)
        yield until(lambda: other["reconcile"].stored["n2"].says("PodCIDRConflict"))
        metrics = (yield self.get(other, "/metrics")).body.decode()
        self.assertIn("\nk3net_pod_cidr_conflicts 2.0\n", metrics)
        alarms = (yield self.get(other, "/readyz")).json()["alarms"]
        self.assertIn("pod CIDR of node n2: 10.244.7.0/24 is also node n1's", alarms)

    @inlineCallbacks
    def test_without_an_own_node_there_is_none(self):
        daemon = self.started(node={"name": "n1", "register_self": False}, network=SMALL)
        yield until(lambda: daemon["reconcile"].last_success is not None)
        self.assertEqual((yield self.info(daemon)), {"podCIDRs": []})
