"""Show a convoy bead by bead, in waves: where each is, who has it, and if it does not move, why."""

from __future__ import annotations

import argparse
from typing import Any

from gastown.api import labels
from gastown.api.codec import from_dict
from gastown.api.kinds import BEAD, CONVOY, MERGE_REQUEST
from gastown.api.names import shorten
from gastown.cli import output
from gastown.cli.convoy_view import HEADINGS, Seen, heading, rows
from gastown.cli.errors import about
from gastown.cli.place import add_place_arguments, find_place
from gastown.kube.rest import Client

EXAMPLE = """\
gt convoy status first-convoy
gt convoy status first-convoy --watch      until it landed (exit code 0) or failed (1)
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which convoy, and whether to stay."""
    parser.add_argument("name", help="of the convoy")
    parser.add_argument("-w", "--watch", action="store_true", help="follow it until it is over; with --json one line per change")
    add_place_arguments(parser)


def run(options: argparse.Namespace) -> int:
    """Print it, or follow it."""
    place = find_place(options)
    if options.watch:
        from gastown.cli.convoy_follow import follow  # asyncio and aiohttp: 150 ms that nothing else here needs

        with about(f"convoy {options.name} in namespace {place.namespace}"):
            return follow(place, options.name, as_json=options.json)
    with place.connect("gt") as client:
        convoy, beads, requests = _read(client, place.namespace, options.name)
    if options.json:
        output.print_json(output.as_list([convoy, *beads, *requests]))
        return 0
    seen = Seen(
        from_dict(CONVOY.type, convoy),
        {item["metadata"]["name"]: from_dict(BEAD.type, item) for item in beads},
        {item["metadata"]["name"]: from_dict(MERGE_REQUEST.type, item) for item in requests},
    )
    print(heading(seen.convoy), end="")
    output.print_table(HEADINGS, rows(seen), empty="It has no beads yet.")
    return 0


def _read(client: Client, namespace: str, name: str) -> tuple[dict[str, Any], list[dict[str, Any]], list[dict[str, Any]]]:
    with about(f"convoy {name} in namespace {namespace}", remedy="see `gt convoy list`"):
        convoy = client.get(CONVOY, namespace, name)
        label = shorten(name)
        named = set(convoy["spec"].get("beads", []))
        # Beads that a convoy only names carry no label of it: one list of all is cheaper than a request for each.
        selector = "" if named else f"{labels.CONVOY}={label}"
        found = client.list_all(BEAD, namespace, label_selector=selector)
        requests = client.list_all(MERGE_REQUEST, namespace, field_selector="" if named else f"spec.convoyName={label}")
    beads = [item for item in found if item["metadata"]["name"] in named or item["metadata"].get("labels", {}).get(labels.CONVOY) == label]
    names = {item["metadata"]["name"] for item in beads}
    return convoy, beads, [item for item in requests if item["spec"]["beadName"] in names]
