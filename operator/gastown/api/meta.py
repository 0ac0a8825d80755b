"""The parts every object shares: metadata, owner references, conditions."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnerReference:
    """Who an object belongs to; the garbage collector follows it."""

    apiVersion: str
    kind: str
    name: str
    uid: str
    controller: bool = False
    blockOwnerDeletion: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectMeta:
    """The metadata we read; what we never read (managedFields above all) is not decoded."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resourceVersion: str = ""
    generation: int = 0
    creationTimestamp: str = ""
    deletionTimestamp: str = ""
    deletionGracePeriodSeconds: int = 0
    labels: dict[str, str] = field(default_factory=dict)
    annotations: dict[str, str] = field(default_factory=dict)
    ownerReferences: list[OwnerReference] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One observation about an object, in the form of metav1.Condition.

    Attributes:
        type: What is said, such as Landed; a list of conditions holds each type once.
        status: "True", "False" or "Unknown".
        reason: CamelCase, for machines; the constants are in `api/reasons.py`.
        message: For people: what happened and what to do next.
        lastTransitionTime: When `status` last changed, RFC 3339.
        observedGeneration: The metadata.generation this was derived from.
    """

    type: str
    status: str = "Unknown"
    reason: str = ""
    message: str = ""
    lastTransitionTime: str = ""
    observedGeneration: int = 0
