"""The few verbs a decider may return. Deciders build them, `runtime.executor` alone carries them out.

They lie below both, so that deciding and writing never import each other. Every action but Emit and Wake may carry a `reason`:
one sentence, which becomes the log line of the write. The actions of one decision are carried out in their order; the first one
that turns out stale ends the decision, and the key is looked at again. Order them so that a crash after any of them is healed by
deciding again: what cannot be derived anew is written first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeAlias

from gastown.api.kinds import Kind
from gastown.api.meta import ObjectMeta

# (namespace, name): how stores, queues and Wake name an object.
Key: TypeAlias = tuple[str, str]

NORMAL: Literal["Normal"] = "Normal"
WARNING: Literal["Warning"] = "Warning"


class KubernetesObject(Protocol):
    """Any of the dataclasses of `gastown.api.kinds`."""

    @property
    def metadata(self) -> ObjectMeta: ...


@dataclass(frozen=True, slots=True)
class Unchanged:
    """What has to be at the API server as it was seen: read there right before an object is made, since no creation can be conditional.

    It costs a read, so it is for what would be work done twice, such as a session; a name that is taken needs none.

    Attributes:
        object: As seen.
        fields: Of it that count, such as spec.assignee.
    """

    object: KubernetesObject
    fields: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Create:
    """Make an object that is made once (Pod, Job, Lease, ...).

    An object of that name that is there already counts as made, if its controlling owner is the one wanted here; the name has to
    follow from what is wanted, or a crash between two writes duplicates it.

    Attributes:
        object: A kind's dataclass, or the JSON form with apiVersion and kind (Pods, Jobs: we model only what we read of them).
        provided: Otherwise the decision is stale.
    """

    object: KubernetesObject | Mapping[str, Any]
    reason: str = ""
    provided: tuple[Unchanged, ...] = ()


@dataclass(frozen=True, slots=True)
class Apply:
    """Server-side apply, by force: for what is kept in shape or co-owned. Costs the API server twice a Create.

    Attributes:
        object: JSON form of only the fields this manager owns; a dataclass would claim the defaults of all others too. A field it
            owned and leaves out now is removed.
        manager: Field manager, such as gastown-operator.
        seen: The object as seen, or None. If given, the apply is dropped when `seen` holds all that is wanted; leave it out where
            leaving out a field is meant to remove it.
        subresource: "" or "status".
    """

    object: Mapping[str, Any]
    manager: str
    seen: KubernetesObject | None = None
    subresource: Literal["", "status"] = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete exactly the object that was seen; one that is gone already counts as deleted.

    Attributes:
        uid: Of the object seen: a later one of the same name is left alone.
        grace_seconds: For Pods; None leaves the pod's own. Never 0: a lost node might still run it.
    """

    kind: Kind
    namespace: str
    name: str
    uid: str
    grace_seconds: int | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class SetStatus:
    """Bring the status to what was derived, provided the object is still the version that was seen.

    Dropped when it would change nothing, so a decider returns it on every look.

    Attributes:
        object: As seen.
        status: The whole status wanted, as the kind's status dataclass (the patch is the difference to `object.status`); or a JSON
            merge patch of the status, for kinds whose status has several writers (null removes, lists are replaced whole).
        roll_up: Counts over many objects: written at most once per 5 s per object, but a change of `phase` at once. A write put
            off this way wakes the key again by itself.
    """

    object: KubernetesObject
    status: Any
    roll_up: bool = False
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Bind:
    """Set spec.assignee, provided it is empty and the object is still the version that was seen. Exactly one claimer wins.

    From the moment it is sent the binding counts as made in the store, also while the answer is unknown.

    Attributes:
        object: As seen, with an empty spec.assignee.
        assignee: Name of the agent.
    """

    object: KubernetesObject
    assignee: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class PatchSpec:
    """Change the spec (close after landing, clear the assignee), provided the object is still the version that was seen.

    Attributes:
        object: As seen.
        spec: JSON merge patch of the spec: null removes, lists are replaced whole. Dropped when it would change nothing.
        annotations: Merge patch of metadata.annotations.
    """

    object: KubernetesObject
    spec: Mapping[str, Any] = field(default_factory=dict)
    annotations: Mapping[str, str | None] = field(default_factory=dict)
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Emit:
    """Post a Kubernetes Event about an object; best effort and rate-limited, so nothing may depend on it.

    If the decision also holds writes, the Event is posted only when one before it changed something: a decider puts Emit after
    the SetStatus it belongs to and need not remember what it said last time.

    Attributes:
        object: What it is about.
        type: NORMAL or WARNING.
        reason: CamelCase, for machines.
        message: For people.
    """

    object: KubernetesObject
    type: Literal["Normal", "Warning"]
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Wake:
    """Look again later; of several for one key the earliest counts.

    Attributes:
        after_seconds: From now.
        key: Of the same controller; None is the key just decided.
    """

    after_seconds: float
    key: Key | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Together:
    """Carry out what does not depend on each other at the same time, as far as the limit of writes in flight allows.

    The last action of a decision.

    Attributes:
        chains: Each is carried out in its order, and ends alone when it turns out stale or refused.
    """

    chains: tuple[tuple[Single, ...], ...]


Single: TypeAlias = Create | Apply | Delete | SetStatus | Bind | PatchSpec | Emit | Wake
Action: TypeAlias = Single | Together
