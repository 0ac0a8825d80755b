"""What an Agent needs before its first session: a ServiceAccount and a Lease of its name, both gone with it. Pure; used by session."""

from __future__ import annotations

from typing import Any

from gastown.actions import Action, Create
from gastown.api import labels
from gastown.api.agent import Agent
from gastown.decide.session_pod import owner_reference

# The heartbeat comes every 30 s; three missed ones are silence.
LEASE_SECONDS = 90


def identity(agent: Agent) -> list[Action]:
    """Create both; what is there already counts as made."""
    return [
        Create({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": _metadata(agent)}, reason="new agent"),
        Create(
            {
                "apiVersion": "coordination.k8s.io/v1",
                "kind": "Lease",
                "metadata": _metadata(agent),
                "spec": {"leaseDurationSeconds": LEASE_SECONDS},
            },
            reason="new agent",
        ),
    ]


def _metadata(agent: Agent) -> dict[str, Any]:
    return {
        "name": agent.metadata.name,
        "namespace": agent.metadata.namespace,
        "labels": {
            "app.kubernetes.io/name": "gastown",
            labels.PART_OF: "gastown",
            labels.MANAGED_BY: "gastown-operator",
            labels.ROLE: agent.spec.role,
            labels.AGENT: agent.metadata.name,
            labels.RIG: agent.spec.rigName,
        },
        "ownerReferences": [owner_reference("Agent", agent.metadata)],
    }
