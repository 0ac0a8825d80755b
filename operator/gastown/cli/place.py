"""Where a command works and as whom: namespace, agent and bead, and the way to the API server.

In a pod its environment and its ServiceAccount say it all. Elsewhere the git configuration of the worktree (`gastown.*`, written by
whatever made the worktree) comes first, then flags, then the kubeconfig. Where a flag and one of the former disagree the command
stops and names both: the wrong town is worse than an error.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from dataclasses import dataclass

from gastown.cli.errors import USAGE, CommandError
from gastown.kube.configuration import Configuration, in_cluster, is_in_cluster
from gastown.kube.rest import Client

DEFAULT_NAMESPACE = "town"
_IN_POD = {
    "namespace": "GASTOWN_NAMESPACE",
    "rig": "GASTOWN_RIG",
    "agent": "GASTOWN_AGENT",
    "bead": "GASTOWN_BEAD",
    "repository": "GASTOWN_REPOSITORY_URL",
    "target": "GASTOWN_TARGET_BRANCH",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What is known without asking a server.

    Attributes:
        namespace: Of the town.
        rig, agent, bead, repository, target: "" if unknown.
        in_pod: Whether the pod's ServiceAccount speaks for us.
    """

    configuration: Configuration
    namespace: str
    rig: str = ""
    agent: str = ""
    bead: str = ""
    repository: str = ""
    target: str = ""
    in_pod: bool = False

    def connect(self, program: str) -> Client:
        """A client of the API server; the caller closes it.

        Raises:
            ConfigurationError: There is no way to it.
        """
        return Client(self.configuration, user_agent=program)


def add_place_arguments(parser: argparse.ArgumentParser, *, agent: bool = False) -> None:
    """Declare the flags that `find_place` reads, and --json."""
    group = parser.add_argument_group("where")
    group.add_argument("-n", "--namespace", default="", help="namespace of the town")
    group.add_argument("--kubeconfig", default="", help="file with the way to the cluster; default: $KUBECONFIG or ~/.kube/config")
    group.add_argument("--context", default="", help="context in it; default: its current one")
    if agent:
        group.add_argument("--agent", default="", help="act for this agent; default: the pod's, or gastown.agent of the worktree")
    parser.add_argument("--json", action="store_true", help="print JSON as the API server has it")


def find_place(options: argparse.Namespace, environment: Mapping[str, str] = os.environ) -> Place:
    """Work out where we are.

    Raises:
        CommandError: Two sources disagree, or a flag makes no sense here.
        ConfigurationError: No way to the API server.
    """
    flags = {name: value for name in ("namespace", "agent", "rig") if (value := str(getattr(options, name, "") or ""))}
    if is_in_cluster(environment):
        return _in_pod(options, flags, environment)
    known, sources = _of_worktree(environment)
    told = _merged(known, sources, flags)  # before the kubeconfig: a disagreement is told even where there is none
    from gastown.cli.kubeconfig import load_configuration

    return _place(told, load_configuration(options.kubeconfig, options.context, environment), in_pod=False)


def _in_pod(options: argparse.Namespace, flags: dict[str, str], environment: Mapping[str, str]) -> Place:
    for name in ("kubeconfig", "context"):
        if value := getattr(options, name, ""):
            raise _conflict(name, "the pod's ServiceAccount", "is used here", f"flag --{name}", f"says {value}")
    known = {name: environment[variable] for name, variable in _IN_POD.items() if environment.get(variable)}
    sources = {name: f"environment variable {_IN_POD[name]}" for name in known}
    return _place(_merged(known, sources, flags), in_cluster(environment), in_pod=True)


def _place(told: dict[str, str], configuration: Configuration, *, in_pod: bool) -> Place:
    return Place(
        namespace=told.get("namespace", "") or configuration.namespace or DEFAULT_NAMESPACE,
        rig=told.get("rig", ""),
        agent=told.get("agent", ""),
        bead=told.get("bead", ""),
        repository=told.get("repository", ""),
        target=told.get("target", ""),
        in_pod=in_pod,
        configuration=configuration,
    )


def _merged(known: dict[str, str], sources: dict[str, str], flags: dict[str, str]) -> dict[str, str]:
    # --rig is a choice, not an identity: an agent may file a bead for another rig.
    for name in ("namespace", "agent"):
        value = flags.get(name, "")
        if value and known.get(name, value) != value:
            raise _conflict(name, sources[name], f"says {known[name]}", f"flag --{name}", f"says {value}")
    return {**known, **flags}


def _conflict(what: str, one: str, one_says: str, other: str, other_says: str) -> CommandError:
    happened = f"{one} {one_says}, {other} {other_says}"
    return CommandError(what, happened, remedy="leave the flag out, or work elsewhere", exit_code=USAGE, reason="ConflictingConfiguration")


def _of_worktree(environment: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """The gastown.* settings of the worktree we are in, and where they stand; empty outside of one."""
    import subprocess

    arguments = ["git", "config", "--show-origin", "--null", "--get-regexp", r"^gastown\."]
    try:
        done = subprocess.run(arguments, capture_output=True, timeout=10, env=dict(environment), check=False)
    except (OSError, subprocess.TimeoutExpired):
        return {}, {}
    known: dict[str, str] = {}
    sources: dict[str, str] = {}
    words = done.stdout.decode("utf-8", "replace").split("\0")
    for origin, setting in zip(words[0::2], words[1::2], strict=False):
        key, _, value = setting.partition("\n")
        name = key.removeprefix("gastown.")
        if name in _IN_POD and value:
            known[name] = value
            sources[name] = f"git config {key} ({origin.removeprefix('file:')})"
    return known, sources
