"""A played town whose refinery returns some work before it lands, and whose sessions always write the same commits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gastown.api import kinds, labels
from gastown.api.names import merge_request_name, session_branch
from support.cluster import Cluster
from support.end_state import KINDS, end_state
from support.played_town import PlayedTown, now_text
from support.players import OVER, Json, Players, object_id

EVIDENCE: Mapping[str, Json] = {
    "Conflicted": {"conflict": {"base": object_id("main"), "files": ["greeter.py"], "message": "both changed greeter.py"}},
    "Rejected": {"gateResults": [{"name": "unit-tests", "verdict": "Failed", "exitCode": 1, "seconds": 1, "logTail": "1 != 2"}]},
}


class ReturningPlayers(Players):
    """Hands in the n-th change of a bead under an id that follows from bead and n, and returns the first changes of some beads.

    Args:
        returns: Title of a bead -> phases in which its first merge requests end.
    """

    def __init__(self, town: PlayedTown, returns: Mapping[str, tuple[str, ...]]) -> None:
        super().__init__(town, now_text)
        self.returns = returns
        self._changes: dict[str, list[str]] = {}

    def submit(self, pod: Json) -> Json:
        """As the other players do it, with an id that does not depend on the pod's."""
        bead, agent = pod["metadata"]["labels"][labels.BEAD], pod["metadata"]["name"]
        sessions = self._changes.setdefault(bead, [])
        if pod["metadata"]["uid"] not in sessions:
            sessions.append(pod["metadata"]["uid"])
        head = object_id(f"{self._title(bead)}, change {sessions.index(pod['metadata']['uid']) + 1}")
        request = merge_request_name(bead, head)
        if self.world.find(kinds.MERGE_REQUEST, request) is None:
            spec = {"rigName": "greeter", "beadName": bead, "agentName": agent, "head": head, "branch": session_branch(agent, bead)}
            self.create(kinds.MERGE_REQUEST, request, {**spec, "target": "main"})
        return {"outcome": "Submitted", "reason": "GatesGreen", "mergeRequest": request, "head": head}

    def refine(self, mr: Json) -> bool:
        """Return what is to be returned, once it is verified; land the rest."""
        said = {condition["type"]: condition["status"] for condition in mr.get("status", {}).get("conditions", [])}
        if said.get("Verified") == "True" and mr["status"].get("phase") not in OVER and (phase := self._return_phase(mr)):
            self.tell(mr, phase, **EVIDENCE[phase])
            return True
        return super().refine(mr)

    def _return_phase(self, mr: Json) -> str:
        title = self._title(mr["spec"]["beadName"])
        for number, phase in enumerate(self.returns.get(title, ()), start=1):
            if mr["spec"]["head"] == object_id(f"{title}, change {number}"):
                return phase
        return ""

    def _title(self, bead: str) -> str:
        found = self.world.find(kinds.BEAD, bead)
        assert found is not None
        return str(found["spec"]["title"])


class ReturningTown(PlayedTown):
    """One agent, so that who does what is no matter of chance.

    Args:
        returns: See ReturningPlayers.
    """

    def __init__(self, cluster: Cluster, namespace: str, returns: Mapping[str, tuple[str, ...]] | None = None) -> None:
        super().__init__(cluster, namespace)
        self.players: ReturningPlayers = ReturningPlayers(self, returns or {})
        self.work = self.players.submit

    def end_state(self) -> dict[str, Any]:
        """Everything there is, comparable with another run's."""
        objects = {kind: self.all(kind) for kind in KINDS}
        # A convoy's beads are named after its uid, and all that follows from the name differs with it.
        renamed = {
            bead["metadata"]["name"]: f"<{bead['metadata']['annotations'][labels.LOCAL_NAME]}>"
            for bead in objects[kinds.BEAD]
            if labels.LOCAL_NAME in bead["metadata"].get("annotations", {})
        }
        for name in [mr["metadata"]["name"] for mr in objects[kinds.MERGE_REQUEST]]:
            tree = object_id(f"tree of {name}")
            renamed |= {object_id(f"capsule of {name}"): f"<capsule of {name}>", tree: f"<tree of {name}>", tree[:12]: f"<tree of {name}>"}
        return end_state(objects, renamed)
