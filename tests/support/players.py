"""The parts of a town that are not the operator: kubelet, Job controller, session and refinery, by writing what they would write.

Every step looks at what is there and does what is due, so it can be repeated and the operator may die at any moment. The world is a real
API server (`played_town`) or one in memory (`simulated_town`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any, Protocol

from gastown.api import kinds, labels
from gastown.api.codec import to_dict
from gastown.api.kinds import Kind
from gastown.api.meta import Condition
from gastown.api.names import gate_run_name, merge_request_name, session_branch
from gastown.api.rig import Gate, gate_digest

Json = dict[str, Any]
GATES = [Gate(name="unit-tests", command=["make", "test"])]
OVER = ("Landed", "Rejected", "Conflicted", "Superseded")


class World(Protocol):
    """Whatever holds objects of one namespace as JSON."""

    def find(self, kind: Kind, name: str) -> Json | None: ...

    def all(self, kind: Kind) -> list[Json]: ...

    def create(self, kind: Kind, body: Json) -> Json: ...

    def patch(self, kind: Kind, name: str, patch: Json, subresource: str = "") -> Json: ...

    def apply_status(self, kind: Kind, name: str, status: Json) -> Json: ...


def object_id(text: str) -> str:
    """40 hex digits that look like a git object."""
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


class Players:
    """The hands that move what is not the operator's.

    Args:
        clock: The present time as RFC 3339.

    Attributes:
        landed: Names of beads in the order in which they landed.
        may_land: Whether the refinery lands a MergeRequest whose gates are green.
    """

    def __init__(self, world: World, clock: Callable[[], str]) -> None:
        self.world = world
        self.clock = clock
        self.landed: list[str] = []
        self.may_land: Callable[[Json], bool] = lambda _: True

    # Kubelet

    def start_pod(self, pod: Json) -> bool:
        """Let a session's container run; False if it does already or may not."""
        if pod.get("status", {}).get("phase", "Pending") != "Pending" or pod["metadata"].get("deletionTimestamp"):
            return False
        self.pod_status(pod["metadata"]["name"], "Running", {"running": {"startedAt": self.clock()}})
        return True

    def end_session(self, agent_name: str, message: Json, exit_code: int = 0) -> None:
        """Let a session's container end with a termination message."""
        self.end_pod(agent_name, exit_code, "agent", json.dumps(message))

    def end_pod(self, name: str, exit_code: int, container: str, message: str = "") -> None:
        """Let a container end."""
        ended = {"exitCode": exit_code, "reason": "Completed" if exit_code == 0 else "Error", "message": message}
        times = {"startedAt": self.clock(), "finishedAt": self.clock()}
        self.pod_status(name, "Failed" if exit_code else "Succeeded", {"terminated": {**ended, **times}}, container)

    def pod_status(self, name: str, phase: str, state: Json, container: str = "agent") -> None:
        """Tell how a pod of one container is."""
        told = {"name": container, "image": "x", "imageID": "x", "ready": phase == "Running", "restartCount": 0, "state": state}
        self.world.patch(kinds.POD, name, {"status": {"phase": phase, "containerStatuses": [told]}}, "status")

    # Session

    def is_let_in(self, pod: Json) -> bool:
        """Whether the repo-server would serve this session: its pod is the agent's present one."""
        agent = self.world.find(kinds.AGENT, pod["metadata"]["name"])
        uid = (agent or {}).get("status", {}).get("session", {}).get("uid")
        return bool(uid == pod["metadata"]["uid"] and pod.get("status", {}).get("phase") == "Running")

    def submit(self, pod: Json) -> Json:
        """Commit and hand in; returns the termination message."""
        name, agent = pod["metadata"]["labels"][labels.BEAD], pod["metadata"]["name"]
        head = object_id(f"{name} by {agent} in {pod['metadata']['uid']}")
        request = merge_request_name(name, head)
        if self.world.find(kinds.MERGE_REQUEST, request) is None:
            spec = {"rigName": "greeter", "beadName": name, "agentName": agent, "head": head, "branch": session_branch(agent, name)}
            self.create(kinds.MERGE_REQUEST, request, {**spec, "target": "main"})
        return {"outcome": "Submitted", "reason": "GatesGreen", "mergeRequest": request, "head": head}

    # Job controller and kubelet of gates

    def start_job(self, job: Json) -> bool:
        """Make the Job's pod; False if it is there."""
        name, template = f"{job['metadata']['name']}-played", job["spec"]["template"]
        if self.world.find(kinds.POD, name) is not None:
            return False
        owner = {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "name": job["metadata"]["name"],
            "uid": job["metadata"]["uid"],
            "controller": True,
        }
        metadata = {"name": name, "labels": template["metadata"]["labels"], "ownerReferences": [owner]}
        self.world.create(kinds.POD, {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]})
        return True

    def end_job(self, job: Json, exit_code: int = 0) -> bool:
        """Let the gate's program end; False if it does not run."""
        pod = self.world.find(kinds.POD, f"{job['metadata']['name']}-played")
        if pod is None or pod.get("status", {}).get("phase") in ("Succeeded", "Failed"):
            return False
        self.end_pod(pod["metadata"]["name"], exit_code, "gate")
        return True

    # Refinery

    def refine(self, mr: Json) -> bool:
        """The next step of a MergeRequest; False if it waits for somebody or is over."""
        name, status = mr["metadata"]["name"], mr.get("status", {})
        said = {condition["type"]: condition["status"] for condition in status.get("conditions", [])}
        if status.get("phase") in OVER:
            return False
        if said.get("HeadPinned") != "True":
            self.tell(mr, "Verifying", self.condition("HeadPinned"))
            return True
        if said.get("Verified") != "True":
            return False
        verdict = self.verdict(mr)
        if verdict in (None, "Unknown"):
            return verdict is None
        if verdict == "False":
            self.tell(mr, "Rejected")
            return True
        if not self.may_land(mr):
            return False
        commit = object_id(f"capsule of {name}")
        self.tell(mr, "Landed", self.condition("Landed"), landedCommit=commit, landedTime=self.clock())
        self.landed.append(mr["spec"]["beadName"])
        return True

    def verdict(self, mr: Json) -> str | None:
        """Status of the gates of a MergeRequest; None when the run was only made now."""
        tree, digest = object_id(f"tree of {mr['metadata']['name']}"), gate_digest(GATES)
        name = gate_run_name("greeter", tree, digest, 1)
        run = self.world.find(kinds.GATE_RUN, name)
        if run is None:
            spec = {"rigName": "greeter", "candidate": mr["spec"]["head"], "base": object_id("main"), "tree": tree, "gateDigest": digest}
            members = {"members": [mr["metadata"]["name"]], "attempt": 1, "sourceURL": "http://repo.invalid/tree.tar"}
            self.create(kinds.GATE_RUN, name, {**spec, **members})
            return None
        said = run.get("status", {}).get("conditions", [])
        return next((str(condition["status"]) for condition in said if condition["type"] == "Succeeded"), "Unknown")

    def tell(self, mr: Json, phase: str, *conditions: Json, **fields: Any) -> None:
        """Apply the refinery's part of a MergeRequest's status."""
        own = {"HeadPinned", "Landed"}
        kept = [condition for condition in mr.get("status", {}).get("conditions", []) if condition["type"] in own]
        status = {"phase": phase, "changedPaths": 2, "conditions": [*kept, *conditions], **fields}
        self.world.apply_status(kinds.MERGE_REQUEST, mr["metadata"]["name"], status)

    def condition(self, type_: str) -> Json:
        """A condition that is True since now, in the form in which our programs write it: the operator may not change another's."""
        said = Condition(type=type_, status="True", reason=type_, lastTransitionTime=self.clock())
        found: Json = to_dict(said)
        return found

    # People

    def create(self, kind: Kind, name: str, spec: Json) -> None:
        """Create an object of one of our kinds."""
        self.world.create(kind, {"apiVersion": kind.api_version, "kind": kind.name, "metadata": {"name": name}, "spec": spec})
