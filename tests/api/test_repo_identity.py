"""Who the repo-server takes a session's token for: its agent, and the bead its pod was made for."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from gastown.api import labels
from gastown.api.agent import Agent
from gastown.api.codec import from_dict
from gastown.api.core import Pod
from gastown.api.kinds import AGENT, POD, SERVICE_ACCOUNT
from gastown.kube.aio import Client
from gastown.processes.repo_server.authenticator import Authenticator
from gastown.runtime.store import Store
from gastown_git.server.access import Identity
from support.cluster import Cluster

NAME = "greeter-furiosa"


def make_session(cluster: Cluster, namespace: str, bead: str) -> tuple[dict[str, Any], str]:
    """A session's pod, which no node runs, and the token that is mounted into it."""
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": NAME, "namespace": namespace}}
    cluster.apply(account)
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": NAME, "namespace": namespace, "labels": {labels.AGENT: NAME, labels.BEAD: bead}},
        "spec": {"serviceAccountName": NAME, "containers": [{"name": "agent", "image": "none"}]},
    }
    with cluster.client() as client:
        made = client.create(POD, pod)
        bound = {"apiVersion": "v1", "kind": "Pod", "name": NAME, "uid": made["metadata"]["uid"]}
        spec = {"expirationSeconds": 3600, "audiences": [labels.REPOSITORY_AUDIENCE], "boundObjectRef": bound}
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        answer = client.create(SERVICE_ACCOUNT, body, namespace=namespace, subresource="token", name=NAME)
    return made, answer["status"]["token"]


def identities(cluster: Cluster, namespace: str, token: str, pods: list[dict[str, Any]]) -> Identity | None:
    """What the authenticator makes of a token, with these pods in its store."""
    agents: Store[Agent] = Store(AGENT)
    agents.put(
        from_dict(Agent, {"metadata": {"name": NAME, "namespace": namespace, "resourceVersion": "1"}, "spec": {"rigName": "greeter"}})
    )
    known: Store[Pod] = Store(POD)
    for pod in pods:
        known.put(from_dict(Pod, pod))

    async def ask() -> Identity | None:
        async with Client(cluster.configuration("admin"), user_agent="test") as client:
            return await Authenticator(client, agents, known, clock=time.monotonic).authenticate(token)

    return asyncio.run(ask())


def test_a_session_is_known_with_the_bead_of_its_pod_also_before_the_watch_told_of_it(api_server: Cluster, namespace: str) -> None:
    pod, token = make_session(api_server, namespace, "gp-a3f8")
    for pods in ([pod], []):
        identity = identities(api_server, namespace, token, pods)
        assert identity is not None
        assert (identity.agent, identity.rig, identity.bead) == (NAME, "greeter", "gp-a3f8")


def test_the_token_of_a_session_that_is_over_opens_nothing_not_even_for_the_next_bead(api_server: Cluster, namespace: str) -> None:
    before, token = make_session(api_server, namespace, "gp-a3f8")
    with api_server.client() as client:
        client.delete(POD, namespace, NAME, uid=before["metadata"]["uid"], grace_seconds=0)
    after, _ = make_session(api_server, namespace, "gp-b111")
    assert identities(api_server, namespace, token, [after]) is None
