"""Warning Events about pods, for people who ask `kubectl describe`; each text once per pod, and never in anybody's way."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from typing import Any

from gastown.kube.errors import ApiError
from gastown.local.node.api_client import ApiClient
from gastown.local.node.status import timestamp

_REPEAT_SECONDS = 600.0
_REMEMBERED = 2000

_log = logging.getLogger(__name__)


class EventRecorder:
    """Writes Events in the background; a lost one is only a lost hint."""

    def __init__(self, client: ApiClient, node_name: str) -> None:
        self._client = client
        self._node_name = node_name
        self._told: dict[tuple[str, str, str], float] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def warn(self, pod: Mapping[str, Any], reason: str, message: str) -> None:
        """Tell about a pod, unless the same was told in the last ten minutes."""
        metadata = pod["metadata"]
        key = (metadata["uid"], reason, message)
        if time.monotonic() - self._told.get(key, -_REPEAT_SECONDS) < _REPEAT_SECONDS:
            return
        if len(self._told) >= _REMEMBERED:
            self._told.clear()
        self._told[key] = time.monotonic()
        _log.warning("pod.%s namespace=%s name=%s message=%s", reason, metadata["namespace"], metadata["name"], message)
        task = asyncio.create_task(self._write(metadata, reason, message))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _write(self, metadata: Mapping[str, Any], reason: str, message: str) -> None:
        now = timestamp(time.time())
        event = {
            "metadata": {"generateName": f"{metadata['name'][:200]}.", "namespace": metadata["namespace"]},
            "involvedObject": {"apiVersion": "v1", "kind": "Pod", **{key: metadata[key] for key in ("name", "namespace", "uid")}},
            "reason": reason,
            "message": message[:1000],
            "type": "Warning",
            "source": {"component": "gastown-process-node", "host": self._node_name},
            "reportingComponent": "gastown-process-node",
            "reportingInstance": self._node_name,
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }
        try:
            await self._client.request("POST", f"/api/v1/namespaces/{metadata['namespace']}/events", event)
        except ApiError as error:
            _log.info("event.lost namespace=%s name=%s error=%s", metadata["namespace"], metadata["name"], error)
