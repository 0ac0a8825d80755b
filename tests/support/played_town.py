"""A town whose other parts are played by the test: kubelet, Job controller, session and refinery, by writing what they would write.

Every step looks at what is there and does what is due, so it can be repeated and the operator may die at any moment.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any

from gastown.api import kinds, labels
from gastown.api.codec import to_dict
from gastown.api.kinds import Kind
from gastown.api.names import gate_run_name, merge_request_name, session_branch
from gastown.api.rig import Gate, gate_digest
from gastown.kube.errors import Conflict, NotFound
from gastown.kube.rest import Client
from support.cluster import Cluster

Json = dict[str, Any]
GATES = [Gate(name="unit-tests", command=["make", "test"])]


def now_text() -> str:
    """RFC 3339, whole seconds."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def object_id(text: str) -> str:
    """40 hex digits that look like a git object."""
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


class PlayedTown:
    """One namespace with a rig, and the hands that move what is not the operator's.

    Attributes:
        hand_in: What a session of a bead does at its end: gets bead and pod, returns the termination message. Replace it to play
            sessions that fail.
        verdict: What the refinery makes of a green or red run: gets the MergeRequest, returns the phase.
        landed: Bead names in the order in which they landed.
    """

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self.cluster = cluster
        self.namespace = namespace
        self._clients = threading.local()
        self.landed: list[str] = []
        self.exit_code: Callable[[Json], int] = lambda _: 0
        self.hand_in: Callable[[Json, Json], Json] = self.submit
        self.is_frozen = False

    @property
    def client(self) -> Client:
        """The administrator's; one per thread, since a client is one connection."""
        if not hasattr(self._clients, "one"):
            self._clients.one = self.cluster.client()
        client: Client = self._clients.one
        return client

    # What people do

    def found(self, *, max_polecats: int = 2, town: Json | None = None, limits: Json | None = None) -> None:
        """Create Town, AgentProfile and Rig, and let the refinery say that the repository is there."""
        self.create(kinds.TOWN, "town", {"capacity": {"maxPolecats": 10}, **(town or {})})
        self.create(kinds.AGENT_PROFILE, "apprentice", {"adapter": "shell", "command": ["./work"], "limits": limits or {}})
        spec = {"prefix": "gp", "profileName": "apprentice", "maxPolecats": max_polecats, "gates": to_dict(GATES)}
        self.create(kinds.RIG, "greeter", spec)
        told = {"type": "RepositoryReady", "status": "True", "reason": "RepositoryCreated", "message": "", "lastTransitionTime": now_text()}
        self.apply_status(kinds.RIG, "greeter", {"conditions": [told]})

    def bead(self, name: str, **spec: Any) -> None:
        """Create a bead."""
        self.create(kinds.BEAD, name, {"title": f"Do {name}", **spec})

    def create(self, kind: Kind, name: str, spec: Json) -> None:
        """Create an object of one of our kinds."""
        metadata = {"name": name, "namespace": self.namespace}
        self.client.create(kind, {"apiVersion": kind.api_version, "kind": kind.name, "metadata": metadata, "spec": spec})

    def get(self, kind: Kind, name: str) -> Json:
        """One object."""
        return self.client.get(kind, self.namespace, name)

    def find(self, kind: Kind, name: str) -> Json | None:
        """One object, or None."""
        try:
            return self.get(kind, name)
        except NotFound:
            return None

    def list(self, kind: Kind) -> list[Json]:
        """All objects of a kind."""
        return self.client.list_all(kind, self.namespace)

    def phase(self, name: str) -> str:
        """Of a bead."""
        return str(self.get(kinds.BEAD, name).get("status", {}).get("phase", ""))

    def condition(self, kind: Kind, name: str, type_: str) -> Json:
        """One condition of an object; {} if it is absent."""
        found = self.get(kind, name).get("status", {}).get("conditions", [])
        return next((condition for condition in found if condition["type"] == type_), {})

    def patch(self, kind: Kind, name: str, patch: Json, subresource: str = "") -> None:
        """A merge patch."""
        self.client.merge_patch(kind, self.namespace, name, patch, subresource=subresource)

    def apply_status(self, kind: Kind, name: str, status: Json) -> None:
        """Server-side apply, as the refinery does it."""
        metadata = {"name": name, "namespace": self.namespace}
        self.client.apply(kind, {"metadata": metadata, "status": status}, manager="gastown-refinery", subresource="status")

    # What the others do

    def play(self) -> None:
        """Everything that is due now, by kubelet, Job controller, sessions and refinery."""
        for pod in self.list(kinds.POD):
            self._tolerant(self._play_pod, pod)
        for job in self.list(kinds.JOB):
            self._tolerant(self._play_job, job)
        for mr in self.list(kinds.MERGE_REQUEST):
            self._tolerant(self._play_refinery, mr)

    @contextmanager
    def playing(self) -> Iterator[None]:
        """Play all the time, in a thread."""
        stop = threading.Event()
        failures: list[BaseException] = []

        def loop() -> None:
            try:
                while not stop.wait(0.03):
                    if not self.is_frozen:
                        self.play()
            except BaseException as failure:  # noqa: BLE001 - told to the test at the end of the block
                failures.append(failure)

        thread = threading.Thread(target=loop, name="players", daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join(20)
            if failures:
                raise failures[0]

    def submit(self, bead: Json, pod: Json) -> Json:
        """A session that commits and hands in."""
        name, agent = bead["metadata"]["name"], pod["metadata"]["name"]
        head = object_id(f"{name} by {agent} in {pod['metadata']['uid']}")
        spec = {"rigName": "greeter", "beadName": name, "agentName": agent, "head": head, "branch": session_branch(agent, name)}
        if self.find(kinds.MERGE_REQUEST, merge_request_name(name, head)) is None:
            self.create(kinds.MERGE_REQUEST, merge_request_name(name, head), {**spec, "target": "main"})
        return {"outcome": "Submitted", "reason": "GatesGreen", "mergeRequest": merge_request_name(name, head), "head": head}

    def _tolerant(self, act: Callable[[Json], None], subject: Json) -> None:
        # What was listed may have changed or gone since; the next round sees it.
        with suppress(Conflict, NotFound):
            act(subject)

    def _play_pod(self, pod: Json) -> None:
        name, phase = pod["metadata"]["name"], pod["status"].get("phase", "Pending")
        if labels.GATE in pod["metadata"].get("labels", {}) or phase in ("Succeeded", "Failed"):
            return
        if pod["metadata"].get("deletionTimestamp"):
            return
        if phase == "Pending":
            self._pod_status(name, "Running", {"running": {"startedAt": now_text()}})
            return
        bead = self.find(kinds.BEAD, pod["metadata"]["labels"][labels.BEAD])
        agent = self.get(kinds.AGENT, name)
        if bead is None or agent.get("status", {}).get("session", {}).get("uid") != pod["metadata"]["uid"]:
            return  # the repo-server would not let this session in yet
        message = self.hand_in(bead, pod)
        if message:
            self.end_session(name, message)

    def end_session(self, agent_name: str, message: Json, exit_code: int = 0) -> None:
        """Let a session's container end."""
        ended = {"exitCode": exit_code, "reason": "Completed" if exit_code == 0 else "Error", "message": json.dumps(message)}
        times = {"startedAt": now_text(), "finishedAt": now_text()}
        self._pod_status(agent_name, "Failed" if exit_code else "Succeeded", {"terminated": {**ended, **times}})

    def _pod_status(self, name: str, phase: str, state: Json, container: str = "agent") -> None:
        told = {"name": container, "image": "x", "imageID": "x", "ready": phase == "Running", "restartCount": 0, "state": state}
        self.patch(kinds.POD, name, {"status": {"phase": phase, "containerStatuses": [told]}}, "status")

    def _play_job(self, job: Json) -> None:
        """Job controller and kubelet at once: the pod is made, and has ended."""
        name = job["metadata"]["name"]
        pod_name = f"{name}-played"
        template = job["spec"]["template"]
        if self.find(kinds.POD, pod_name) is not None:
            return
        owner = {"apiVersion": "batch/v1", "kind": "Job", "name": name, "uid": job["metadata"]["uid"], "controller": True}
        metadata = {"name": pod_name, "namespace": self.namespace, "labels": template["metadata"]["labels"], "ownerReferences": [owner]}
        self.client.create(kinds.POD, {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]})
        code = self.exit_code(job)
        ended = {"exitCode": code, "reason": "Completed" if code == 0 else "Error", "startedAt": now_text(), "finishedAt": now_text()}
        self._pod_status(pod_name, "Failed" if code else "Succeeded", {"terminated": ended}, container="gate")

    def _play_refinery(self, mr: Json) -> None:
        name, status = mr["metadata"]["name"], mr.get("status", {})
        said = {condition["type"]: condition["status"] for condition in status.get("conditions", [])}
        if status.get("phase") in ("Landed", "Rejected", "Conflicted", "Superseded"):
            return
        if said.get("HeadPinned") != "True":
            pinned = {"type": "HeadPinned", "status": "True", "reason": "HeadPinned", "message": "", "lastTransitionTime": now_text()}
            self.apply_status(kinds.MERGE_REQUEST, name, {"phase": "Verifying", "changedPaths": 2, "conditions": [pinned]})
            return
        if said.get("Verified") != "True":
            return
        run = self._gate_run(mr)
        verdict = next((told for told in run.get("status", {}).get("conditions", []) if told["type"] == "Succeeded"), {"status": "Unknown"})
        if verdict["status"] == "Unknown":
            return
        kept = [condition for condition in status["conditions"] if condition["type"] == "HeadPinned"]
        if verdict["status"] == "False":
            self.apply_status(kinds.MERGE_REQUEST, name, {"phase": "Rejected", "changedPaths": 2, "conditions": kept})
            return
        landed = {"type": "Landed", "status": "True", "reason": "Landed", "message": "", "lastTransitionTime": now_text()}
        commit = object_id(f"capsule of {name}")
        told = {"phase": "Landed", "changedPaths": 2, "landedCommit": commit, "landedTime": now_text(), "conditions": [*kept, landed]}
        self.apply_status(kinds.MERGE_REQUEST, name, told)
        self.landed.append(mr["spec"]["beadName"])

    def _gate_run(self, mr: Json) -> Json:
        tree, digest = object_id(f"tree of {mr['metadata']['name']}"), gate_digest(GATES)
        name = gate_run_name("greeter", tree, digest, 1)
        run = self.find(kinds.GATE_RUN, name)
        if run is None:
            spec = {"rigName": "greeter", "candidate": mr["spec"]["head"], "base": object_id("main"), "tree": tree, "gateDigest": digest}
            members = {"members": [mr["metadata"]["name"]], "attempt": 1, "sourceURL": "http://repo.invalid/tree.tar"}
            self.create(kinds.GATE_RUN, name, {**spec, **members})
            run = self.get(kinds.GATE_RUN, name)
        return run
