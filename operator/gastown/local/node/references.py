"""Reads what pods refer to (ConfigMaps, Secrets, claims, tokens) as the node, which may see it only for its own pods."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote

from gastown.kube.errors import ApiError, NotFound
from gastown.local.node.api_client import ApiClient


class MissingReference(Exception):
    """A pod names something that is not there (yet); the message says what. Try again later."""


@dataclass(frozen=True, slots=True)
class Token:
    """A ServiceAccount token bound to one pod; times in seconds since the epoch."""

    text: str
    expires: float


class References:
    """Looks things up for pods; every failure becomes a MissingReference that names object and namespace."""

    def __init__(self, client: ApiClient) -> None:
        self._client = client

    async def config_map(self, namespace: str, name: str, *, optional: bool = False) -> dict[str, bytes] | None:
        """Keys and contents; None if it may be absent and is."""
        found = await self._get(f"/api/v1/namespaces/{namespace}/configmaps/{quote(name)}", f'configmap "{name}"', optional=optional)
        if found is None:
            return None
        content = {key: text.encode() for key, text in (found.get("data") or {}).items()}
        return content | {key: base64.b64decode(text) for key, text in (found.get("binaryData") or {}).items()}

    async def secret(self, namespace: str, name: str, *, optional: bool = False) -> dict[str, bytes] | None:
        """Keys and contents; None if it may be absent and is."""
        found = await self._get(f"/api/v1/namespaces/{namespace}/secrets/{quote(name)}", f'secret "{name}"', optional=optional)
        if found is None:
            return None
        return {key: base64.b64decode(text) for key, text in (found.get("data") or {}).items()}

    async def claim_path(self, namespace: str, name: str) -> str:
        """Host directory behind a PersistentVolumeClaim."""
        claim = await self._get(f"/api/v1/namespaces/{namespace}/persistentvolumeclaims/{quote(name)}", f'persistentvolumeclaim "{name}"')
        volume_name = (claim or {}).get("spec", {}).get("volumeName")
        if not volume_name:
            raise MissingReference(f'persistentvolumeclaim "{name}" is not bound yet')
        volume = await self._get(f"/api/v1/persistentvolumes/{quote(volume_name)}", f'persistentvolume "{volume_name}"')
        spec = (volume or {}).get("spec", {})
        source = spec.get("hostPath") or spec.get("local") or {}
        if "path" not in source:
            raise MissingReference(f'persistentvolume "{volume_name}" is neither hostPath nor local; the process node mounts no other kind')
        return str(source["path"])

    async def token(self, pod: Mapping[str, Any], audience: str, seconds: int) -> Token:
        """A fresh token of the pod's ServiceAccount that dies with the pod."""
        metadata = pod["metadata"]
        account = pod["spec"].get("serviceAccountName") or "default"
        path = f"/api/v1/namespaces/{metadata['namespace']}/serviceaccounts/{quote(account)}/token"
        bound = {"apiVersion": "v1", "kind": "Pod", "name": metadata["name"], "uid": metadata["uid"]}
        spec = {"audiences": [audience] if audience else [], "expirationSeconds": max(seconds, 600), "boundObjectRef": bound}
        try:
            body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
            answer = await self._client.patiently("POST", path, body)
        except ApiError as error:
            raise MissingReference(f'token of serviceaccount "{account}": {error}') from error
        status = answer["status"]
        return Token(status["token"], datetime.fromisoformat(status["expirationTimestamp"]).timestamp())

    async def _get(self, path: str, what: str, *, optional: bool = False) -> dict[str, Any] | None:
        try:
            return await self._client.get(path)
        except NotFound as error:
            if optional:
                return None
            raise MissingReference(f"{what} not found") from error
        except ApiError as error:
            raise MissingReference(f"{what}: {error}") from error
