"""`twistd k3net`; imports nothing else, so that twistd's plugin scan stays quick."""

from twisted.application.service import ServiceMaker

k3net = ServiceMaker("k3net", "k3net.tap", "Finds this network's machines and keeps a Node for each.", "k3net")
