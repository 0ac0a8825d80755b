"""One row per kind we read or write: where the API server serves it and which dataclass holds it."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

GROUP = "gastown.dev"
VERSION = "v1alpha1"


@dataclass(frozen=True, slots=True)
class Kind:
    """A resource of the API server.

    Attributes:
        name: CamelCase, as in `kind:`; also the name of the dataclass.
        plural: As in URLs.
        group: "" for the core group.
        version: Such as v1alpha1.
        module: Where the dataclass is; "" for kinds that are only ever sent and read as dicts.
    """

    name: str
    plural: str
    group: str
    version: str
    module: str = ""

    @property
    def type(self) -> type[Any]:
        """The dataclass that holds one object; imported when first asked for, since most commands need one kind of thirteen."""
        return getattr(importlib.import_module(self.module), self.name) if self.module else dict

    @property
    def api_version(self) -> str:
        """As in `apiVersion:`."""
        return f"{self.group}/{self.version}" if self.group else self.version


TOWN = Kind("Town", "towns", GROUP, VERSION, "gastown.api.town")
RIG = Kind("Rig", "rigs", GROUP, VERSION, "gastown.api.rig")
AGENT_PROFILE = Kind("AgentProfile", "agentprofiles", GROUP, VERSION, "gastown.api.agent_profile")
AGENT = Kind("Agent", "agents", GROUP, VERSION, "gastown.api.agent")
BEAD = Kind("Bead", "beads", GROUP, VERSION, "gastown.api.bead")
CONVOY = Kind("Convoy", "convoys", GROUP, VERSION, "gastown.api.convoy")
MERGE_REQUEST = Kind("MergeRequest", "mergerequests", GROUP, VERSION, "gastown.api.merge_request")
GATE_RUN = Kind("GateRun", "gateruns", GROUP, VERSION, "gastown.api.gate_run")

POD = Kind("Pod", "pods", "", "v1", "gastown.api.core")
SERVICE_ACCOUNT = Kind("ServiceAccount", "serviceaccounts", "", "v1", "gastown.api.core")
EVENT = Kind("Event", "events", "", "v1", "gastown.api.core")
JOB = Kind("Job", "jobs", "batch", "v1", "gastown.api.core")
LEASE = Kind("Lease", "leases", "coordination.k8s.io", "v1", "gastown.api.core")

GASTOWN_KINDS = (TOWN, RIG, AGENT_PROFILE, AGENT, BEAD, CONVOY, MERGE_REQUEST, GATE_RUN)
ALL_KINDS = (*GASTOWN_KINDS, POD, SERVICE_ACCOUNT, EVENT, JOB, LEASE)


def kind_of(value: Any) -> Kind:
    """The row of an object's dataclass.

    Raises:
        KeyError: Not an object of one of our kinds.
    """
    return _BY_CLASS[type(value).__module__, type(value).__name__]


_BY_CLASS = {(kind.module, kind.name): kind for kind in ALL_KINDS}
