"""Questions to a town whose API server answers: do our kinds answer, is the node there?"""

from __future__ import annotations

from typing import Any

from gastown.api.kinds import GROUP
from gastown.kube.errors import ApiError, NotFound
from gastown.kube.rest import Client
from gastown.local.waiting import wait_until

_CUSTOM_RESOURCES_SECONDS = 30.0
_DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


def wait_for_custom_resources(client: Client) -> list[str]:
    """Wait until each of our kinds that is defined answers a LIST; for some seconds they say 429 although the server is ready.

    Returns:
        Plural names of the kinds.

    Raises:
        LocalTownError: One did not answer in time.
    """
    definitions = [item for item in client.request("GET", _DEFINITIONS)["items"] if item["spec"]["group"] == GROUP]
    waiting = [path for definition in definitions for path in _collections(definition)]

    def missing() -> str:
        while waiting:
            try:
                client.request("GET", f"{waiting[-1]}?limit=1")
            except ApiError as error:
                return str(error)
            waiting.pop()
        return ""

    wait_until(f"the kinds of {GROUP}", missing, timeout_seconds=_CUSTOM_RESOURCES_SECONDS)
    return sorted(definition["spec"]["names"]["plural"] for definition in definitions)


def find_node(client: Client, name: str) -> dict[str, Any] | None:
    """The Node object, or None."""
    try:
        return client.request("GET", f"/api/v1/nodes/{name}")
    except NotFound:
        return None


def is_node_ready(node: dict[str, Any] | None) -> bool:
    """Whether a node says it is ready."""
    conditions = (node or {}).get("status", {}).get("conditions") or []
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)


def _collections(definition: dict[str, Any]) -> list[str]:
    spec = definition["spec"]
    return [f"/apis/{spec['group']}/{version['name']}/{spec['names']['plural']}" for version in spec["versions"] if version["served"]]
