"""A convoy's beads: are its templates sound, which beads do they become, and in which order may they run? Pure; used by convoy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gastown.api import labels, reasons
from gastown.api.bead import BLOCKS, Bead
from gastown.api.codec import to_dict
from gastown.api.convoy import BeadTemplate, Convoy, Wave
from gastown.api.names import convoy_bead_name, shorten
from gastown.api.rig import Rig
from gastown.decide import dependencies, graph, outcomes

# As the CRD bounds them; the last one stands for all later ones.
WAVES_LIMIT = 64


@dataclass(frozen=True, slots=True)
class Unsound:
    """Why the beads can not be made.

    Attributes:
        is_final: Only a change of the convoy heals it.
    """

    reason: str
    message: str
    is_final: bool = True


@dataclass(frozen=True, slots=True)
class ConvoyPlan:
    """What a sound convoy consists of.

    Attributes:
        members: Bead names, templates first.
        names: Local name -> bead name.
    """

    members: tuple[str, ...]
    names: Mapping[str, str]


def plan_of(convoy: Convoy, beads: Mapping[str, Bead], rigs: Mapping[str, Rig]) -> ConvoyPlan | Unsound:
    """The members of a convoy, or why there are none.

    Args:
        beads: Those of its members that exist, by name.
        rigs: Those of its namespace, by name.
    """
    spec = convoy.spec
    if not spec.templates and not spec.beads:
        return Unsound(reasons.EMPTY, "no beads: list some in spec.beads, or describe some in spec.templates")
    local = [template.name for template in spec.templates]
    if twice := sorted({name for name in local if local.count(name) > 1}):
        return Unsound(reasons.DUPLICATE_NAME, f"templates share the name {', '.join(twice)}; give each its own")
    for template in spec.templates:
        if unknown := [name for name in template.dependsOn if name not in local]:
            text = f"template {template.name} depends on {', '.join(unknown)}, which no template is called"
            return Unsound(reasons.UNKNOWN_LOCAL_NAME, f"{text}; correct dependsOn, or name existing beads in dependencies")
    if ring := graph.find_ring({template.name: template.dependsOn for template in spec.templates}):
        return Unsound(reasons.CYCLE, f"templates wait for each other: {_ring_text(ring)}; remove one of these from dependsOn")
    names: dict[str, str] = {}
    for template in spec.templates:
        rig_name = template.rigName or spec.defaults.rigName
        rig = rigs.get(rig_name)
        if rig is None:
            said = f"Rig {rig_name} does not exist" if rig_name else "it names no Rig"
            text = f"template {template.name}: {said}; create it, or set rigName there or in spec.defaults"
            return Unsound(reasons.NO_RIG, text, is_final=False)
        names[template.name] = convoy_bead_name(rig.spec.prefix, convoy.metadata.uid, template.name)
    members = tuple(dict.fromkeys((*names.values(), *(bead_id.lower() for bead_id in spec.beads))))
    if ring := graph.find_ring(_edges(convoy, names, members, beads)):
        return Unsound(reasons.CYCLE, f"beads wait for each other: {_ring_text(ring)}; remove one of these dependencies")
    return ConvoyPlan(members, names)


def waves_of(convoy: Convoy, plan: ConvoyPlan, beads: Mapping[str, Bead]) -> list[Wave]:
    """Members by layers of their dependencies among each other, with how many of each are done."""
    waves = graph.layers(_edges(convoy, plan.names, plan.members, beads))
    if len(waves) > WAVES_LIMIT:
        waves = [*waves[: WAVES_LIMIT - 1], [name for wave in waves[WAVES_LIMIT - 1 :] for name in wave]]
    return [Wave(total=len(wave), done=sum(name in beads and outcomes.is_done(beads[name]) for name in wave)) for wave in waves]


def bead_of(convoy: Convoy, template: BeadTemplate, plan: ConvoyPlan) -> dict[str, Any]:
    """The bead a template becomes. The convoy does not own it: deleting the convoy must not cascade into work in flight."""
    spec, defaults = convoy.spec, convoy.spec.defaults
    edges = [{"id": plan.names[name], "type": BLOCKS} for name in template.dependsOn]
    edges += [to_dict(edge) for edge in template.dependencies]
    priority = template.priority if template.priority is not None else defaults.priority
    wanted = {
        "title": template.title,
        "description": template.description,
        "design": template.design,
        "acceptanceCriteria": template.acceptanceCriteria,
        "type": template.type or defaults.type,
        "priority": priority,
        "delivery": template.delivery,
        "rigName": template.rigName or defaults.rigName,
        "profileName": template.profileName or defaults.profileName,
        "model": template.model or defaults.model,
        "labels": list(dict.fromkeys((*defaults.labels, *template.labels))),
        "estimateMinutes": template.estimateMinutes or None,
        "formula": template.formula,
        "dependencies": edges,
        "owner": spec.owner,
        "createdBy": f"convoy/{convoy.metadata.name}",
        "createdTime": convoy.metadata.creationTimestamp,
    }
    return {
        "apiVersion": convoy.apiVersion,
        "kind": "Bead",
        "metadata": {
            "name": plan.names[template.name],
            "namespace": convoy.metadata.namespace,
            "labels": {labels.CONVOY: shorten(convoy.metadata.name), labels.PART_OF: "gastown"},
            "annotations": {labels.LOCAL_NAME: template.name},
        },
        # What is left out gets the default of the kind.
        "spec": {name: value for name, value in to_dict(wanted).items() if value not in ("", None, [], {})},
    }


def _edges(convoy: Convoy, names: Mapping[str, str], members: tuple[str, ...], beads: Mapping[str, Bead]) -> dict[str, list[str]]:
    """Member -> members it waits for: as the bead says, or as its template will once it is made."""
    templates = {names[template.name]: template for template in convoy.spec.templates if template.name in names}
    edges: dict[str, list[str]] = {}
    for member in members:
        bead, template = beads.get(member), templates.get(member)
        if bead is not None:
            edges[member] = [edge.id for edge in dependencies.blocking(bead)]
        elif template is not None:
            edges[member] = [names[name] for name in template.dependsOn] + [edge.id.lower() for edge in template.dependencies]
        else:
            edges[member] = []
    return edges


def _ring_text(ring: tuple[str, ...]) -> str:
    return " -> ".join((*ring, ring[0]))
