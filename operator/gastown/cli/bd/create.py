"""File a bead. Its ID is made of the rig's prefix and a hash, or of its parent's ID and a number."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from gastown.api.bead import DELIVERY_COMMIT, DELIVERY_NONE, Bead, BeadSpec, Dependency
from gastown.api.codec import to_dict
from gastown.api.kinds import BEAD, RIG
from gastown.api.meta import ObjectMeta
from gastown.api.town import PREFIX
from gastown.cli import output
from gastown.cli.bd import ids
from gastown.cli.beads import get_bead
from gastown.cli.errors import CONFLICT, USAGE, CommandError, about
from gastown.cli.place import Place, add_place_arguments, find_place
from gastown.kube import paths
from gastown.kube.errors import AlreadyExists, Unavailable
from gastown.kube.rest import Client

EXAMPLE = """\
bd create "Greet in French" --rig greeter -p 1 -d "Add a French greeting with its test."
bd create "Split the parser" --parent gp-a3f8 --deps gp-b1c2,discovered-from:gp-a3f8
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Fields of the bead."""
    parser.add_argument("title", help="in one line, what is to be done")
    parser.add_argument("-t", "--type", default="task", help="such as task, bug, feature, chore, epic (default: task)")
    parser.add_argument("-p", "--priority", type=int, default=2, choices=range(5), help="0 is most urgent (default: 2)")
    parser.add_argument("-d", "--description", default="", help="the rest; - reads it from standard input")
    parser.add_argument("--rig", default="", help="whose repository it is about; default: the worktree's, or the only one")
    parser.add_argument("--parent", default="", metavar="ID", help="file it as a child")
    parser.add_argument("--deps", action="append", default=[], metavar="[TYPE:]ID,...", help="what it depends on (default type: blocks)")
    parser.add_argument("--id", default="", help="use exactly this ID")
    parser.add_argument("-l", "--label", action="append", default=[], help="may be repeated")
    parser.add_argument("--delivery", choices=(DELIVERY_COMMIT, DELIVERY_NONE), default=DELIVERY_COMMIT, help="what doing it leaves behind")
    parser.add_argument("--profile", default="", help="AgentProfile to work it with")
    add_place_arguments(parser)


def run(options: argparse.Namespace) -> int:
    """Create it and print its ID."""
    place = find_place(options)
    with place.connect("bd") as client:
        spec = _spec(options, place, client)
        made = _create(client, place, spec, _names(options, place, client, spec))
    if options.json:
        output.print_json(made)
    else:
        print(made["metadata"]["name"])
    return 0


def _spec(options: argparse.Namespace, place: Place, client: Client) -> BeadSpec:
    parent = options.parent.lower()
    rig = place.rig
    if parent:
        rig = rig or str(get_bead(client, place.namespace, parent)["spec"].get("rigName", ""))
    return BeadSpec(
        title=options.title,
        description=sys.stdin.buffer.read().decode("utf-8", "replace") if options.description == "-" else options.description,
        type=options.type,
        priority=options.priority,
        delivery=options.delivery,
        rigName=rig or ("" if parent or options.id else _only_rig(client, place)),
        labels=list(dict.fromkeys(options.label)),
        dependencies=_dependencies(options.deps),
        parent=parent,
        profileName=options.profile,
        createdTime=datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        createdBy=_creator(client, place),
        originalId=options.id if options.id != options.id.lower() else "",
    )


def _dependencies(told: list[str]) -> list[Dependency]:
    words = [word.strip() for part in told for word in part.split(",") if word.strip()]
    edges = []
    for word in words:
        type_, colon, bead_id = word.rpartition(":")
        if not bead_id or (colon and not type_):
            raise CommandError(
                f"--deps {word}", "is neither ID nor TYPE:ID", remedy="write it as in --deps blocks:gp-a3f8", exit_code=USAGE
            )
        edges.append(Dependency(id=bead_id.lower(), type=type_ or "blocks"))
    return list({(edge.id, edge.type): edge for edge in edges}.values())


def _creator(client: Client, place: Place) -> str:
    """The name the server knows us by; that of an agent is its ServiceAccount's (admission refuses any other)."""
    if place.in_pod and place.agent:
        return place.agent
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    with about("my own identity"):
        review = client.request("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", body)
    username = str(review.get("status", {}).get("userInfo", {}).get("username", ""))
    return username.removeprefix(f"system:serviceaccount:{place.namespace}:")


def _only_rig(client: Client, place: Place) -> str:
    with about(f"rigs in namespace {place.namespace}"):
        rigs = sorted(str(item["metadata"]["name"]) for item in client.list_all(RIG, place.namespace))
    if len(rigs) > 1:
        raise CommandError("--rig", f"there are several: {', '.join(rigs)}", remedy="say which one", exit_code=USAGE, reason="ManyRigs")
    return rigs[0] if rigs else ""


def _names(options: argparse.Namespace, place: Place, client: Client, spec: BeadSpec) -> Iterator[str]:
    """IDs to try, one after the other, while they are taken."""
    if options.id:
        yield options.id.lower()
        return
    if spec.parent:
        for _ in range(ids.NONCES_PER_LENGTH):
            with about(f"children of {spec.parent}"):
                children = client.list_all(BEAD, place.namespace, field_selector=f"spec.parent={spec.parent}")
            yield ids.child_id(spec.parent, [child["metadata"]["name"] for child in children])
        return
    prefix = PREFIX
    if spec.rigName:
        with about(f"rig {spec.rigName} in namespace {place.namespace}", remedy="see `kubectl get rigs`"):
            prefix = client.get(RIG, place.namespace, spec.rigName)["spec"]["prefix"]
    start = time.time_ns()
    for length in range(ids.length_for(_count(client, place)), ids.LONGEST + 1):
        for nonce in range(ids.NONCES_PER_LENGTH):
            yield ids.hash_id(prefix, spec.title, spec.description, spec.createdBy, start, nonce, length)


def _count(client: Client, place: Place) -> int:
    with about(f"beads in namespace {place.namespace}"):
        page = client.request("GET", paths.with_query(paths.collection(BEAD, place.namespace), limit=1))
    return len(page["items"]) + int(page["metadata"].get("remainingItemCount", 0))


def _create(client: Client, place: Place, spec: BeadSpec, names: Iterator[str]) -> dict[str, Any]:
    name = ""
    for name in names:
        bead = Bead(metadata=ObjectMeta(name=name, namespace=place.namespace), spec=spec)
        try:
            with about(f"bead {name}"):
                return _create_once(client, place, bead)
        except CommandError as error:
            if not isinstance(error.__cause__, AlreadyExists):
                raise
    raise CommandError(
        f"bead {name}", "exists already", remedy="leave --id out, or see `bd show`", exit_code=CONFLICT, reason="AlreadyExists"
    )


def _create_once(client: Client, place: Place, bead: Bead) -> dict[str, Any]:
    """Create it; where the answer was lost, look whether it did happen before trying again."""
    try:
        return client.create(BEAD, bead)
    except Unavailable as error:
        if not error.may_have_happened:
            raise
    try:
        return client.create(BEAD, bead)
    except AlreadyExists:
        found = client.get(BEAD, place.namespace, bead.metadata.name)
        wanted = to_dict(bead.spec)
        if all(found["spec"].get(key) == value for key, value in wanted.items()):
            return found
        raise
