"""The one writer of a pod's status, against a real API server."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from gastown.local.node.api_client import ApiClient
from gastown.local.node.status_writer import StatusWriter
from support.cluster import Cluster


def pod(namespace: str) -> dict[str, Any]:
    container = {"name": "main", "image": "unused", "command": ["true"]}
    metadata = {"name": "furiosa", "namespace": namespace}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": [container], "nodeName": "laptop"}}


def test_the_last_status_of_a_pod_whose_name_was_taken_over_is_dropped(api_server: Cluster, namespace: str) -> None:
    api_server.kubectl("create", "-f", "-", stdin=json.dumps(pod(namespace)))
    before = api_server.get("pod", "furiosa", namespace)["metadata"]["uid"]
    api_server.kubectl("delete", "pod", "furiosa", "-n", namespace, "--force", "--grace-period=0")
    api_server.kubectl("create", "-f", "-", stdin=json.dumps(pod(namespace)))

    async def last_words() -> None:
        async with ApiClient(api_server.configuration()) as client:
            writer = StatusWriter(client, namespace, "furiosa", before)
            writer.set({"phase": "Succeeded"})
            await asyncio.wait_for(writer.flush(), 5)

    asyncio.run(last_words())
    assert api_server.get("pod", "furiosa", namespace)["status"]["phase"] == "Pending"
