"""This node's pod CIDR: from the settings, the environment and the files of this machine, by no Kubernetes API."""

from k3net.pod_cidr.answer import DEFAULT, Answer, Said
from k3net.pod_cidr.search import Asked, explain, find

__all__ = ["DEFAULT", "Answer", "Asked", "Said", "explain", "find"]
