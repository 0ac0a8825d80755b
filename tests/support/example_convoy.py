"""The example of examples/01-first-convoy under other names, for tests and benchmarks: nothing may depend on the names in it."""

from __future__ import annotations

import importlib.util
import json
import subprocess
from collections.abc import Callable, Container, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import yaml

from support.cluster import Cluster

ROOT = Path(__file__).parent.parent.parent
EXAMPLE = ROOT / "examples" / "01-first-convoy"
LAND_SECONDS = 240
# What is expected of its beads, by local name.
DIAMOND = ("moods", "shout", "whisper", "choir")
REWORKED = {"strangers": "Conflicted", "good-day": "Rejected"}


def demo() -> ModuleType:
    """examples/demo.py as a module."""
    spec = importlib.util.spec_from_file_location("demo", ROOT / "examples" / "demo.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def documents(
    rig: str,
    prefix: str,
    convoy: str,
    *,
    rename: Callable[[str], str] = str,
    reverse: bool = False,
    only: Container[str] = (*DIAMOND, *REWORKED),
) -> list[dict[str, Any]]:
    """Rig, profile and convoy of the example.

    Args:
        rename: Local bead name -> another one.
        reverse: List the beads from last to first.
        only: Local names of the beads to keep, as the example has them.
    """
    found = [document for name in ("rig.yaml", "convoy.yaml") for document in yaml.safe_load_all((EXAMPLE / name).read_text())]
    for document in found:
        spec = document["spec"]
        if document["kind"] == "Rig":
            document["metadata"]["name"], spec["prefix"] = rig, prefix
            spec["git"]["upstream"] = f"file:///srv/upstreams/{rig}.git"
        if document["kind"] == "Convoy":
            document["metadata"]["name"], spec["defaults"]["rigName"] = convoy, rig
            spec["templates"] = [template for template in spec["templates"] if template["name"] in only]
            for template in spec["templates"]:
                template["name"] = rename(template["name"])
                template["dependsOn"] = [rename(name) for name in template.get("dependsOn", [])]
            if reverse:
                spec["templates"].reverse()
    return found


class ExampleTown:
    """The example in one running town.

    Args:
        cluster: A whole town; its kubeconfig's default namespace is the town's.
    """

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster

    def items(self, plural: str, selector: str = "") -> list[dict[str, Any]]:
        """All objects of a kind in the town's namespace."""
        found: list[dict[str, Any]] = json.loads(self.cluster.kubectl("get", plural, "-o", "json", "-l", selector).stdout)["items"]
        return found

    def apply(self, objects: Sequence[Mapping[str, Any]]) -> None:
        """kubectl apply, as a user does it."""
        self.cluster.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all([dict(item) for item in objects]))

    def upstream(self, rig: str) -> Path:
        """The bare repository that a rig came from and publishes to."""
        return self.cluster.directory.upstreams / f"{rig}.git"

    def make_upstream(self, rig: str) -> None:
        """Make the example's repository under a rig's name."""
        demo().make_upstream(EXAMPLE / "greeter", self.upstream(rig))

    def main_log(self, rig: str) -> list[str]:
        """Subjects of the upstream's main, first parents only, newest first."""
        return self._git(rig, "log", "--first-parent", "--format=%s", "main").splitlines()

    def main_trees(self, rig: str) -> list[str]:
        """Trees of the upstream's main, first parents only, newest first."""
        return self._git(rig, "log", "--first-parent", "--format=%T", "main").splitlines()

    def is_ancestor(self, rig: str, commit: str, of: str) -> bool:
        """Whether the upstream's `of` contains a commit."""
        return commit in self._git(rig, "rev-list", of).splitlines()

    def by_local_name(self, convoy: str) -> dict[str, dict[str, Any]]:
        """The beads that a convoy made, by the names it gives them."""
        beads = self.items("beads", f"gastown.dev/convoy={convoy}")
        return {bead["metadata"]["annotations"]["gastown.dev/local-name"]: bead for bead in beads}

    def _git(self, rig: str, *arguments: str) -> str:
        command = ["git", "-C", str(self.upstream(rig)), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout

    def wait_landed(self, target: str, timeout_seconds: int = LAND_SECONDS) -> None:
        """kubectl wait, as a user would.

        Args:
            target: Such as convoy/first-convoy.
            timeout_seconds: Of the whole wait.

        Raises:
            AssertionError: It did not land in time; tells what the objects say.
        """
        arguments = ["wait", "--for=condition=Landed", target, f"--timeout={timeout_seconds}s"]
        answer = self.cluster.kubectl(*arguments, check=False, timeout_seconds=timeout_seconds + 30)
        if answer.returncode != 0:
            shown = self.cluster.kubectl("get", "beads,agents,mr,gateruns,pods", "-o", "wide").stdout
            raise AssertionError(f"{target} did not land: {answer.stderr}\n{shown}\nlogs: {self.cluster.directory.logs}")
