"""Does a default gateway answer: real sockets on 127.0.0.0/8 play the gateways."""

import socket
import sys

import pytest
from integration.lab import Lab
from integration.netns import ip
from twisted.internet import reactor
from twisted.trial.unittest import TestCase

from k3net import host
from k3net.probes.gateway import gateway_answers


class GatewayTests(TestCase):
    async def test_no_gateway_is_no_answer(self):
        self.assertIs(await gateway_answers(reactor, (), 0.2), False)

    async def test_one_that_refuses_answers(self):
        self.assertIs(await gateway_answers(reactor, ("127.9.9.9",), 0.2), True)

    async def test_one_that_listens_on_one_of_the_ports_answers(self):
        with socket.socket() as sock:
            try:
                sock.bind(("127.9.9.10", 53))
            except OSError:
                self.skipTest("port 53 is not ours to bind")
            sock.listen()
            self.assertIs(await gateway_answers(reactor, ("127.9.9.10",), 0.2), True)

    async def test_an_ipv6_link_local_gateway_does_not_count(self):
        self.assertIs(await gateway_answers(reactor, ("fe80::1", "fe80::1%lo"), 0.2), False)


@pytest.mark.requires("root", "netns")
def test_the_gateway_of_a_cut_machine_does_not_answer_and_that_of_a_whole_one_does(tmp_path):
    with Lab(tmp_path) as lab:
        here = lab.host("here", ipv4="10.77.0.2/16")
        gateway = lab.host("gateway", ipv4="10.77.0.1/16")
        ip("-n", here.namespace, "route", "replace", "default", "via", "10.77.0.1")

        def said():
            script = (
                "from twisted.internet.task import react; from k3net import host;"
                "from k3net.probes.gateway import gateway_answers as asked;"
                "react(lambda r: asked(r, host.default_gateways(), 0.5).addCallback(print))"
            )
            return here.run(sys.executable, "-c", script).stdout.strip()

        assert here.inside(host.default_gateways) == ("10.77.0.1",)
        assert said() == "True"
        gateway.blackhole()
        assert said() == "False"
        gateway.restore()
        ip("-n", here.namespace, "route", "delete", "default")
        assert said() == "False"
