"""Tell whether the local town is up, and what the town in reach is doing: beads, agents and convoys by phase."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from gastown.api.kinds import AGENT, BEAD, CONVOY, MERGE_REQUEST, RIG, Kind
from gastown.api.text import plain
from gastown.cli import output
from gastown.cli.errors import FAILED, OK, CommandError
from gastown.cli.gt.local_town import DEFAULT_TOWN, translating
from gastown.cli.place import Place, add_place_arguments, find_place
from gastown.kube.configuration import ConfigurationError
from gastown.kube.errors import ApiError
from gastown.kube.rest import Client

EXAMPLE = """\
gt status
gt status --json
"""
COUNTED = (("rigs", RIG), ("agents", AGENT), ("beads", BEAD), ("convoys", CONVOY), ("merge requests", MERGE_REQUEST))
_ANSWER_SECONDS = 10.0
_UNSEEN = "New"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which town."""
    parser.add_argument("--town", default=DEFAULT_TOWN, help="name of the local town (default: default)")
    add_place_arguments(parser)


def run(options: argparse.Namespace) -> int:
    """Print both; exit code 1 when there is neither a local town that is up nor a town in reach."""
    local = _local(options.town)
    if local and local["up"] and not options.kubeconfig:
        options = argparse.Namespace(**{**vars(options), "kubeconfig": _own_or_local(options, local)})
    counts, trouble, place = _counts(options)
    if options.json:
        cluster = {"server": place.configuration.server, "namespace": place.namespace, "counts": counts} if place else None
        output.print_json({"kind": "TownStatus", "local": local, "cluster": cluster, "trouble": trouble})
    else:
        print("".join(f"{plain(line)}\n" for line in _lines(options.town, local, counts, trouble, place)), end="")
    return OK if (local and local["up"]) or counts else FAILED


def _own_or_local(options: argparse.Namespace, local: dict[str, Any]) -> str:
    """The kubeconfig to ask: the user's if it leads anywhere, else that of the local town."""
    try:
        find_place(options)
    except (CommandError, ConfigurationError):
        return str(local["kubeconfig"])
    return ""


def _local(name: str) -> dict[str, Any] | None:
    """The local town, or None if it was never up."""
    from gastown.local import town

    with translating(name):
        seen = town.status(name)
    if not seen.server:
        return None
    return {
        "name": seen.name,
        "up": seen.is_up,
        "server": seen.server,
        "kubeconfig": str(seen.kubeconfig),
        "processes": [{"name": process.name, "pid": process.pid, "log": str(process.log)} for process in seen.processes],
        "apiReady": seen.is_api_ready,
        "node": seen.node,
        "nodeReady": seen.is_node_ready,
        "sandbox": seen.sandbox,
        "release": seen.release,
        "repoUrl": seen.repo_url,
        "troubles": list(seen.troubles),
    }


def _counts(options: argparse.Namespace) -> tuple[dict[str, dict[str, int]], str, Place | None]:
    try:
        place = find_place(options)
    except ConfigurationError as error:
        return {}, str(error), None
    try:
        with Client(place.configuration, user_agent="gt", deadline_seconds=_ANSWER_SECONDS) as client:
            return {name: _by_phase(client, kind, place.namespace) for name, kind in COUNTED}, "", place
    except ApiError as error:
        return {}, f"{place.configuration.server}: {error.message}", place


def _by_phase(client: Client, kind: Kind, namespace: str) -> dict[str, int]:
    phases = Counter(item.get("status", {}).get("phase") or _UNSEEN for item in client.list_all(kind, namespace))
    return dict(sorted(phases.items()))


def _lines(name: str, local: dict[str, Any] | None, counts: dict[str, dict[str, int]], trouble: str, place: Place | None) -> Iterator[str]:
    if local is None:
        yield f"local town {name}: was never up (start it with `gt up`)"
    else:
        yield from _local_lines(name, local)
    if place is not None and counts:
        yield f"town in namespace {place.namespace} of {place.configuration.server}"
        for what, phases in counts.items():
            total = sum(phases.values())
            yield f"  {what + ':':<16}{total}" + (f" ({_told(phases)})" if total else "")
    elif trouble:
        yield f"no town in reach: {trouble}"


def _local_lines(name: str, local: dict[str, Any]) -> Iterator[str]:
    yield f"local town {name}: {'up' if local['up'] else 'not up'}"
    for process in local["processes"]:
        state = f"pid {process['pid']}" if process["pid"] else f"does not run; log: {process['log']}"
        yield f"  {process['name'] + ':':<26}{state}"
    if local["node"]:
        confined = f", sandbox {local['sandbox']}" if local["sandbox"] else ""
        yield f"  {'node:':<26}{'ready' if local['nodeReady'] else 'not ready'}{confined}"
        yield f"  {'chart:':<26}{local['release'] or 'not installed'}"
    for line in local["troubles"]:
        yield f"  {line}"
    yield f"  export KUBECONFIG={local['kubeconfig']}"


def _told(phases: dict[str, int] | Sequence[tuple[str, int]]) -> str:
    return ", ".join(f"{count} {phase}" for phase, count in dict(phases).items())
