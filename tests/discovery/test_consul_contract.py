"""The fake of Consul keeps the contract, by its Python door and by HTTP."""

from discovery.consul_contract import make_consul_tests
from discovery.fake_consul import FakeConsul, HttpDoor
from twisted.internet import reactor

from k3net.discovery.consul_api import ConsulApi


def make_fake(case):
    consul = FakeConsul(reactor)
    return consul, consul


def make_fake_by_http(case):
    consul = FakeConsul(reactor)
    port = reactor.listenTCP(0, HttpDoor(consul).site(), interface="127.0.0.1")
    case.addCleanup(port.stopListening)
    return ConsulApi(reactor, f"http://127.0.0.1:{port.getHost().port}"), consul


FakeTests = make_consul_tests(make_fake)
FakeByHttpTests = make_consul_tests(make_fake_by_http)
