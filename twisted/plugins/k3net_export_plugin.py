"""`twistd k3net-export`; imports nothing else, so that twistd's plugin scan stays quick."""

from twisted.application.service import ServiceMaker

k3net_export = ServiceMaker(
    "k3net-export", "k3net.export_tap", "Prints the neighbour table (ARP, ND), once, in the foreground.", "k3net-export"
)
