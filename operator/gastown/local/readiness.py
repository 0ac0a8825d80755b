"""Questions to a town whose API server answers: do our kinds answer, is the node there?"""

from __future__ import annotations

from typing import Any

from gastown.api.kinds import GROUP
from gastown.api.labels import ACTOR
from gastown.kube.errors import ApiError, NotFound, TooManyRequests, Unavailable
from gastown.kube.rest import Client
from gastown.local.waiting import wait_until

_CUSTOM_RESOURCES_SECONDS = 30.0
_MUTATING_POLICIES = "/apis/admissionregistration.k8s.io/v1/mutatingadmissionpolicies"
_OUR_POLICIES = "gastown"
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


def wait_until_writable(client: Client, namespace: str) -> None:
    """Wait until objects of our kinds can be written in a namespace, and carry the actor's stamp if the chart's policy asks for it.

    A new policy takes effect after some seconds, and then answers 503 to writes until the API server has learned the schema of our
    kinds, which it looks for every 5 s. Dry runs show both.

    Raises:
        LocalTownError: Time is up; tells which kind answered what.
    """
    definitions = [item for item in client.request("GET", _DEFINITIONS)["items"] if item["spec"]["group"] == GROUP]
    waiting = [(item["spec"]["names"], f"{GROUP}/{item['spec']['versions'][0]['name']}") for item in definitions]
    is_stamped = any(policy["metadata"]["name"].startswith(_OUR_POLICIES) for policy in client.request("GET", _MUTATING_POLICIES)["items"])

    def missing() -> str:
        while waiting:
            names, version = waiting[-1]
            collection = f"/apis/{version}/namespaces/{namespace}/{names['plural']}"
            body = {"apiVersion": version, "kind": names["kind"], "metadata": {"generateName": "gt-"}, "spec": {"title": "dry run"}}
            try:
                answer = client.request("POST", f"{collection}?dryRun=All", body)
            except (Unavailable, TooManyRequests) as error:
                return str(error)
            except ApiError:
                pass  # refused for what it lacks, which comes after the stamp
            else:
                if is_stamped and ACTOR not in answer["metadata"].get("annotations", {}):
                    return f"{names['plural']} carry no {ACTOR} yet"
            waiting.pop()
        return ""

    wait_until(f"writes of the kinds of {GROUP}", missing, timeout_seconds=_CUSTOM_RESOURCES_SECONDS)


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
