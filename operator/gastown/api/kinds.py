"""One row per kind we read or write: where the API server serves it and which dataclass holds it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .agent import Agent
from .agent_profile import AgentProfile
from .bead import Bead
from .convoy import Convoy
from .core import Event, Job, Lease, Pod, ServiceAccount
from .gate_run import GateRun
from .merge_request import MergeRequest
from .rig import Rig
from .town import Town

GROUP = "gastown.dev"
VERSION = "v1alpha1"


@dataclass(frozen=True, slots=True)
class Kind:
    """A resource of the API server.

    Attributes:
        name: CamelCase, as in `kind:`.
        plural: As in URLs.
        group: "" for the core group.
        version: Such as v1alpha1.
        type: The dataclass that holds one object.
    """

    name: str
    plural: str
    group: str
    version: str
    type: type[Any]

    @property
    def api_version(self) -> str:
        """As in `apiVersion:`."""
        return f"{self.group}/{self.version}" if self.group else self.version


TOWN = Kind("Town", "towns", GROUP, VERSION, Town)
RIG = Kind("Rig", "rigs", GROUP, VERSION, Rig)
AGENT_PROFILE = Kind("AgentProfile", "agentprofiles", GROUP, VERSION, AgentProfile)
AGENT = Kind("Agent", "agents", GROUP, VERSION, Agent)
BEAD = Kind("Bead", "beads", GROUP, VERSION, Bead)
CONVOY = Kind("Convoy", "convoys", GROUP, VERSION, Convoy)
MERGE_REQUEST = Kind("MergeRequest", "mergerequests", GROUP, VERSION, MergeRequest)
GATE_RUN = Kind("GateRun", "gateruns", GROUP, VERSION, GateRun)

POD = Kind("Pod", "pods", "", "v1", Pod)
SERVICE_ACCOUNT = Kind("ServiceAccount", "serviceaccounts", "", "v1", ServiceAccount)
EVENT = Kind("Event", "events", "", "v1", Event)
JOB = Kind("Job", "jobs", "batch", "v1", Job)
LEASE = Kind("Lease", "leases", "coordination.k8s.io", "v1", Lease)

GASTOWN_KINDS = (TOWN, RIG, AGENT_PROFILE, AGENT, BEAD, CONVOY, MERGE_REQUEST, GATE_RUN)
ALL_KINDS = (*GASTOWN_KINDS, POD, SERVICE_ACCOUNT, EVENT, JOB, LEASE)


def kind_of(value: Any) -> Kind:
    """The row of an object's dataclass.

    Raises:
        KeyError: Not an object of one of our kinds.
    """
    return _BY_TYPE[type(value)]


_BY_TYPE = {kind.type: kind for kind in ALL_KINDS}
