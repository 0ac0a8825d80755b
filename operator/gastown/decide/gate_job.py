"""The Job of one gate of a GateRun, as JSON. Pure; used by gate_run alone. What is in here is a contract with `gastown.polecat`.

It holds no credentials: the tree comes by a signed address, and the tree's id is recomputed from what was unpacked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gastown.api import labels
from gastown.api.gate_run import GateRun
from gastown.api.names import gate_job_name
from gastown.api.rig import Gate
from gastown.decide.session_pod import CONTAINER_SECURITY, POD_SECURITY, WORKSPACE, literal, owner_reference

GATE_CONTAINER = "gate"
# Long enough for the verdict to be read after an operator restart, short enough not to pile up.
KEEP_SECONDS = 300
REQUESTS = {"cpu": "10m", "memory": "64Mi"}


@dataclass(frozen=True, slots=True)
class GateSettings:
    """What is the same for all gates of an installation.

    Attributes:
        image: Of gates that name none.
    """

    image: str


def gate_job(run: GateRun, gate: Gate, settings: GateSettings) -> dict[str, Any]:
    """The Job that runs the gate on the run's tree, once: whether it is repeated is the refinery's decision."""
    told = {
        "app.kubernetes.io/name": "gastown",
        labels.PART_OF: "gastown",
        labels.COMPONENT: "gate",
        labels.MANAGED_BY: "gastown-operator",
        labels.RIG: run.spec.rigName,
        labels.GATE_RUN: run.metadata.name,
        labels.GATE: gate.name,
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": gate_job_name(run.metadata.name, gate.name),
            "namespace": run.metadata.namespace,
            "labels": told,
            "ownerReferences": [owner_reference("GateRun", run.metadata)],
        },
        "spec": {
            "backoffLimit": 0,
            "activeDeadlineSeconds": gate.timeoutSeconds,
            "ttlSecondsAfterFinished": KEEP_SECONDS,
            "template": {"metadata": {"labels": told}, "spec": _pod_spec(run, gate, settings)},
        },
    }


def _pod_spec(run: GateRun, gate: Gate, settings: GateSettings) -> dict[str, Any]:
    image = gate.image or settings.image
    own = [
        {"name": "HOME", "value": f"{WORKSPACE}/home"},
        {"name": "TMPDIR", "value": f"{WORKSPACE}/tmp"},  # noqa: S108 - of the pod's own volume
    ]
    mounts = [{"name": "workspace", "mountPath": WORKSPACE}]
    source = {
        "name": "source",
        "image": settings.image,
        "command": ["gastown-polecat", "gate-source"],
        "env": [
            *own,
            {"name": "GASTOWN_SOURCE_URL", "value": literal(run.spec.sourceURL)},
            {"name": "GASTOWN_TREE", "value": run.spec.tree},
            {"name": "GASTOWN_WORKSPACE", "value": WORKSPACE},
        ],
        "volumeMounts": mounts,
        "resources": {"requests": REQUESTS},
        "securityContext": CONTAINER_SECURITY,
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }
    main = {
        "name": GATE_CONTAINER,
        "image": image,
        "command": [literal(argument) for argument in gate.command],
        "workingDir": f"{WORKSPACE}/source",
        "env": [*own, {"name": "CI", "value": "true"}],
        "volumeMounts": mounts,
        "resources": {"requests": REQUESTS},
        "securityContext": CONTAINER_SECURITY,
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }
    return {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "restartPolicy": "Never",
        "securityContext": POD_SECURITY,
        "initContainers": [source],
        "containers": [main],
        "volumes": [{"name": "workspace", "emptyDir": {}}],
    }
