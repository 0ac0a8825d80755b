"""Makes PersistentVolumes for claims: a directory per claim, kept when the claim goes.

With an identity of its own, since a node may not create volumes. The built-in hostpath provisioner writes to a fixed folder below /tmp.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from gastown.kube.errors import AlreadyExists, ApiError, NotFound
from gastown.local.node.api_client import ApiClient, Mirror, Object

PROVISIONER = "gastown.dev/process-node"
_RETRY_SECONDS = 2.0
_SELECTED_NODE = "volume.kubernetes.io/selected-node"

_log = logging.getLogger(__name__)


class Provisioner:
    """Serves the claims whose StorageClass names PROVISIONER and which the scheduler has sent to this node."""

    def __init__(self, client: ApiClient, node_name: str, directory: Path) -> None:
        self._client = client
        self._node_name = node_name
        self._directory = directory
        self._retries: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """For ever."""
        await Mirror(self._client, "/api/v1/persistentvolumeclaims", self._on_listed, self._on_event).run()

    async def _on_listed(self, claims: list[Object]) -> None:
        for claim in claims:
            await self._on_event("ADDED", claim)

    async def _on_event(self, kind: str, claim: Object) -> None:
        if kind == "DELETED" or not may_provision(claim, self._node_name):
            return
        metadata = claim["metadata"]
        class_name = claim["spec"]["storageClassName"]
        try:
            storage_class = await self._client.request("GET", f"/apis/storage.k8s.io/v1/storageclasses/{quote(class_name)}")
            if storage_class.get("provisioner") != PROVISIONER:
                return
            volume = volume_for(claim, self._node_name, self._directory)
            await self._client.request("POST", "/api/v1/persistentvolumes", volume)
            _log.info("volume.created claim=%s/%s", metadata["namespace"], metadata["name"])
        except AlreadyExists:
            return
        except NotFound:
            _log.warning("volume.no_class claim=%s/%s class=%s", metadata["namespace"], metadata["name"], class_name)
        except ApiError as error:
            _log.warning("volume.not_created claim=%s/%s error=%s", metadata["namespace"], metadata["name"], error)
            self._try_again(claim)

    def _try_again(self, claim: Object) -> None:
        async def _later() -> None:
            await asyncio.sleep(_RETRY_SECONDS)
            path = f"/api/v1/namespaces/{claim['metadata']['namespace']}/persistentvolumeclaims/{claim['metadata']['name']}"
            with contextlib.suppress(ApiError):
                await self._on_event("MODIFIED", await self._client.request("GET", path))

        task = asyncio.create_task(_later())
        self._retries.add(task)
        task.add_done_callback(self._retries.discard)


def may_provision(claim: Mapping[str, Any], node_name: str) -> bool:
    """Whether a claim still needs a volume and the scheduler chose this node for it."""
    spec, metadata = claim["spec"], claim["metadata"]
    if spec.get("volumeName") or not spec.get("storageClassName") or "deletionTimestamp" in metadata:
        return False
    return bool((metadata.get("annotations") or {}).get(_SELECTED_NODE) == node_name)


def volume_for(claim: Mapping[str, Any], node_name: str, directory: Path) -> dict[str, Any]:
    """The PersistentVolume for a claim. Its name follows from the claim's uid: made twice is made once.

    Always Retain: a town keeps its git in there, and nobody may lose it by a helm uninstall.
    """
    metadata, spec = claim["metadata"], claim["spec"]
    requirement = {"key": "kubernetes.io/hostname", "operator": "In", "values": [node_name]}
    reference = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", **{key: metadata[key] for key in ("namespace", "name", "uid")}}
    path = directory / f"{metadata['namespace']}_{metadata['name']}_{metadata['uid']}"
    return {
        "metadata": {"name": f"pvc-{metadata['uid']}", "annotations": {"pv.kubernetes.io/provisioned-by": PROVISIONER}},
        "spec": {
            "accessModes": spec.get("accessModes") or ["ReadWriteOnce"],
            "capacity": {"storage": ((spec.get("resources") or {}).get("requests") or {}).get("storage", "1Gi")},
            "claimRef": reference,
            "hostPath": {"path": str(path), "type": "DirectoryOrCreate"},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [requirement]}]}},
            "persistentVolumeReclaimPolicy": "Retain",
            "storageClassName": spec["storageClassName"],
            "volumeMode": spec.get("volumeMode") or "Filesystem",
        },
    }
