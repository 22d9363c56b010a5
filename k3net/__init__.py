"""Finds the machines of a network and keeps a Kubernetes-style Node record for each."""

__version__ = "0.1.0"
