"""The worktree of an agent as `gt prime` and `gt done` need it: from the pod's environment, or from git config and the Rig."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gastown.api.agent import ROLE_POLECAT
from gastown.api.bead import Bead
from gastown.api.codec import from_dict
from gastown.api.kinds import RIG
from gastown.api.names import display_actor, session_branch
from gastown.api.rig import GATE_COMMAND, Gate, Rig
from gastown.cli.beads import get_bead
from gastown.cli.errors import about
from gastown.cli.hook import get_agent, get_hooked_bead
from gastown.cli.place import Place
from gastown.kube.rest import Client
from gastown.polecat import session as sessions
from gastown.polecat.checkpoint import restored_work
from gastown.polecat.context import Circumstances
from gastown.polecat.git import Git, GitError
from gastown.polecat.submit import Submission


@dataclass(frozen=True, slots=True)
class Workplace:
    """Where an agent works, and on what."""

    place: Place
    agent: str
    bead: Bead
    rig: str
    target: str
    worktree: Path
    gates: Sequence[Gate]
    session: int = 0

    def circumstances(self) -> Circumstances:
        """As the context tells them."""
        restored, notes = _restored_work(self.worktree)
        return Circumstances(
            actor=display_actor(ROLE_POLECAT, self.rig, self.agent),
            namespace=self.place.namespace,
            rig=self.rig,
            agent=self.agent,
            branch=session_branch(self.agent, self.bead.metadata.name),
            target=self.target,
            worktree=str(self.worktree) if self.worktree.is_dir() else "",
            session=self.session,
            restored=restored,
            notes=notes,
            gates=self.gates,
        )

    def submission(self, *, skip_gates: bool, close_reason: str) -> Submission:
        """As `gt done` hands it in."""
        return Submission(
            namespace=self.place.namespace,
            rig=self.rig,
            agent=self.agent,
            bead=self.bead.metadata.name,
            branch=session_branch(self.agent, self.bead.metadata.name),
            target=self.target,
            worktree=self.worktree,
            gates=self.gates,
            skip_gates=skip_gates,
            close_reason=close_reason,
        )


def find_workplace(place: Place, client: Client) -> Workplace:
    """Work out where we are.

    Raises:
        CommandError: No agent, no bead on its hook, or no such rig.
        Refused: The pod's environment is not a session's.
    """
    agent = get_agent(place)
    bead = from_dict(Bead, get_bead(client, place.namespace, get_hooked_bead(client, place, agent)))
    if place.in_pod and os.environ.get(sessions.BEAD):
        session = sessions.from_environment(os.environ)
        return Workplace(place, agent, bead, session.rig, session.target_branch, session.worktree, session.gates, session=session.number)
    rig_name = place.rig or bead.spec.rigName
    with about(f"rig {rig_name} in namespace {place.namespace}", remedy="see `kubectl get rigs`"):
        rig = from_dict(Rig, client.get(RIG, place.namespace, rig_name))
    gates = [gate for gate in rig.spec.gates if gate.type == GATE_COMMAND]
    return Workplace(place, agent, bead, rig_name, place.target or rig.spec.git.branch, _top_folder(), gates)


def _top_folder() -> Path:
    try:
        return Path(Git(Path.cwd()).text("rev-parse", "--show-toplevel"))
    except GitError:
        return Path.cwd()


def _restored_work(worktree: Path) -> tuple[str, list[str]]:
    try:
        return restored_work(Git(worktree))
    except (GitError, OSError):
        return "", []
