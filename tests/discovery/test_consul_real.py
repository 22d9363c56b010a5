"""The real Consul keeps the contract that the fake is held to."""

import tempfile
from pathlib import Path

import pytest
from consul import Consul
from discovery.consul_contract import make_consul_tests
from twisted.internet import reactor

from k3net.discovery.consul_api import ConsulApi

pytestmark = pytest.mark.requires("consul")


def make_real(case):
    consul = Consul(Path(tempfile.mkdtemp()))
    case.addCleanup(consul.close)
    return ConsulApi(reactor, consul.url), consul


RealTests = make_consul_tests(make_real)
