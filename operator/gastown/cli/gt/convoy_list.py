"""List convoys: how far each is and, if it does not move, why."""

from __future__ import annotations

import argparse
from typing import Any

from gastown.api.codec import from_dict
from gastown.api.conditions import PROGRESSING, find_condition
from gastown.api.convoy import Convoy
from gastown.api.kinds import CONVOY
from gastown.cli import output
from gastown.cli.errors import about
from gastown.cli.place import add_place_arguments, find_place

EXAMPLE = """\
gt convoy list
gt convoy list --json
"""
HEADINGS = ("NAME", "PHASE", "PROGRESS", "WHY", "AGE", "TITLE")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Nothing beside the place."""
    add_place_arguments(parser)


def run(options: argparse.Namespace) -> int:
    """Print the list, oldest first."""
    place = find_place(options)
    with place.connect("gt") as client, about(f"convoys in namespace {place.namespace}"):
        found = client.list_all(CONVOY, place.namespace)
    found.sort(key=lambda item: (item["metadata"].get("creationTimestamp", ""), item["metadata"]["name"]))
    if options.json:
        output.print_json(output.as_list(found))
    else:
        output.print_table(HEADINGS, [row(item) for item in found], empty=f"No convoys in namespace {place.namespace}.")
    return 0


def row(item: dict[str, Any]) -> tuple[str, ...]:
    """One line of the table."""
    convoy = from_dict(Convoy, item)
    condition = find_condition(convoy.status.conditions, PROGRESSING)
    stuck = condition.reason if condition is not None and condition.status == "False" else "-"
    age = output.age(convoy.metadata.creationTimestamp)
    return (convoy.metadata.name, convoy.status.phase or "-", convoy.status.progress or "-", stuck, age, convoy.spec.title)
