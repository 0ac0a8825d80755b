"""Tells the API server that this node exists, is ready, and still lives."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import platform
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from gastown.kube.errors import AlreadyExists, ApiError, NotFound
from gastown.local.node.api_client import STRATEGIC_MERGE, ApiClient, Mirror, Object
from gastown.local.node.run_files import current_boot_id
from gastown.local.node.status import NODE_ADDRESS, timestamp

SANDBOX_KEY = "gastown.dev/sandbox"
KUBELET_VERSION = "v1.36.3"
# More than the machine has: a scheduler adds up requests, and on a laptop they are always too many.
ANNOUNCED_CPUS = 64
ANNOUNCED_PODS = 250
_LEASE_SECONDS = 40
_RENEW_SECONDS = 10.0
_STATUS_SECONDS = 300.0
_PATIENCE_SECONDS = 60.0
_PATIENCE_PAUSE_SECONDS = 0.5

_log = logging.getLogger(__name__)


def allocatable() -> dict[str, str]:
    """What this node announces, by resource."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    disk = os.statvfs("/")
    return {
        "cpu": str(ANNOUNCED_CPUS),
        "memory": f"{pages // 1024}Ki",
        "ephemeral-storage": f"{disk.f_blocks * disk.f_frsize // 1024}Ki",
        "pods": str(ANNOUNCED_PODS),
    }


class Registration:
    """The Node object and its Lease.

    Args:
        port: Of the node's log and exec server.
        sandbox: How containers are confined; shown as label and annotation.
    """

    def __init__(self, client: ApiClient, node_name: str, port: int, sandbox: str) -> None:
        self._client = client
        self._name = node_name
        self._port = port
        self._sandbox = sandbox
        self._ready_since = timestamp(time.time())

    async def register(self) -> None:
        """Create or update the Node and write its whole status; patient with an API server that has just started.

        At every start, even if nothing seems changed: the node controller has marked the pods of a silent node not ready, and only
        this takes it back.
        """
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while True:
            try:
                await self._register()
            except ApiError as error:
                if time.monotonic() > deadline:
                    raise
                _log.info("node.not_registered node=%s error=%s", self._name, error)
                await asyncio.sleep(_PATIENCE_PAUSE_SECONDS)
            else:
                return

    async def _register(self) -> None:
        labels = {
            "kubernetes.io/hostname": self._name,
            "kubernetes.io/os": "linux",
            "kubernetes.io/arch": _architecture(),
            SANDBOX_KEY: self._sandbox,
        }
        metadata = {"name": self._name, "labels": labels, "annotations": {SANDBOX_KEY: self._sandbox}}
        try:
            await self._client.request("POST", "/api/v1/nodes", {"metadata": metadata})
        except AlreadyExists:
            changes = {"metadata": {"labels": labels, "annotations": metadata["annotations"]}}
            await self._client.request("PATCH", f"/api/v1/nodes/{self._name}", changes, STRATEGIC_MERGE)
        await self._write_status()
        await self._renew_lease()

    async def keep_alive(self) -> None:
        """Renew the Lease every 10 s and the status every 5 minutes, for ever."""
        next_status = time.monotonic() + _STATUS_SECONDS
        while True:
            await asyncio.sleep(_RENEW_SECONDS)
            try:
                await self._renew_lease()
                if time.monotonic() >= next_status:
                    next_status = time.monotonic() + _STATUS_SECONDS
                    await self._write_status()
            except ApiError as error:
                _log.warning("node.not_renewed node=%s error=%s", self._name, error)

    async def heal(self) -> None:
        """Follow our own Node, for ever: take back at once what others say of it when it was asleep or cut off for a while."""
        selector = f"&fieldSelector={quote(f'metadata.name={self._name}', safe='')}"
        await Mirror(self._client, "/api/v1/nodes", self._on_listed, self._on_event, selector).run()

    async def _on_listed(self, nodes: list[Object]) -> None:
        for node in nodes:
            await self._on_event("MODIFIED", node)

    async def _on_event(self, kind: str, node: Object) -> None:
        conditions = node.get("status", {}).get("conditions") or []
        is_ready = any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
        if kind != "DELETED" and is_ready:
            return
        _log.info("node.healing node=%s event=%s", self._name, kind)
        with contextlib.suppress(ApiError):
            await self._register()

    async def _write_status(self) -> None:
        try:
            await self._client.request("PATCH", f"/api/v1/nodes/{self._name}/status", {"status": self._status()}, STRATEGIC_MERGE)
        except NotFound:
            await self._register()

    async def _renew_lease(self) -> None:
        path = f"/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/{self._name}"
        moment = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        spec = {"holderIdentity": self._name, "leaseDurationSeconds": _LEASE_SECONDS, "renewTime": moment}
        try:
            await self._client.request("PATCH", path, {"spec": spec}, STRATEGIC_MERGE)
        except NotFound:
            lease = {"metadata": {"name": self._name, "namespace": "kube-node-lease"}, "spec": spec}
            try:
                await self._client.request("POST", path.rpartition("/")[0], lease)
            except NotFound:
                # The namespace is made some seconds after the API server's first start; the next renewal finds it.
                _log.info("node.no_lease_namespace node=%s", self._name)

    def _status(self) -> dict[str, Any]:
        now = timestamp(time.time())
        resources = allocatable()
        pressures = [
            ("MemoryPressure", "KubeletHasSufficientMemory"),
            ("DiskPressure", "KubeletHasNoDiskPressure"),
            ("PIDPressure", "KubeletHasSufficientPID"),
        ]
        conditions = [_condition(kind, "False", reason, now, self._ready_since) for kind, reason in pressures]
        return {
            "capacity": resources,
            "allocatable": resources,
            "conditions": [*conditions, _condition("Ready", "True", "KubeletReady", now, self._ready_since)],
            "addresses": [{"type": "InternalIP", "address": NODE_ADDRESS}, {"type": "Hostname", "address": self._name}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": self._port}},
            "declaredFeatures": ["ExtendWebSocketsToKubelet"],
            "nodeInfo": _node_info(),
        }


def _condition(kind: str, status: str, reason: str, now: str, since: str) -> dict[str, str]:
    message = "the process node runs pods as host processes" if kind == "Ready" else "not measured by the process node"
    return {"type": kind, "status": status, "reason": reason, "message": message, "lastHeartbeatTime": now, "lastTransitionTime": since}


def _node_info() -> dict[str, str]:
    return {
        "machineID": _read("/etc/machine-id"),
        "systemUUID": "",
        "bootID": current_boot_id(),
        "kernelVersion": platform.release(),
        "osImage": platform.platform(terse=True),
        "containerRuntimeVersion": "process://1",
        "kubeletVersion": KUBELET_VERSION,
        "kubeProxyVersion": "",
        "operatingSystem": "linux",
        "architecture": _architecture(),
    }


def _architecture() -> str:
    machine = platform.machine()
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="ascii").strip()
    except OSError:
        return ""
