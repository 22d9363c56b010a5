"""The parts of Consul, and whom each of them talks to."""

import os
from collections.abc import Iterator
from typing import Any

from k3net.config import Settings
from k3net.credentials import Token, Trust
from k3net.discovery.consul import ConsulRegistration
from k3net.discovery.consul_api import ConsulApi
from k3net.discovery.consul_watch import ConsulWatch
from k3net.parts import Part, Surroundings


class ConsulWires:
    """Makers of the parts "consul" (the registration) and "consul-watch", and what others ask of them."""

    def __init__(self, daemon: Surroundings, s: Settings):
        self._daemon = daemon
        self._reactor = daemon.reactor
        self._s = s
        self._c = s.consul
        self._name = str(s.node.name)
        self.service_id = self._c.service_id or f"{self._c.service_name}-{self._name}"

    @property
    def identity(self) -> tuple[Any, ...]:
        """What this machine is in Consul."""
        return (self._c.enabled, self._c.service_name, self.service_id)

    def parts(self) -> Iterator[Part]:
        if self._c.enabled:
            made_of = (self._s.node, self._s.listen, self._c)
            yield Part("consul", made_of, self._registration)
            yield Part("consul-watch", made_of, self._watch)

    def info(self) -> dict[str, str]:
        """What `/info` says beside spec/1 (spec/2-consul.md)."""
        return {"service": str(self._c.service_name), "serviceID": self.service_id} if self._c.enabled else {}

    def own_word(self) -> tuple[str, str]:
        """Reason and message of the own Node."""
        if self._c.enabled and self._daemon["consul"].registered:
            return "ConsulRegistered", f"registered in Consul as {self.service_id}"[:255]
        if self._c.enabled and not self._s.mdns.enabled:
            return "PeerAlive", "k3net runs here, and is not yet registered in Consul"
        return "LANDiscovery", "discovered via mDNS"

    def own_meta(self) -> dict[str, str]:
        """Where Consul is the only source, the own Node is its too."""
        return {"discovery": "consul"} if self._c.enabled and not self._s.mdns.enabled else {}

    def status(self) -> dict[str, Any]:
        """What `/api/v1/consul` answers: registered as what, the checks as Consul sees them, last index and error."""
        if not self._c.enabled:
            return {"kind": "ConsulStatus", "enabled": False}
        registration, watch = self._daemon["consul"], self._daemon["consul-watch"]
        now, told = self._reactor.seconds(), registration.told
        return {
            "kind": "ConsulStatus",
            "enabled": True,
            "url": self._c.addr.url,
            "registration": {
                "registered": registration.registered and registration.trouble.since is None,
                "service": str(self._c.service_name),
                "serviceID": self.service_id,
                "address": told.get("Address", ""),
                "port": told.get("Port", 0),
                "error": registration.trouble.error,
            },
            "checks": [
                {"id": check.id, "name": check.name, "status": check.status, "output": check.output[:1000]}
                for check in watch.own_checks
            ],
            "index": watch.index,
            "instances": watch.instances,
            "age_seconds": None if watch.last_answer is None else round(now - watch.last_answer, 3),
            "failing_seconds": None if watch.trouble.since is None else round(now - watch.trouble.since, 3),
            "error": watch.trouble.error,
        }

    def _api(self) -> ConsulApi:
        c = self._c
        return ConsulApi(
            self._reactor,
            c.addr.url,
            token=Token(c.token, c.token_file),
            trust=Trust(c.ca, c.cert, c.key),
            datacenter=c.datacenter,
            namespace=c.namespace,
        )

    def _registration(self) -> ConsulRegistration:
        c, d = self._c, self._daemon
        return ConsulRegistration(
            self._reactor,
            self._api(),
            service=str(c.service_name),
            service_id=self.service_id,
            node=self._name,
            pid=os.getpid(),
            port=lambda: c.service_port or d["listen"].port,
            host=lambda: d.host,
            listen_host=self._s.listen.host,
            tags=c.tags,
            interval=c.watch_interval,
            check_interval=c.health_check_interval,
            check_timeout=c.health_check_timeout,
            deregister_after=c.deregister_after,
            look=bool(c.datacenter) or not set(c.only_tags) <= set(c.tags),
            goodbye=self._s.node.goodbye,
            changed=self._changed,
        )

    def _watch(self) -> ConsulWatch:
        c, d = self._c, self._daemon
        return ConsulWatch(
            self._reactor,
            d.observe,
            self._api(),
            service=str(c.service_name),
            own_name=self._name,
            own_id=self.service_id,
            peers=lambda: d.table,
            tags=c.only_tags,
            interval=c.watch_interval,
            own_is_there=d["consul"].seen,
            refused=lambda reason: d.metrics.observation_refused("consul", reason),
        )

    def _changed(self) -> None:
        if self._s.node.register_self:
            self._daemon["own-node"].kick()
