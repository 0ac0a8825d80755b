"""A town whose API server, repository and upstream are real, and whose sessions, operator and gates are played: for the refinery alone."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from gastown.api import conditions, kinds, reasons
from gastown.api.codec import to_dict
from gastown.api.kinds import Kind
from gastown.api.names import merge_request_name, session_branch
from gastown.api.rig import Gate, gate_digest
from gastown.kube.errors import Conflict, NotFound
from gastown.kube.rest import Client
from gastown_git.git_process import run_git
from gastown_git.layout import repository_path
from gastown_git.refinery.evidence import find_evidence, list_evidence
from gastown_git.repository import Repository
from support import git_builder
from support.cluster import Cluster
from support.end_state import end_state
from support.played_town import now_text
from support.players import OVER
from support.repeating import repeating

Json = dict[str, Any]
GATES = [Gate(name="unit-tests", command=["make", "test"])]
RED_FILE = "red"


class LandingTown:
    """One namespace with rig `greeter`, adopted from an upstream on disk.

    Args:
        folder: Gets repositories and upstreams.
        beads: How many merge requests there will be; nothing is gated before all of them are verified, so that runs are alike.
    """

    def __init__(self, cluster: Cluster, namespace: str, folder: Path, beads: int) -> None:
        self.namespace = namespace
        self.data, self.upstreams = folder / "data", folder / "upstreams"
        self.beads = beads
        self.digest = gate_digest(GATES)
        self._cluster = cluster
        self._clients = threading.local()

    @property
    def client(self) -> Client:
        """The administrator's; one per thread."""
        if not hasattr(self._clients, "one"):
            self._clients.one = self._cluster.client()
        client: Client = self._clients.one
        return client

    @property
    def repository(self) -> Repository:
        """The rig's."""
        return Repository.open(repository_path(self.data, self.namespace, "greeter"))

    @property
    def upstream(self) -> Repository:
        """Where the rig came from."""
        return Repository.open(self.upstreams / "greeter.git")

    # What people and sessions do

    def found(self) -> None:
        """Make the upstream, the Town and the Rig."""
        git_builder.repository(self.upstreams / "greeter.git", {"README": b"hello\n", "a": b"0"})
        self._create(kinds.TOWN, "town", {"capacity": {"maxPolecats": 10}})
        git = {"upstream": f"file://{self.upstreams}/greeter.git"}
        self._create(kinds.RIG, "greeter", {"prefix": "gp", "gates": to_dict(GATES), "git": git})

    def is_adopted(self) -> bool:
        """Whether there is a main to work on."""
        said = self.client.get(kinds.RIG, self.namespace, "greeter").get("status", {}).get("conditions", [])
        return any(condition["type"] == conditions.REPOSITORY_READY and condition["status"] == "True" for condition in said)

    def submit(self, bead: str, files: dict[str, bytes], priority: int) -> str:
        """Push a change of the adopted main under the agent's branch, as the repo-server does, and ask for its landing."""
        repository, agent = self.repository, f"greeter-{bead}"
        branch = session_branch(agent, bead)
        adopted = repository.refs.find("refs/upstream/main")
        assert adopted is not None
        head = git_builder.change(repository, adopted, files, message=f"Do {bead}")
        repository.refs.create(f"refs/heads/{branch}", head)
        name = merge_request_name(bead, head)
        self.request(name, bead, agent, head, priority)
        return name

    def request(self, name: str, bead: str, agent: str, head: str, priority: int) -> None:
        """Create a MergeRequest for what is pushed."""
        branch = session_branch(agent, bead)
        spec = {"rigName": "greeter", "beadName": bead, "agentName": agent, "head": head, "branch": branch, "target": "main"}
        self._create(kinds.MERGE_REQUEST, name, {**spec, "priority": priority})

    # What the operator and the gates do

    def play(self) -> None:
        """Verify what is pinned, in the order of priority, and give verdicts: red is a tree that has a file of that name."""
        requests = sorted(self._all(kinds.MERGE_REQUEST), key=lambda mr: int(mr["spec"]["priority"]))
        if len(requests) < self.beads or not all(_said(mr, conditions.HEAD_PINNED) for mr in requests):
            return
        for mr in requests:
            if not _said(mr, conditions.VERIFIED):
                told = _condition(conditions.VERIFIED, "True", reasons.VERIFIED)
                body = {"metadata": {"name": mr["metadata"]["name"], "namespace": self.namespace}, "status": {"conditions": [told]}}
                self.client.apply(kinds.MERGE_REQUEST, body, manager="gastown-operator", subresource="status")
        for run in self._all(kinds.GATE_RUN):
            if not _said(run, conditions.SUCCEEDED):
                with suppress(Conflict, NotFound):
                    self._judge(run)

    @contextmanager
    def playing(self) -> Iterator[None]:
        """Play all the time, in a thread."""
        with repeating(self.play, lambda: 0.05):
            yield

    def _judge(self, run: Json) -> None:
        is_red = RED_FILE in git_builder.read_files(self.repository, run["spec"]["tree"])
        gate = {
            "name": "unit-tests",
            "verdict": "Failed" if is_red else "Passed",
            "exitCode": int(is_red),
            "logTail": "red\n" if is_red else "",
        }
        told = _condition(conditions.SUCCEEDED, "False" if is_red else "True", reasons.FAILED if is_red else reasons.PASSED)
        status = {"gates": [gate], "conditions": [told], "phase": gate["verdict"]}
        self.client.merge_patch(kinds.GATE_RUN, self.namespace, run["metadata"]["name"], {"status": status}, subresource="status")

    # What a test looks at

    def is_over(self) -> bool:
        """Whether every request is over, what landed is published, and nothing is left to collect."""
        requests = self._all(kinds.MERGE_REQUEST)
        if len(requests) < self.beads or not all(mr.get("status", {}).get("phase") in OVER for mr in requests):
            return False
        is_published = all(_said(mr, conditions.PUBLISHED) for mr in requests if mr["status"]["phase"] == "Landed")
        rig = self.client.get(kinds.RIG, self.namespace, "greeter")["status"]
        is_told = rig["head"]["commit"] == git_builder.main_of(self.repository) and not rig["queue"].get("length")
        return is_published and is_told and not self.repository.refs.find_all("refs/candidates/")

    def check_git(self) -> None:
        """The promises that hold at any moment: whatever is on main was gated, whatever was submitted is kept, nothing is broken."""
        repository = self.repository
        for landing in self.landings():
            evidence = find_evidence(repository, self.digest, landing.tree)
            assert evidence is not None, f"{landing.commit} was never gated"
            assert evidence.is_green, f"{landing.commit} is on main and was never green"
        for mr in self._all(kinds.MERGE_REQUEST):
            name, spec = mr["metadata"]["name"], mr["spec"]
            assert repository.refs.find(f"refs/heads/{spec['branch']}") == spec["head"], f"the branch of {name} moved"
            if _said(mr, conditions.HEAD_PINNED):
                assert repository.refs.find(f"refs/mr/{name}") == spec["head"], f"{name} is said to be pinned"
        run_git(["fsck", "--strict", "--connectivity-only"], repository=repository.path, timeout_seconds=60)

    def end_state(self) -> Json:
        """Objects and refs, comparable with another run's: commits that contain a time are named by what they are."""
        repository, landings = self.repository, self.landings()
        runs = self._all(kinds.GATE_RUN)
        renamed = {run["spec"]["sourceURL"]: "<url>" for run in runs}
        renamed |= {run["spec"]["candidate"]: f"<candidate of {run['metadata']['name']}>" for run in runs if run["spec"]["members"]}
        renamed |= {landing.commit: f"<main {number}>" for number, landing in enumerate(reversed(landings), start=1)}
        renamed |= {commit[:12]: f"{word[:-1]} in short>" for commit, word in renamed.items() if commit.isalnum()}
        renamed[str(self.upstreams)] = "<upstreams>"
        found = end_state({kind: self._all(kind) for kind in (kinds.TOWN, kinds.RIG, kinds.MERGE_REQUEST, kinds.GATE_RUN)}, renamed)
        found["main"] = [{"tree": landing.tree, "said": landing.message} for landing in landings]
        found["published"] = git_builder.main_of(self.upstream) == git_builder.main_of(repository)
        of_time = ("refs/evidence/", "refs/heads/main")
        found["refs"] = {ref: "" if ref.startswith(of_time) else target for ref, target in repository.refs.find_all("").items()}
        found["evidence"] = {
            evidence.tree: [(attempt.number, attempt.verdict.value, attempt.members) for attempt in evidence.attempts]
            for evidence in list_evidence(repository, self.digest)
        }
        return found

    def landings(self) -> list[Any]:
        """Commits of main since the adoption, newest first."""
        adopted = self.repository.refs.find("refs/upstream/main")
        return [commit for commit in self.repository.first_parent_log(git_builder.main_of(self.repository)) if commit.commit != adopted]

    def _create(self, kind: Kind, name: str, spec: Json) -> None:
        metadata = {"name": name, "namespace": self.namespace}
        self.client.create(kind, {"apiVersion": kind.api_version, "kind": kind.name, "metadata": metadata, "spec": spec})

    def _all(self, kind: Kind) -> list[Json]:
        return self.client.list_all(kind, self.namespace)


def _said(value: Json, type_: str) -> bool:
    """Whether a condition is told with a status that is not Unknown; for HeadPinned and the like True is meant."""
    found = value.get("status", {}).get("conditions", [])
    return any(condition["type"] == type_ and condition["status"] != "Unknown" for condition in found)


def _condition(type_: str, status: str, reason: str) -> Json:
    return {"type": type_, "status": status, "reason": reason, "message": reason, "lastTransitionTime": now_text()}
