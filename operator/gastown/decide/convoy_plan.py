"""A convoy's beads: are its templates sound, which beads do they become, and in which order may they run? Pure; used by convoy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gastown.api import labels, reasons
from gastown.api.bead import BLOCKING_TYPES, BLOCKS, Bead
from gastown.api.codec import to_dict
from gastown.api.convoy import BeadTemplate, Convoy, Wave
from gastown.api.names import convoy_bead_name, shorten
from gastown.api.rig import Rig
from gastown.decide import graph, outcomes

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
        waves: Members by layers of their dependencies among each other.
    """

    members: tuple[str, ...]
    names: Mapping[str, str]
    waves: Sequence[Sequence[str]] = ()


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
        return Unsound(reasons.CYCLE, f"templates wait for each other: {graph.ring_text(ring)}; remove one of these from dependsOn")
    names = template_names(convoy, rigs)
    for template in spec.templates:
        rig_name = template.rigName or spec.defaults.rigName
        if template.name not in names:
            said = f"Rig {rig_name} does not exist" if rig_name else "it names no Rig"
            text = f"template {template.name}: {said}; create it, or set rigName there or in spec.defaults"
            return Unsound(reasons.NO_RIG, text, is_final=False)
        bead = beads.get(names[template.name])
        if bead is not None and bead.spec.createdBy != creator_of(convoy):
            text = f"template {template.name}: bead {bead.metadata.name} was made by {bead.spec.createdBy or 'somebody else'} already"
            return Unsound(reasons.NAME_TAKEN, f"{text}; delete it, or give the template another name", is_final=False)
    members = tuple(dict.fromkeys((*names.values(), *(bead_id.lower() for bead_id in spec.beads))))
    waves, ring = graph.layers_or_ring(_edges(convoy, names, members, beads))
    if ring:
        return Unsound(reasons.CYCLE, f"beads wait for each other: {graph.ring_text(ring)}; remove one of these dependencies")
    return ConvoyPlan(members, names, waves)


def template_names(convoy: Convoy, rigs: Mapping[str, Rig]) -> dict[str, str]:
    """Local name -> name of the bead it becomes, of the templates whose rig exists."""
    found = ((template.name, rigs.get(template.rigName or convoy.spec.defaults.rigName)) for template in convoy.spec.templates)
    return {name: convoy_bead_name(rig.spec.prefix, convoy.metadata.uid, name) for name, rig in found if rig is not None}


def creator_of(convoy: Convoy) -> str:
    """Who its beads say they were made by; no agent may say that of a bead it creates."""
    return f"convoy/{convoy.metadata.name}"


def waves_of(plan: ConvoyPlan, beads: Mapping[str, Bead]) -> list[Wave]:
    """How many members each wave has, and how many of them are done."""
    waves = list(plan.waves)
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
        "createdBy": creator_of(convoy),
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
            edges[member] = [edge.id.lower() for edge in bead.spec.dependencies if edge.type in BLOCKING_TYPES]
        elif template is not None:
            edges[member] = [names[name] for name in template.dependsOn] + [edge.id.lower() for edge in template.dependencies]
        else:
            edges[member] = []
    return edges
