"""The pod of a session, as JSON. Pure; used by session alone. What is in here is a contract with `gastown.polecat`."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from gastown.api import labels, rig
from gastown.api.agent import Agent
from gastown.api.agent_profile import AgentProfile
from gastown.api.bead import Bead
from gastown.api.codec import to_dict
from gastown.api.meta import ObjectMeta
from gastown.api.names import display_actor
from gastown.api.rig import Rig
from gastown.decide.witness import Patience

WORKSPACE = "/workspace"
TOKEN_FOLDER = "/var/run/secrets/gastown/repo"  # noqa: S105 - a folder
SECRETS_FOLDER = "/var/run/secrets/gastown/profile"
# Shortest that still outlives a checkout; the node renews it in place.
TOKEN_SECONDS = 3600
# To checkpoint uncommitted work and push it.
GRACE_SECONDS = 60
# The harness ends the session by itself at its timeout; this much later Kubernetes does.
OVERTIME_SECONDS = 300
# What a session gets when its profile does not say: small enough that a laptop holds a dozen.
DEFAULT_REQUESTS = {"cpu": "10m", "memory": "64Mi"}

CONTAINER_SECURITY = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
}
POD_SECURITY = {
    "runAsNonRoot": True,
    "runAsUser": 1000,
    "runAsGroup": 1000,
    "fsGroup": 1000,
    "seccompProfile": {"type": "RuntimeDefault"},
}


@dataclass(frozen=True, slots=True)
class SessionSettings:
    """What is the same for all sessions of an installation.

    Attributes:
        repository_url: Address of the repo-server, without a slash at the end.
        image: Of sessions whose profile names none.
        patience: Of the Witness; sessions are told to beat accordingly.
    """

    repository_url: str
    image: str
    patience: Patience = field(default_factory=Patience)


def session_pod(agent: Agent, bead: Bead, rig: Rig, profile: AgentProfile, number: int, settings: SessionSettings) -> dict[str, Any]:
    """The pod that works on the bead.

    Args:
        number: Of the session, counted over the agent's life.
    """
    image = profile.spec.image or settings.image
    env = _environment(agent, bead, rig, profile, number, settings)
    resources = to_dict(profile.spec.resources) or {}
    # A request above the profile's own limit would make the pod invalid.
    resources.setdefault("requests", {name: size for name, size in DEFAULT_REQUESTS.items() if name not in resources.get("limits", {})})
    mounts = [
        {"name": "workspace", "mountPath": WORKSPACE},
        {"name": "repo-token", "mountPath": TOKEN_FOLDER, "readOnly": True},
    ]
    secrets = [
        {"name": f"profile-{index}", "mountPath": f"{SECRETS_FOLDER}/{name}", "readOnly": True}
        for index, name in enumerate(profile.spec.secretNames)
    ]
    checkout = {
        "name": "checkout",
        "image": image,
        "command": ["gastown-polecat", "checkout"],
        "env": env,
        "volumeMounts": mounts,
        "resources": {"requests": DEFAULT_REQUESTS},
        "securityContext": CONTAINER_SECURITY,
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }
    main = {
        "name": "agent",
        "image": image,
        "command": ["gastown-polecat", "run"],
        # Ours last, so that a profile cannot bend the contract; of two with one name the later counts.
        "env": [*({"name": variable.name, "value": variable.value} for variable in profile.spec.env), *env],
        "envFrom": [{"secretRef": {"name": name}} for name in profile.spec.secretNames],
        "volumeMounts": [*mounts, *secrets],
        "resources": resources,
        "securityContext": CONTAINER_SECURITY,
        # Of a session that was killed before it could tell its result the last lines are kept, when its pod and log are gone.
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }
    spec: dict[str, Any] = {
        "serviceAccountName": agent.metadata.name,
        "automountServiceAccountToken": True,
        "enableServiceLinks": False,
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": GRACE_SECONDS,
        "securityContext": POD_SECURITY,
        "initContainers": [checkout],
        "containers": [main],
        "volumes": _volumes(profile),
    }
    if profile.spec.limits.timeoutSeconds:
        spec["activeDeadlineSeconds"] = profile.spec.limits.timeoutSeconds + OVERTIME_SECONDS
    if profile.spec.runtimeClassName:
        spec["runtimeClassName"] = profile.spec.runtimeClassName
    return {"apiVersion": "v1", "kind": "Pod", "metadata": _metadata(agent, bead, rig, number), "spec": spec}


def owner_reference(kind: str, metadata: ObjectMeta) -> dict[str, Any]:
    """So that what we make for an object of ours goes with it."""
    return {
        "apiVersion": "gastown.dev/v1alpha1",
        "kind": kind,
        "name": metadata.name,
        "uid": metadata.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }


def _metadata(agent: Agent, bead: Bead, rig: Rig, number: int) -> dict[str, Any]:
    return {
        "name": agent.metadata.name,
        "namespace": agent.metadata.namespace,
        "labels": {
            "app.kubernetes.io/name": "gastown",
            labels.PART_OF: "gastown",
            labels.COMPONENT: "session",
            labels.MANAGED_BY: "gastown-operator",
            labels.ROLE: agent.spec.role,
            labels.AGENT: agent.metadata.name,
            labels.BEAD: bead.metadata.name,
            labels.RIG: rig.metadata.name,
            labels.SESSION: str(number),
        },
        "ownerReferences": [owner_reference("Agent", agent.metadata)],
    }


def _environment(
    agent: Agent, bead: Bead, rig_: Rig, profile: AgentProfile, number: int, settings: SessionSettings
) -> list[dict[str, Any]]:
    namespace, name = agent.metadata.namespace, agent.metadata.name
    gates = [
        {"name": gate.name, "command": gate.command, "timeoutSeconds": gate.timeoutSeconds}
        for gate in rig_.spec.gates
        if gate.type == rig.GATE_COMMAND
    ]
    plain = {
        "GASTOWN_NAMESPACE": namespace,
        "GASTOWN_RIG": rig_.metadata.name,
        "GASTOWN_AGENT": name,
        "GASTOWN_BEAD": bead.metadata.name,
        "GASTOWN_SESSION": str(number),
        "GASTOWN_REPOSITORY_URL": f"{settings.repository_url}/{namespace}/{rig_.metadata.name}.git",
        "GASTOWN_REPO_TOKEN_FILE": f"{TOKEN_FOLDER}/token",
        "GASTOWN_WORKSPACE": WORKSPACE,
        "GASTOWN_TARGET_BRANCH": rig_.spec.git.branch,
        "GASTOWN_START_COMMIT": bead.status.head,
        "GASTOWN_ADAPTER": profile.spec.adapter,
        "GASTOWN_AGENT_COMMAND": _in_variable(profile.spec.command),
        "GASTOWN_MODEL": literal(bead.spec.model or profile.spec.model),
        "GASTOWN_GATES": _in_variable(gates),
        "GASTOWN_TIMEOUT_SECONDS": str(profile.spec.limits.timeoutSeconds),
        "GASTOWN_HEARTBEAT_SECONDS": f"{settings.patience.heartbeat:g}",
        "GASTOWN_CHECKPOINT_SECONDS": str(profile.spec.checkpointSeconds),
        "BD_ACTOR": display_actor(agent.spec.role, rig_.metadata.name, name),
        "HOME": f"{WORKSPACE}/home",
        "TMPDIR": f"{WORKSPACE}/tmp",  # noqa: S108 - of the session's own volume
    }
    return [
        {"name": "GASTOWN_POD_UID", "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}},
        *({"name": key, "value": value} for key, value in plain.items()),
    ]


def _in_variable(value: list[Any]) -> str:
    """JSON for one variable of at most 128 KiB: as an escape a picture takes 12 bytes, as itself 4; the kinds bound the characters."""
    return literal(json.dumps(value, ensure_ascii=False))


def literal(text: str) -> str:
    """Escaped so that the node hands on what people wrote: it expands $(NAME), and makes one dollar of two."""
    return text.replace("$", "$$")


def _volumes(profile: AgentProfile) -> list[dict[str, Any]]:
    token = {"serviceAccountToken": {"audience": labels.REPOSITORY_AUDIENCE, "expirationSeconds": TOKEN_SECONDS, "path": "token"}}
    return [
        {"name": "workspace", "emptyDir": {}},
        {"name": "repo-token", "projected": {"sources": [token]}},
        *({"name": f"profile-{index}", "secret": {"secretName": name}} for index, name in enumerate(profile.spec.secretNames)),
    ]
