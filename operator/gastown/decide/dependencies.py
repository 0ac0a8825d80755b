"""What a bead's dependencies came to, and which of them hold it back. Pure; the rules of beads, failing closed.

The outcomes are recorded on the dependant: an answer survives the other bead leaving the cluster.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from gastown.api import bead as beads
from gastown.api.bead import Bead, Dependency, DependencyOutcome
from gastown.api.names import parent_of
from gastown.decide import outcomes
from gastown.decide.times import unix_seconds

ANY_CHILDREN = "any-children"
GATE = "gate"

_SETTLED = frozenset({beads.OUTCOME_SUCCEEDED, beads.OUTCOME_FAILED, beads.OUTCOME_SKIPPED})
# Outcomes with which a dependency of that type lets its dependant go.
_SATISFIED = {
    beads.BLOCKS: _SETTLED,
    beads.CONDITIONAL_BLOCKS: frozenset({beads.OUTCOME_FAILED}),
    beads.WAITS_FOR: frozenset({beads.OUTCOME_SUCCEEDED}),
    beads.MERGE_BLOCKS: frozenset({beads.OUTCOME_SUCCEEDED, beads.OUTCOME_SKIPPED}),
}


@dataclass(frozen=True, slots=True)
class Neighbours:
    """Beads that bear on one bead, of the same namespace, by name.

    Attributes:
        beads: Whatever exists of the beads named by dependencies and parents, also by those of the parents.
        children: Of each bead that a waits-for edge names.
    """

    beads: Mapping[str, Bead] = field(default_factory=dict)
    children: Mapping[str, tuple[Bead, ...]] = field(default_factory=dict)


def blocking(bead: Bead) -> list[Dependency]:
    """The dependencies that can hold it back, IDs in lower case, each edge once."""
    found: dict[tuple[str, str], Dependency] = {}
    for edge in bead.spec.dependencies:
        if edge.type in beads.BLOCKING_TYPES:
            found.setdefault((edge.id.lower(), edge.type), Dependency(id=edge.id.lower(), type=edge.type, metadata=edge.metadata))
    return list(found.values())


def parent_name(bead: Bead) -> str:
    """The bead of which this is a child: as said in the spec, else by an edge, else by its ID; "" if none."""
    if bead.spec.parent:
        return bead.spec.parent.lower()
    edge = next((edge.id.lower() for edge in bead.spec.dependencies if edge.type == beads.PARENT_CHILD), "")
    return edge or parent_of(bead.metadata.name)


def recorded_outcomes(bead: Bead, neighbours: Neighbours) -> list[DependencyOutcome]:
    """What each blocking dependency came to, as far as can be seen or was recorded before."""
    before = {(outcome.id, outcome.type): outcome.outcome for outcome in bead.status.dependencies}
    return [
        DependencyOutcome(id=edge.id, type=edge.type, outcome=_outcome(bead, edge, neighbours, before.get((edge.id, edge.type), "")))
        for edge in blocking(bead)
    ]


def unsatisfied(outcome: DependencyOutcome) -> bool:
    """Whether this dependency holds its dependant back; of a type that holds nobody back none is recorded, but by a stranger's hand."""
    return outcome.type in _SATISFIED and outcome.outcome not in _SATISFIED[outcome.type]


def never_comes_true(recorded: list[DependencyOutcome]) -> str:
    """The bead whose failure this one waited for and which did not fail; "" if there is none."""
    done = {beads.OUTCOME_SUCCEEDED, beads.OUTCOME_SKIPPED}
    return next((item.id for item in recorded if item.type == beads.CONDITIONAL_BLOCKS and item.outcome in done), "")


def holds_back_children(parent: Bead, neighbours: Neighbours, now: float, visited: frozenset[str] = frozenset()) -> bool:
    """Whether a parent is blocked or deferred itself, and so its children are not startable."""
    name = parent.metadata.name
    if outcomes.is_closed(parent) or name in visited:
        return False
    if parent.spec.state == beads.DEFERRED or (unix_seconds(parent.spec.deferUntil) or 0.0) > now:
        return True
    if any(unsatisfied(outcome) for outcome in recorded_outcomes(parent, neighbours)):
        return True
    above = neighbours.beads.get(parent_name(parent))
    return above is not None and holds_back_children(above, neighbours, now, visited | {name})


def _outcome(bead: Bead, edge: Dependency, neighbours: Neighbours, before: str) -> str:
    other = neighbours.beads.get(edge.id)
    if other is None:
        if before in _SETTLED:
            return before
        return beads.OUTCOME_SUCCEEDED if edge.id in bead.status.retired else beads.OUTCOME_UNKNOWN
    if edge.type == beads.WAITS_FOR:
        return _children_outcome(other, neighbours.children.get(edge.id, ()), edge)
    return outcomes.outcome_of(other, edge.type)


def _children_outcome(spawner: Bead, children: tuple[Bead, ...], edge: Dependency) -> str:
    closed = [outcomes.is_closed(child) for child in children]
    if not closed:
        # None yet: more may be spawned as long as the spawner is open.
        satisfied = outcomes.is_closed(spawner)
    elif edge.metadata.get(GATE) == ANY_CHILDREN:
        satisfied = any(closed)
    else:
        satisfied = all(closed)
    return beads.OUTCOME_SUCCEEDED if satisfied else beads.OUTCOME_PENDING
