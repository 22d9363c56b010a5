"""What the parts of the daemon tell of themselves."""

from twisted.application.service import Service
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from k3net.parts import told
from k3net.services import Dependency, Periodic, Sequential


class Plain(Service):
    alarms = ("look at this",)
    dependencies = (Dependency("registry", 3.0, "refused"),)


class ToldTests(SynchronousTestCase):
    def test_a_service_tells_what_it_has_and_is_not_asked_for_more(self):
        self.assertEqual(list(told(Plain(), "alarms")), ["look at this"])
        self.assertEqual(list(told(Plain(), "dependencies")), [Dependency("registry", 3.0, "refused")])
        self.assertEqual(list(told(Plain(), "loops")), [])
        self.assertEqual(list(told(Service(), "alarms")), [])

    def test_services_in_order_tell_what_each_of_them_does(self):
        loops = [Periodic(Clock(), 1.0, lambda: None, name) for name in ("first", "second")]
        tree = Sequential()
        for child in (loops[0], Plain(), loops[1]):
            child.setServiceParent(tree)
        self.assertEqual(list(told(tree, "loops")), loops)
        self.assertEqual(list(told(tree, "alarms")), ["look at this"])
