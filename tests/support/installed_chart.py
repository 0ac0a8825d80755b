"""The chart, rendered or installed by the real helm, and clients with the real identities it makes."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from gastown.api.kinds import RIG, SERVICE_ACCOUNT
from gastown.kube import paths
from gastown.kube.configuration import Configuration
from gastown.kube.errors import Unavailable
from gastown.kube.rest import Client
from support.cluster import ROOT, Cluster, programs
from support.eventually import eventually
from support.manifests import manifest

CHART = ROOT / "charts" / "gastown"
SYSTEM = "gastown-system"
# What a local town sets.
LOCAL = ("networkPolicies.enabled=false", "repoServer.url=http://127.64.0.9:8080", "repo.localUpstreams.hostPath=/srv/upstreams")


def helm(*arguments: str, kubeconfig: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run helm; without a kubeconfig it reaches no cluster."""
    where = [f"--kubeconfig={kubeconfig}"] if kubeconfig else []
    return subprocess.run([str(programs().helm), *arguments, *where], capture_output=True, text=True, timeout=120, check=False)


def render(*settings: str, options: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    """The objects of the chart with these values set; fails the test when helm refuses."""
    answer = helm("template", "gastown", str(CHART), "-n", SYSTEM, *options, *(f"--set={setting}" for setting in settings))
    assert answer.returncode == 0, answer.stderr
    return [document for document in yaml.safe_load_all(answer.stdout) if document]


def find(objects: list[dict[str, Any]], kind: str, name: str) -> dict[str, Any]:
    """One object of a rendered chart."""
    return next(item for item in objects if item["kind"] == kind and item["metadata"]["name"] == name)


@dataclass(frozen=True)
class Installation:
    """A release in a cluster."""

    cluster: Cluster

    def run(self, verb: str, *settings: str, chart: Path = CHART) -> str:
        """helm install, upgrade or uninstall of the release with the values of a local town and these; its output."""
        arguments = [verb, "gastown", "-n", SYSTEM]
        if verb == "install":
            arguments.append("--create-namespace")
        if verb != "uninstall":
            arguments += [str(chart), *(f"--set={setting}" for setting in (*LOCAL, *settings))]
        answer = helm(*arguments, kubeconfig=self.cluster.kubeconfig)
        assert answer.returncode == 0, answer.stderr
        return answer.stdout

    def wait_for_stamps(self) -> None:
        """Wait until the server stamps what is written.

        It takes policies up in about a second, and answers 503 to what it should stamp until it has learned the schemas (5 s at most).
        """
        with self.cluster.client() as client:
            name = name_of(client)
            eventually(lambda: stamp_of(client) == name, describe="the stamping of actors")

    def token_of(self, namespace: str, account: str, pod: dict[str, Any] | None = None) -> str:
        """A ServiceAccount's real token; one that is bound to a pod is what a session has, and dies with it."""
        spec: dict[str, Any] = {"expirationSeconds": 3600}
        if pod is not None:
            metadata = pod["metadata"]
            spec["boundObjectRef"] = {"apiVersion": "v1", "kind": "Pod", "name": metadata["name"], "uid": metadata["uid"]}
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        with self.cluster.client() as administrator:
            made = administrator.create(SERVICE_ACCOUNT, body, namespace=namespace, subresource="token", name=account)
        return str(made["status"]["token"])

    @contextmanager
    def client_of(self, namespace: str, account: str, pod: dict[str, Any] | None = None) -> Iterator[Client]:
        """A client that shows a ServiceAccount's real token, of its session if a pod is given."""
        with self.client_with(self.token_of(namespace, account, pod), account) as client:
            yield client

    def client_with(self, token: str, user_agent: str) -> Client:
        """A client that shows a token, or "" for none."""
        own = self.cluster.configuration("admin")
        return Client(Configuration(server=own.server, authority_file=own.authority_file, token=token), user_agent=user_agent)


def name_of(client: Client) -> str:
    """Who the API server takes a client for."""
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    return str(client.request("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", review)["status"]["userInfo"]["username"])


def stamp_of(client: Client) -> str:
    """The actor that the server would write on an object of this client; "" for none."""
    path = paths.with_query(paths.collection(RIG, "town"), dryRun="All")
    try:
        stored = client.request("POST", path, manifest(RIG, "town"))
    except Unavailable:
        return ""
    return str(stored["metadata"].get("annotations", {}).get("gastown.dev/actor", ""))
