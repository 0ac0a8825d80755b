"""Close beads: those that deliver no commit when they are done, any other when nobody should do it any more.

A bead that delivers a commit is closed by landing. An agent therefore ends its work on one with `gt done`.
"""

from __future__ import annotations

import argparse
from typing import Any

from gastown.api.bead import CLOSED, DELIVERY_COMMIT
from gastown.api.kinds import BEAD
from gastown.cli import output
from gastown.cli.beads import get_bead
from gastown.cli.errors import CommandError, about
from gastown.cli.place import Place, add_place_arguments, find_place
from gastown.kube.rest import Client

EXAMPLE = """\
bd close gp-a3f8 --reason "no longer wanted"
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The beads and the reason."""
    parser.add_argument("id", nargs="+", metavar="ID", help="of a bead")
    parser.add_argument("-r", "--reason", default="", help="why, for those who come later")
    add_place_arguments(parser)


def run(options: argparse.Namespace) -> int:
    """Close them one by one; the first that can not be closed ends the command."""
    place = find_place(options)
    closed = []
    with place.connect("bd") as client:
        for bead_id in options.id:
            item = get_bead(client, place.namespace, bead_id)
            closed.append(_close(client, place, item, options.reason))
            if not options.json:
                print(f"bead {item['metadata']['name']} closed" + (" (it was)" if _is_closed(item) else ""))
    if options.json:
        output.print_json(closed[0] if len(closed) == 1 else output.as_list(closed))
    return 0


def _close(client: Client, place: Place, item: dict[str, Any], reason: str) -> dict[str, Any]:
    name, spec = item["metadata"]["name"], item["spec"]
    if _is_closed(item):
        return item
    if place.agent and spec.get("delivery", DELIVERY_COMMIT) == DELIVERY_COMMIT:
        raise CommandError(
            f"bead {name}",
            "delivers a commit, so it is closed by landing and not by its agent",
            remedy="commit and run `gt done`; to say that there is nothing to do, add a comment and end the session",
            reason="DeliversCommit",
        )
    patch = {"spec": {"state": CLOSED, "closeReason": reason or f"closed by {place.agent or 'a person'}"}}
    with about(f"bead {name}"):
        return client.merge_patch(BEAD, place.namespace, name, patch)


def _is_closed(item: dict[str, Any]) -> bool:
    return bool(item["spec"].get("state") == CLOSED)
