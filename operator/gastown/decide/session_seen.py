"""What bears on one agent's session: the input of `decide/session.py` and of its parts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from gastown.api.agent import Agent
from gastown.api.agent_profile import AgentProfile
from gastown.api.bead import Bead
from gastown.api.core import Pod
from gastown.api.rig import Rig
from gastown.api.town import Town
from gastown.decide.session_pod import SessionSettings
from gastown.decide.witness import Heartbeat


@dataclass(frozen=True, slots=True)
class SessionSeen:
    """All that bears on one agent's session.

    Attributes:
        beads: Those bound to it (spec.assignee).
        worked: Those whose last holder it is, for its record.
        pod: Of its name, if the operator made it.
        pod_bead: The bead that pod carries, if it still exists.
        rig: The one the agent belongs to.
        heartbeat: Signs of life of the session in the pod, and the agent's Lease.
    """

    agent: Agent
    settings: SessionSettings
    beads: tuple[Bead, ...] = ()
    worked: tuple[Bead, ...] = ()
    pod: Pod | None = None
    pod_bead: Bead | None = None
    rig: Rig | None = None
    town: Town | None = None
    profiles: Mapping[str, AgentProfile] = field(default_factory=dict)
    heartbeat: Heartbeat = field(default_factory=Heartbeat)
