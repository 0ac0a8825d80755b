"""Sends a pod's status, newest only: while one write is on its way, what comes in between is skipped."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

from gastown.kube.errors import ApiError, Conflict, Invalid, NotFound
from gastown.local.node.api_client import STRATEGIC_MERGE, ApiClient

# Steps inside one phase (an init container ended, the next began) may share one write; a change of phase or readiness goes at once.
_GATHER_SECONDS = 0.15
_LONGEST_RETRY_SECONDS = 10.0

_log = logging.getLogger(__name__)


class StatusWriter:
    """The one writer of one pod's status, for the pod with this uid and no later one of its name."""

    def __init__(self, client: ApiClient, namespace: str, name: str, uid: str) -> None:
        self._client = client
        self._path = f"/api/v1/namespaces/{namespace}/pods/{name}/status"
        self._uid = uid
        self._wanted: dict[str, Any] | None = None
        self._written: dict[str, Any] | None = None
        self._task: asyncio.Task[None] | None = None
        self._urgent = asyncio.Event()
        self._is_gone = False
        self._version = 0

    def set(self, status: dict[str, Any]) -> None:
        """Have this status written soon, unless it is what was written last. The first one of an agent's life is always written."""
        self._wanted = status
        if self._is_gone or status == self._written:
            return
        if _is_urgent(self._written, status):
            self._urgent.set()
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._write())

    def observe(self, pod: Mapping[str, Any]) -> None:
        """The API shows the pod: write again if somebody else changed its readiness.

        The node controller does so for all pods of a node that was silent (asleep, cut off), and nobody else takes it back.
        """
        is_idle = self._task is None or self._task.done()
        # Versions are compared as numbers: what was sent before our own last write is old news.
        if self._written is None or not is_idle or int(pod["metadata"]["resourceVersion"]) <= self._version:
            return
        if _readiness(pod.get("status", {})) != _readiness(self._written):
            self._written = None
            if self._wanted is not None:
                self.set(self._wanted)

    async def flush(self) -> None:
        """Return when the newest status has been written, or the pod is gone."""
        self._urgent.set()
        if self._task is not None:
            await self._task

    def close(self) -> None:
        """Write nothing more."""
        self._is_gone = True
        if self._task is not None:
            self._task.cancel()

    async def _write(self) -> None:
        wait = 0.1
        while self._wanted != self._written and not self._is_gone:
            try:
                async with asyncio.timeout(_GATHER_SECONDS):
                    await self._urgent.wait()
            except TimeoutError:
                pass
            self._urgent.clear()
            wanted = self._wanted
            try:
                # The uid makes it conditional: a new pod of the same name must not get this status.
                body = {"metadata": {"uid": self._uid}, "status": wanted}
                answer = await self._client.request("PATCH", self._path, body, STRATEGIC_MERGE)
                self._version = int(answer["metadata"]["resourceVersion"])
                self._written = wanted
                wait = 0.1
            except (NotFound, Conflict):
                self._is_gone = True
            except ApiError as error:
                if isinstance(error, Invalid) and "metadata.uid" in error.message:
                    self._is_gone = True  # a later pod has the name by now, and its uid can not be patched to ours
                    return
                _log.warning("status.refused path=%s error=%s", self._path, error)
                await asyncio.sleep(wait)
                wait = min(wait * 2, _LONGEST_RETRY_SECONDS)


def _is_urgent(before: dict[str, Any] | None, status: dict[str, Any]) -> bool:
    if before is None:
        return bool(status["phase"] != "Pending")
    return before["phase"] != status["phase"] or _readiness(before) != _readiness(status)


def _readiness(status: Mapping[str, Any]) -> dict[str, str]:
    return {each["type"]: each["status"] for each in status.get("conditions") or [] if each["type"] in ("Ready", "ContainersReady")}
