"""The example of examples/01-first-convoy under other names, for tests and benchmarks: nothing may depend on the names in it."""

from __future__ import annotations

import importlib.util
import json
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import yaml

from gastown.local.town import RunningTown

ROOT = Path(__file__).parent.parent.parent
EXAMPLE = ROOT / "examples" / "01-first-convoy"
LAND_SECONDS = 120


def demo() -> ModuleType:
    """examples/demo.py as a module."""
    spec = importlib.util.spec_from_file_location("demo", ROOT / "examples" / "demo.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def documents(rig: str, prefix: str, convoy: str, *, rename: Callable[[str], str] = str, reverse: bool = False) -> list[dict[str, Any]]:
    """Rig, profile and convoy of the example.

    Args:
        rename: Local bead name -> another one.
        reverse: List the beads from last to first.
    """
    found = [document for name in ("rig.yaml", "convoy.yaml") for document in yaml.safe_load_all((EXAMPLE / name).read_text())]
    for document in found:
        spec = document["spec"]
        if document["kind"] == "Rig":
            document["metadata"]["name"], spec["prefix"] = rig, prefix
            spec["git"]["upstream"] = f"file:///srv/upstreams/{rig}.git"
        if document["kind"] == "Convoy":
            document["metadata"]["name"], spec["defaults"]["rigName"] = convoy, rig
            for template in spec["templates"]:
                template["name"] = rename(template["name"])
                template["dependsOn"] = [rename(name) for name in template.get("dependsOn", [])]
            if reverse:
                spec["templates"].reverse()
    return found


class TownClient:
    """kubectl and git for one running town."""

    def __init__(self, town: RunningTown) -> None:
        self.town = town

    def kubectl(self, *arguments: str, stdin: str | None = None, timeout_seconds: float = 60) -> str:
        """Run kubectl as the administrator in the town's namespace.

        Raises:
            AssertionError: It failed; with its words.
        """
        command = [str(self.town.programs.kubectl), f"--kubeconfig={self.town.kubeconfig}", *arguments]
        answer = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=timeout_seconds)
        assert answer.returncode == 0, f"kubectl {' '.join(arguments)}: {answer.stderr}"
        return answer.stdout

    def apply(self, objects: Sequence[Mapping[str, Any]]) -> None:
        """kubectl apply."""
        self.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all([dict(item) for item in objects]))

    def items(self, plural: str, selector: str = "") -> list[dict[str, Any]]:
        """All objects of a kind in the town's namespace."""
        found: list[dict[str, Any]] = json.loads(self.kubectl("get", plural, "-o", "json", "-l", selector))["items"]
        return found

    def upstream(self, rig: str) -> Path:
        """The bare repository that a rig came from and publishes to."""
        return self.town.directory.upstreams / f"{rig}.git"

    def make_upstream(self, rig: str) -> None:
        """Make the example's repository under a rig's name."""
        demo().make_upstream(EXAMPLE / "greeter", self.upstream(rig))

    def main_log(self, rig: str) -> list[str]:
        """Subjects of the upstream's main, first parents only, newest first."""
        command = ["git", "-C", str(self.upstream(rig)), "log", "--first-parent", "--format=%s", "main"]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout.splitlines()

    def wait_landed(self, convoy: str) -> None:
        """kubectl wait, as a user would.

        Raises:
            AssertionError: It did not land in time; tells what the beads say.
        """
        try:
            self.kubectl(
                "wait", "--for=condition=Landed", f"convoy/{convoy}", f"--timeout={LAND_SECONDS}s", timeout_seconds=LAND_SECONDS + 30
            )
        except AssertionError as error:
            shown = self.kubectl("get", "beads,agents,mr,gateruns,pods", "-o", "wide")
            raise AssertionError(f"convoy {convoy} did not land: {error}\n{shown}\nlogs: {self.town.logs}") from error
