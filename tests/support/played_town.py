"""A town on a real API server whose other parts are played by the test (`players`), step by step or by a thread."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any

from gastown.api import kinds, labels
from gastown.api.codec import to_dict
from gastown.api.kinds import Kind
from gastown.kube.errors import Conflict, NotFound
from gastown.kube.rest import Client
from support.cluster import Cluster
from support.players import GATES, Json, Players
from support.repeating import repeating


def now_text() -> str:
    """RFC 3339, whole seconds."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class PlayedTown:
    """One namespace with a rig, and the hands that move what is not the operator's.

    Attributes:
        players: Those hands.
        work: What a session does: gets its pod, returns the termination message, or {} to go on working.
        exit_code: Of a gate, by its Job.
        job_controller: Who makes the pods of Jobs; where the chart's policies hold that can not be the administrator.
    """

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self.cluster = cluster
        self.namespace = namespace
        self.players = Players(self, now_text)
        self.work: Callable[[Json], Json] = self.players.submit
        self.exit_code: Callable[[Json], int] = lambda _: 0
        self.job_controller = "admin"
        self._clients = threading.local()

    @property
    def client(self) -> Client:
        """The administrator's."""
        return self._client_of("admin")

    def _client_of(self, identity: str) -> Client:
        """One per thread, since a client is one connection."""
        mine: dict[str, Client] = self._clients.__dict__
        if identity not in mine:
            mine[identity] = self.cluster.client(identity)
        return mine[identity]

    @property
    def landed(self) -> list[str]:
        """Names of beads in the order in which they landed."""
        return self.players.landed

    # What people do

    def found(self, *, max_polecats: int = 2, town: Json | None = None, limits: Json | None = None) -> None:
        """Create Town, AgentProfile and Rig, and let the refinery say that the repository is there."""
        self.players.create(kinds.TOWN, "town", {"capacity": {"maxPolecats": 10}, **(town or {})})
        self.players.create(kinds.AGENT_PROFILE, "apprentice", {"adapter": "shell", "command": ["./work"], "limits": limits or {}})
        spec = {"prefix": "gp", "profileName": "apprentice", "maxPolecats": max_polecats, "gates": to_dict(GATES)}
        self.players.create(kinds.RIG, "greeter", spec)
        self.apply_status(kinds.RIG, "greeter", {"conditions": [self.players.condition("RepositoryReady")]})

    def bead(self, name: str, **spec: Any) -> None:
        """Create a bead."""
        self.players.create(kinds.BEAD, name, {"title": f"Do {name}", **spec})

    def convoy(self, name: str, spec: Json) -> None:
        """Create a convoy."""
        self.players.create(kinds.CONVOY, name, spec)

    # The world of the players

    def create(self, kind: Kind, body: Json) -> Json:
        """Create an object in this namespace."""
        client = self._client_of(self.job_controller) if kind == kinds.POD else self.client
        return client.create(kind, {**body, "metadata": {**body["metadata"], "namespace": self.namespace}})

    def find(self, kind: Kind, name: str) -> Json | None:
        """One object, or None."""
        try:
            return self.get(kind, name)
        except NotFound:
            return None

    def all(self, kind: Kind) -> list[Json]:
        """All objects of a kind."""
        return self.client.list_all(kind, self.namespace)

    def patch(self, kind: Kind, name: str, patch: Json, subresource: str = "") -> Json:
        """A merge patch."""
        return self.client.merge_patch(kind, self.namespace, name, patch, subresource=subresource)

    def apply_status(self, kind: Kind, name: str, status: Json) -> Json:
        """Server-side apply, as the refinery does it."""
        body = {"metadata": {"name": name, "namespace": self.namespace}, "status": status}
        return self.client.apply(kind, body, manager="gastown-refinery", subresource="status")

    # What a test looks at

    def get(self, kind: Kind, name: str) -> Json:
        """One object."""
        return self.client.get(kind, self.namespace, name)

    def phase(self, name: str, kind: Kind = kinds.BEAD) -> str:
        """Of a bead, or of an object of another kind."""
        return str(self.get(kind, name).get("status", {}).get("phase", ""))

    def condition(self, name: str, type_: str, kind: Kind = kinds.BEAD) -> Json:
        """One condition of an object; {} if it is absent."""
        found = self.get(kind, name).get("status", {}).get("conditions", [])
        return next((condition for condition in found if condition["type"] == type_), {})

    def sessions(self) -> list[Json]:
        """The pods of sessions."""
        return [pod for pod in self.all(kinds.POD) if labels.SESSION in pod["metadata"].get("labels", {})]

    def is_at_rest(self) -> bool:
        """Whether no agent has a session."""
        return not self.sessions() and all(agent.get("status", {}).get("phase") == "Idle" for agent in self.all(kinds.AGENT))

    # Playing

    def play(self) -> None:
        """Everything that is due now, by kubelet, Job controller, sessions and refinery."""
        # What was listed may have changed or gone since; the next round sees it.
        for pod in self.sessions():
            with suppress(Conflict, NotFound):
                self._play_session(pod)
        for job in self.all(kinds.JOB):
            with suppress(Conflict, NotFound):
                self.players.start_job(job)
                self.players.end_job(job, self.exit_code(job))
        for mr in self.all(kinds.MERGE_REQUEST):
            with suppress(Conflict, NotFound):
                self.players.refine(mr)

    @contextmanager
    def playing(self) -> Iterator[None]:
        """Play all the time, in a thread."""
        with repeating(self.play, lambda: 0.03):
            yield

    def _play_session(self, pod: Json) -> None:
        if pod["metadata"].get("deletionTimestamp"):
            self._stop(pod)
            return
        if self.players.start_pod(pod):
            return
        if self.players.is_let_in(pod) and (message := self.work(pod)):
            self.players.end_session(pod["metadata"]["name"], message, exit_code=1 if message["outcome"] == "Failed" else 0)

    def _stop(self, pod: Json) -> None:
        """As the kubelet does with a pod that is deleted with grace: its containers end, then the object may go."""
        name = pod["metadata"]["name"]
        if pod.get("status", {}).get("phase") not in ("Succeeded", "Failed"):
            self.players.end_session(name, {"outcome": "Handoff", "reason": "Stopped"})
        self.client.delete(kinds.POD, self.namespace, name, uid=pod["metadata"]["uid"], grace_seconds=0)
