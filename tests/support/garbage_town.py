"""A town in which every object is full of garbage: per value one object of each kind that holds it wherever the schema lets it."""

from __future__ import annotations

import json
from typing import Any

from gastown.api import kinds, labels
from gastown.api.codec import from_dict
from gastown.api.kinds import Kind
from gastown.api.rig import RigSpec, gate_digest
from gastown.kube.errors import Invalid
from support.garbage import GARBAGE, leaves, merged, with_leaf
from support.manifests import HEAD, SMALLEST
from support.played_town import PlayedTown
from support.players import object_id

Json = dict[str, Any]
# What the town must know to go on with an object, whatever else is in it.
KEPT = frozenset(
    {"spec.prefix", "spec.rigName", "spec.beadName", "spec.agentName", "spec.head", "spec.branch", "spec.target", "spec.profileName"}
    | {"spec.defaults.rigName", "spec.templates[].rigName", "spec.templates[].profileName", "spec.defaults.profileName"}
    | {"spec.assignee", "spec.dependencies[].id", "spec.parent", "spec.templates[].dependsOn[]", "spec.templates[].dependencies[].id"}
    | {"spec.beads[]", "spec.deferUntil", "spec.gateDigest", "spec.tree", "spec.candidate", "spec.base", "spec.members[]"}
)
# The refinery alone writes it, and no garbage (tests/git/test_hostile_commits.py); no operator writes over it.
SPARED = "status.head.subject"
GATES = [{"name": "unit", "command": ["true"]}]


class GarbageTown:
    """Fills a played town.

    Attributes:
        refused: Leaf and value that a rule across fields kept out.
        holds: How many leaves hold a value, by kind.
    """

    def __init__(self, played: PlayedTown, values: dict[str, str] | None = None) -> None:
        self.played = played
        self.values = {name: value for name, value in (values or GARBAGE).items() if name != "a megabyte"}
        self.refused: list[str] = []
        self.holds: dict[str, int] = {}

    def fill(self) -> None:
        """Create everything; the town goes on by itself."""
        for number, (name, value) in enumerate(self.values.items()):
            self._fill_one(number, name, value)

    def _fill_one(self, number: int, name: str, value: str) -> None:
        profile, rig = f"profile-{number}", f"rig-{number}"
        prefix = "g" + "abcdefghijklmnopqrstuvwxyz"[number // 26] + "abcdefghijklmnopqrstuvwxyz"[number % 26]
        annotations = {label: value for label in (labels.RETRY_REQUESTED_AT, labels.LOCAL_NAME, labels.DELETED_BY, labels.ACTOR) if value}
        self.create(kinds.AGENT_PROFILE, profile, value, {"command": ["./work"]}, annotations)
        gates = self.create(kinds.RIG, rig, value, {"prefix": prefix, "gates": GATES, "profileName": profile}, annotations)["spec"]
        bead = {"profileName": profile, "state": "open"}
        self.create(kinds.BEAD, f"gp-{number}", value, bead, annotations)
        self.create(kinds.BEAD, f"{prefix}-{number}", value, bead, annotations)
        template = {"name": "only", "rigName": "greeter", "profileName": profile}
        self.create(kinds.CONVOY, f"convoy-{number}", value, {"beads": [f"gp-{number}"], "templates": [template]}, annotations)
        head = object_id(name)
        request = {
            "rigName": rig,
            "beadName": f"{prefix}-{number}",
            "agentName": f"{rig}-nux",
            "head": head,
            "branch": f"polecat/{rig}-nux/x",
        }
        self.create(kinds.MERGE_REQUEST, f"{prefix}-{number}-{head[:12]}", value, request, annotations)
        digest = gate_digest(from_dict(RigSpec, gates).gates)
        run = {"rigName": rig, "candidate": HEAD, "base": HEAD, "tree": head, "gateDigest": digest, "sourceURL": "http://repo.invalid/x"}
        self.create(kinds.GATE_RUN, f"{rig}-run", value, run, annotations)
        self.create(kinds.AGENT, f"{rig}-furiosa", value, {"rigName": rig, "profileName": profile}, annotations)

    def create(self, kind: Kind, name: str, value: str, needed: Json, annotations: Json) -> Json:
        """The fullest object the server takes; what a rule across fields refuses is left out and remembered."""
        chosen = [leaf for leaf in leaves(kind, "spec") if str(leaf) not in KEPT and leaf.may_hold(value)]
        while True:
            spec: Json = {**SMALLEST[kind.name][1]}
            for leaf in chosen:
                spec = merged(spec, with_leaf(kind, leaf, value))
            spec = _unbound(merged(spec, needed))
            body = {
                "apiVersion": kind.api_version,
                "kind": kind.name,
                "metadata": {"name": name, "annotations": annotations, "labels": {}},
                "spec": spec,
            }
            try:
                made = self.played.create(kind, body)
            except Invalid as error:
                guilty = [leaf for leaf in chosen if leaf.place() in error.message]
                if not guilty:
                    raise AssertionError(f"{kind.name} {json.dumps(spec)[:2000]}: {error}") from error
                self.refused += [f"{kind.name} {leaf}: {value[:20]!r}" for leaf in guilty]
                chosen = [leaf for leaf in chosen if leaf not in guilty]
            else:
                self.holds[kind.name] = self.holds.get(kind.name, 0) + len(chosen)
                self._spoil_status(kind, name, value)
                return made

    def _spoil_status(self, kind: Kind, name: str, value: str) -> None:
        """Write garbage over every string of the status, as somebody with too many rights might."""
        status: Any = {}
        for leaf in leaves(kind, "status"):
            is_meant = "enum" in leaf.schema or leaf.path[:2] == ("status", "conditions") or str(leaf) == SPARED
            if leaf.may_hold(value) and not is_meant:
                status = merged(status, with_leaf(kind, leaf, value))
        if status:
            self.played.patch(kind, name, {"status": status}, "status")


def _unbound(spec: Json) -> Json:
    """Edges that inform and do not hold back: what they say is garbage all the same."""
    for holder in (spec, *spec.get("templates", ())):
        for edge in holder.get("dependencies", ()):
            edge |= {"id": "gp-elsewhere", "type": "related"}
    return spec
