"""The smallest object of each kind that the API server accepts, as a manifest; tests say only what they are about."""

from __future__ import annotations

import copy
from typing import Any

from gastown.api.kinds import AGENT, AGENT_PROFILE, BEAD, CONVOY, GATE_RUN, MERGE_REQUEST, RIG, TOWN, Kind

HEAD = "0123456789abcdef0123456789abcdef01234567"
DIGEST = HEAD[:32] * 2

SMALLEST: dict[str, tuple[str, dict[str, Any]]] = {
    TOWN.name: ("town", {}),
    RIG.name: ("greeter", {"prefix": "gp"}),
    AGENT_PROFILE.name: ("apprentice", {"command": ["true"]}),
    AGENT.name: ("greeter-furiosa", {"rigName": "greeter"}),
    BEAD.name: ("gp-a3f8", {"title": "Say hello"}),
    CONVOY.name: ("first", {}),
    MERGE_REQUEST.name: (
        f"gp-a3f8-{HEAD[:12]}",
        {
            "rigName": "greeter",
            "beadName": "gp-a3f8",
            "agentName": "greeter-furiosa",
            "head": HEAD,
            "branch": "polecat/greeter-furiosa/gp-a3f8",
        },
    ),
    GATE_RUN.name: (
        "greeter-0123456789ab-01234567-1",
        {"rigName": "greeter", "candidate": HEAD, "tree": HEAD, "gateDigest": DIGEST, "sourceURL": "http://127.0.0.1:8080/tree.tar"},
    ),
}


def manifest(kind: Kind, namespace: str, name: str = "", **spec: Any) -> dict[str, Any]:
    """An object to create.

    Args:
        name: Default is that of the smallest one.
        spec: Fields to add to the smallest spec; None takes one out.
    """
    default_name, smallest = SMALLEST[kind.name]
    fields = {**copy.deepcopy(smallest), **spec}
    return {
        "apiVersion": kind.api_version,
        "kind": kind.name,
        "metadata": {"name": name or default_name, "namespace": namespace},
        "spec": {field: value for field, value in fields.items() if value is not None},
    }
