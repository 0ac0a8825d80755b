"""What a session may do with its own token, at the real repo-server, and until when."""

from __future__ import annotations

import base64
import json
import subprocess
import urllib.error
import urllib.request
from typing import Any

import pytest

from gastown.api.labels import REPOSITORY_AUDIENCE
from gastown.local.chart import repo_url
from support.cluster import Cluster
from support.eventually import eventually
from support.example_convoy import ExampleTown, documents

RIG = "trusted"
SLEEPER = "import time; time.sleep(600)"


@pytest.fixture(scope="module")
def town(town_cluster: Cluster) -> ExampleTown:
    """A rig with one session that does nothing but stay."""
    example = ExampleTown(town_cluster)
    example.make_upstream(RIG)
    rig, profile, _ = documents(RIG, "tr", "unused")
    profile["metadata"]["name"] = rig["spec"]["profileName"] = "sleeper"
    profile["spec"]["command"] = ["python3", "-c", SLEEPER]
    bead = {"apiVersion": "gastown.dev/v1alpha1", "kind": "Bead", "metadata": {"name": "tr-1"}, "spec": {"title": "Stay", "rigName": RIG}}
    example.apply([rig, profile, bead])
    eventually(lambda: session_pod(example)["status"]["phase"] == "Running", 60, "the session runs")
    return example


def session_pod(town: ExampleTown) -> dict[str, Any]:
    pods = town.items("pods", f"gastown.dev/rig={RIG},gastown.dev/bead=tr-1")
    assert pods, "no session pod yet"
    return pods[0]


def token_of(town: ExampleTown, pod: dict[str, Any], audience: str = REPOSITORY_AUDIENCE) -> str:
    """A token as the node gets it for the pod: bound to it, so it dies with it."""
    metadata = pod["metadata"]
    bound = ["--bound-object-kind=Pod", f"--bound-object-name={metadata['name']}", f"--bound-object-uid={metadata['uid']}"]
    audiences = [f"--audience={audience}"] if audience else []
    return town.cluster.kubectl("create", "token", metadata["name"], *bound, *audiences).stdout.strip()


def status_of(town: ExampleTown, token: str, rig: str = RIG, namespace: str = "town") -> int:
    """HTTP status of asking to fetch with a token."""
    url = f"{repo_url(town.cluster.directory)}/{namespace}/{rig}.git/info/refs?service=git-upload-pack"
    password = base64.b64encode(f"agent:{token}".encode()).decode()
    request = urllib.request.Request(url, headers={"Authorization": f"Basic {password}"})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def push(town: ExampleTown, token: str, ref: str, tmp_path: Any) -> subprocess.CompletedProcess[str]:
    """Push the commit before the upstream's main, by force, to a ref of the rig with a token."""
    helper = tmp_path / "helper"
    helper.write_text(f"#!/bin/sh\necho username=agent\necho password={token}\n")
    helper.chmod(0o700)
    settings = ["-c", "credential.helper=", "-c", f"credential.helper={helper}"]
    url = f"{repo_url(town.cluster.directory)}/town/{RIG}.git"
    command = ["git", "-C", str(town.upstream(RIG)), *settings, "push", url, f"+main~1:{ref}"]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_a_session_reads_its_rig_and_no_other_audience_or_namespace_does(town: ExampleTown) -> None:
    pod = session_pod(town)
    token = token_of(town, pod)
    assert status_of(town, token) == 200
    assert status_of(town, token_of(town, pod, "")) == 401
    assert status_of(town, "forged." + token) == 401
    assert status_of(town, token, namespace="elsewhere") == 403
    assert status_of(town, token, rig="single") == 403


def test_a_session_pushes_its_own_branch_and_is_told_why_it_may_not_push_main(town: ExampleTown, tmp_path: Any) -> None:
    pod = session_pod(town)
    token, agent = token_of(town, pod), pod["metadata"]["name"]
    own = push(town, token, f"refs/heads/polecat/{agent}/tr-1", tmp_path)
    assert own.returncode == 0, own.stderr
    foreign_bead = f"refs/heads/polecat/{agent}/tr-9"  # whose next session would go on from it
    for ref in ("refs/heads/main", "refs/heads/polecat/other/tr-1", foreign_bead, "refs/mr/tr-1-000000000000", "refs/tags/v1"):
        refused = push(town, token, ref, tmp_path)
        assert refused.returncode != 0
        assert "remote rejected" in refused.stderr
        assert f"polecat/{agent}/" in refused.stderr  # what to do instead


def test_a_deleted_session_is_shut_out(town: ExampleTown) -> None:
    pod = session_pod(town)
    token = token_of(town, pod)
    assert status_of(town, token) == 200
    # The rig is suspended, so that no new session comes; the old one has its token still.
    patch = json.dumps({"spec": {"suspend": True}})
    town.cluster.kubectl("patch", "rig", RIG, "--type=merge", "-p", patch)
    town.cluster.kubectl("delete", "pod", pod["metadata"]["name"], "--wait=true", "--grace-period=1", timeout_seconds=90)
    # The API server remembers a good token for 10 s; the token itself would be good for an hour.
    eventually(lambda: status_of(town, token) == 401, 60, "the token is refused")
