"""Names of Services on a machine without DNS and kube-proxy: each becomes the address of a pod behind it.

A convenience for programs that were written for a cluster; our own components get addresses from the chart.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from gastown.local.node.addresses import address_of
from gastown.local.node.environment import service_variables

_NOBODY = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class _Pod:
    namespace: str
    address: str
    labels: frozenset[tuple[str, str]]
    is_leaving: bool
    created: str


class ServiceDirectory:
    """All Services of the cluster and the pods of this node."""

    def __init__(self) -> None:
        self._services: dict[tuple[str, str], Mapping[str, Any]] = {}
        self._pods: dict[str, _Pod] = {}
        self._found: dict[tuple[str, str], str] | None = None

    def replace_services(self, services: Iterable[Mapping[str, Any]]) -> None:
        """Take over a fresh LIST."""
        self._services = {_key(each): each for each in services}
        self._found = None

    def set_service(self, service: Mapping[str, Any]) -> None:
        """Add or change one."""
        self._services[_key(service)] = service
        self._found = None

    def remove_service(self, service: Mapping[str, Any]) -> None:
        """Forget one."""
        self._services.pop(_key(service), None)
        self._found = None

    def set_pod(self, pod: Mapping[str, Any]) -> None:
        """Add or change a pod of this node."""
        metadata = pod["metadata"]
        seen = _Pod(
            metadata["namespace"],
            address_of(pod),
            frozenset((metadata.get("labels") or {}).items()),
            "deletionTimestamp" in metadata,
            metadata.get("creationTimestamp", ""),
        )
        # Most updates of a pod are of its status: they must not cost a look at all pods for all Services.
        if self._pods.get(metadata["uid"]) != seen:
            self._pods[metadata["uid"]] = seen
            self._found = None

    def remove_pod(self, uid: str) -> None:
        """Forget a pod."""
        if self._pods.pop(uid, None) is not None:
            self._found = None

    def addresses(self) -> dict[tuple[str, str], str]:
        """Address by namespace and name of the Service."""
        if self._found is None:
            self._found = {key: self._address(service) for key, service in sorted(self._services.items())}
        return self._found

    def variables(self, namespace: str) -> dict[str, str]:
        """Environment variables of the Services of a namespace."""
        mine = {name: each for (space, name), each in self._services.items() if space == namespace}
        addresses = {name: address for (space, name), address in self.addresses().items() if space == namespace}
        return service_variables(addresses, {name: each["spec"].get("ports") or [] for name, each in mine.items()})

    def hosts_file(self, pod: Mapping[str, Any]) -> str:
        """Content of /etc/hosts for a pod: itself, its aliases, every Service under its usual names."""
        metadata, spec = pod["metadata"], pod["spec"]
        own = address_of(pod)
        names = [spec.get("hostname") or metadata["name"]]
        if spec.get("subdomain"):
            names.insert(0, f"{names[0]}.{spec['subdomain']}.{metadata['namespace']}.svc.cluster.local")
        lines = ["127.0.0.1 localhost", "::1 localhost ip6-localhost ip6-loopback", f"{own} {' '.join(names)}"]
        lines += [f"{alias['ip']} {' '.join(alias.get('hostnames') or [])}" for alias in spec.get("hostAliases") or []]
        for (namespace, name), address in self.addresses().items():
            full = [f"{name}.{namespace}", f"{name}.{namespace}.svc", f"{name}.{namespace}.svc.cluster.local"]
            if namespace == metadata["namespace"]:
                full.insert(0, name)
            lines.append(f"{address} {' '.join(full)}")
        return "\n".join(lines) + "\n"

    def _address(self, service: Mapping[str, Any]) -> str:
        selector = (service["spec"].get("selector") or {}).items()
        namespace = service["metadata"]["namespace"]
        found = [pod for pod in self._pods.values() if selector and pod.namespace == namespace and selector <= pod.labels]
        # The newest that is not on its way out: in a roll-out the old pod goes.
        found.sort(key=lambda pod: (not pod.is_leaving, pod.created))
        return found[-1].address if found else _NOBODY


def _key(service: Mapping[str, Any]) -> tuple[str, str]:
    return service["metadata"]["namespace"], service["metadata"]["name"]
