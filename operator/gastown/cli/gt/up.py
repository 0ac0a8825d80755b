"""Start a town on this machine: a real Kubernetes control plane, the process node and the chart. In a running town nothing changes."""

from __future__ import annotations

import argparse
import shlex

from gastown.cli import output
from gastown.cli.gt.local_town import add_town_argument, report, translating

EXAMPLE = """\
gt up
eval "$(gt up)" && kubectl get rigs
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which town."""
    add_town_argument(parser)


def run(options: argparse.Namespace) -> int:
    """Bring it up; the line to export is all that goes to standard output."""
    from gastown.local import town

    with translating(options.town):
        running = town.up(options.town, report=report)
    if options.json:
        plain = {"kubeconfig": str(running.kubeconfig), "server": running.server, "repoUrl": running.repo_url, "logs": str(running.logs)}
        output.print_json({"kind": "LocalTown", "name": options.town, **plain})
    else:
        print(f"export KUBECONFIG={shlex.quote(str(running.kubeconfig))}")
    return 0
