"""A rig whose agents write pages line by line and wait for the test's word half-way: work that is under way when something is killed.

Nothing about the kill is played: the test kills real processes of a real town, and in the end the town must look as if it had not.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gastown.local.node.run_files import read_state
from gastown.polecat.descendants import descendants
from support.cluster import Cluster
from support.eventually import eventually
from support.example_convoy import ExampleTown

Object = dict[str, Any]
LINES = ["one", "two", "three", "four"]
HOLD_BEFORE = "three"
# Far more than any kill here costs: what a test waits for is the end state, never a pace.
LAND_SECONDS = 240
_WORK = ("refs/heads/", "refs/agents/", "refs/mr/")
WRITER = f"""
import os, pathlib, subprocess, time
page, workspace = pathlib.Path("pages", os.environ["GASTOWN_BEAD_TITLE"]), pathlib.Path(os.environ["GASTOWN_WORKSPACE"])
page.parent.mkdir(exist_ok=True)
written = page.read_text().split() if page.exists() else []
for line in {LINES!r}[len(written):]:
    if line == {HOLD_BEFORE!r}:
        (workspace / "holding").touch()
        while not (workspace / "go").exists():
            time.sleep(0.05)
    time.sleep(0.1)  # so that there is a middle to be killed in
    with page.open("a") as file:
        file.write(line + chr(10))
print("page:", page.read_text().split(), flush=True)
subprocess.run(["git", "add", "--", str(page)], check=True)
if subprocess.run(["git", "diff", "--cached", "--quiet"]).returncode:
    subprocess.run(["git", "commit", "--quiet", "-m", "Write " + page.name], check=True)
"""


@dataclass(frozen=True)
class SessionProcesses:
    """The processes of one container, by the host's numbers.

    Attributes:
        pod_uid: Of its pod.
        supervisor: The node's shim, outside the sandbox.
        first: PID 1 of the sandbox.
        harness: Its child, which speaks to the servers; None before it is there.
        agent: The harness's child that writes; None before it is there.
    """

    pod_uid: str
    supervisor: int
    first: int
    harness: int | None
    agent: int | None

    def all(self) -> list[int]:
        """Every process of the sandbox, PID 1 last."""
        return [*descendants(self.first), self.first]


class WritingTown(ExampleTown):
    """Convoys of pages in one rig.

    Args:
        rig: Its name.
        prefix: Of its beads.
        polecats: How many agents it may have.
        attempts: Of each bead.
    """

    def __init__(
        self, cluster: Cluster, rig: str, prefix: str, *, polecats: int, attempts: int = 10, gate: Sequence[str] = ("true",)
    ) -> None:
        super().__init__(cluster)
        self.rig = rig
        self.make_upstream(rig)
        profile: Object = {
            "adapter": "shell",
            "checkpointSeconds": 1,
            "limits": {"attempts": attempts, "timeoutSeconds": 600},
            "command": ["python3", "-c", WRITER],
        }
        spec: Object = {
            "prefix": prefix,
            "profileName": f"{rig}-writer",
            "maxPolecats": polecats,
            "git": {"upstream": f"file:///srv/upstreams/{rig}.git", "branch": "main"},
            "gates": [{"name": "check", "command": list(gate), "timeoutSeconds": 120}],
        }
        self.apply([_object("AgentProfile", f"{rig}-writer", profile), _object("Rig", rig, spec)])

    def start(self, pages: Iterable[str], *, needs: dict[str, list[str]] | None = None) -> None:
        """Apply the convoy; each page is a bead.

        Args:
            needs: Page -> pages that must land first.
        """
        templates = [{"name": page, "title": page, "dependsOn": (needs or {}).get(page, [])} for page in pages]
        spec = {"title": "Write a book", "defaults": {"rigName": self.rig}, "templates": templates}
        self.apply([_object("Convoy", self.rig, spec)])

    def beads(self) -> dict[str, Object]:
        """Page -> bead."""
        return {bead["spec"]["title"]: bead for bead in self.items("beads") if bead["spec"]["rigName"] == self.rig}

    def mine(self, plural: str) -> list[Object]:
        """Objects of the rig, of a kind whose spec names it."""
        return [item for item in self.items(plural) if item["spec"].get("rigName") == self.rig]

    def pods(self) -> list[Object]:
        """The rig's session pods."""
        return self.items("pods", f"gastown.dev/rig={self.rig},gastown.dev/agent")

    def pod_of(self, page: str) -> Object | None:
        """The session pod that works on a page."""
        bead = self.beads().get(page)
        found = [pod for pod in self.pods() if bead and pod["metadata"]["labels"]["gastown.dev/bead"] == bead["metadata"]["name"]]
        return found[0] if found else None

    def workspace(self, pod_uid: str) -> Path:
        """A session's volume, on the host."""
        return self.cluster.directory.node / "pods" / pod_uid / "volumes" / "workspace"

    def container(self, pod_uid: str, container: str = "agent") -> SessionProcesses | None:
        """The running processes of a pod's container; None if it does not run."""
        state = read_state(self.cluster.directory.node / "pods" / pod_uid / "containers" / container / "0")
        if state is None or not state.init.is_alive():
            return None
        first = state.init.process_id
        harness = _child(first, "gastown-polecat")
        agent = _child(harness, "GASTOWN_BEAD_TITLE") if harness else None
        return SessionProcesses(pod_uid, state.shim.process_id, first, harness, agent)

    def wait_holding(self, page: str, after: str = "") -> SessionProcesses:
        """Wait until a page's agent has written half of it and waits.

        Args:
            after: Uid of an earlier pod, which does not count.
        """

        def holds() -> SessionProcesses | None:
            pod = self.pod_of(page)
            if pod is None or pod["metadata"]["uid"] == after:
                return None
            uid = pod["metadata"]["uid"]
            seen = self.container(uid) if (self.workspace(uid) / "holding").exists() else None
            return seen if seen is not None and seen.agent is not None else None

        return _there(eventually(holds, 90, f"{page} is half written"))

    def wait_checkpoint(self, page: str) -> None:
        """Wait until the half of a page is kept on the server."""
        pod = self.pod_of(page)
        assert pod is not None
        agent, bead = pod["metadata"]["name"], pod["metadata"]["labels"]["gastown.dev/bead"]
        eventually(lambda: f"refs/agents/{agent}/wip/{bead}" in self.refs(), 60, f"a checkpoint of {page}")

    def let_go(self) -> None:
        """Let every agent write on, and every gate pass."""
        for pod in (*self.pods(), *self.gate_pods()):
            with contextlib.suppress(OSError):
                (self.workspace(pod["metadata"]["uid"]) / "go").touch()

    def gate_pods(self) -> list[Object]:
        """Pods of the rig's gate Jobs."""
        return self.items("pods", f"gastown.dev/rig={self.rig},batch.kubernetes.io/job-name")

    def wait_gate(self, after: Iterable[str] = ()) -> SessionProcesses:
        """Wait until a gate runs in a Job.

        Args:
            after: Uids of pods that do not count.
        """

        def runs() -> SessionProcesses | None:
            uids = [pod["metadata"]["uid"] for pod in self.gate_pods()]
            found = (self.container(uid, "gate") for uid in uids if uid not in after)
            return next((seen for seen in found if seen is not None), None)

        return _there(eventually(runs, 90, f"a gate of rig {self.rig} runs"))

    def wait_checkout(self) -> SessionProcesses:
        """Wait until some session of the rig makes its worktree; quickly, for it takes less than a second."""

        def runs() -> SessionProcesses | None:
            for record in self.cluster.directory.node.glob("pods/*/pod.json"):
                with contextlib.suppress(OSError):
                    if f'"{self.rig}-' in record.read_text() and (found := self.container(record.parent.name, "checkout")):
                        return found
            return None

        return _there(eventually(runs, 60, "a session checks out"))

    def wait_written(self, timeout_seconds: float = LAND_SECONDS, *, retry_held: bool = False) -> None:
        """Let all agents write on until the convoy has landed.

        Args:
            retry_held: Do what the message of a Held request asks a person for: the gates of one change may all have been killed.
        """

        def landed() -> bool:
            self.let_go()
            if retry_held:
                self.retry_held()
            shown = self.cluster.kubectl("get", "convoy", self.rig, "-o", "jsonpath={.status.phase}", check=False).stdout
            return shown == "Landed"

        try:
            eventually(landed, timeout_seconds, f"convoy {self.rig} lands")
        except AssertionError as error:
            shown = self.cluster.kubectl("get", "convoys,beads,agents,mr,gateruns,pods,jobs", "-o", "wide").stdout
            raise AssertionError(f"{error}\n{shown}\nlogs: {self.cluster.directory.logs}") from error

    def retry_held(self) -> None:
        """Ask for another try of requests whose gates could not speak three times."""
        for request in self.mine("mergerequests"):
            if request.get("status", {}).get("phase") == "Held":
                name, asked = request["metadata"]["name"], datetime.now(UTC).isoformat()
                self.cluster.kubectl("annotate", "mr", name, f"gastown.dev/retry-requested-at={asked}", "--overwrite")

    def repository(self) -> Path:
        """The rig's bare repository, on the host."""
        (found,) = self.cluster.directory.volumes.glob(f"*/rigs/town/{self.rig}.git")
        return found

    def refs(self) -> dict[str, str]:
        """Ref -> commit of the rig's repository; {} before it is there."""
        if not list(self.cluster.directory.volumes.glob(f"*/rigs/town/{self.rig}.git")):
            return {}
        listed = self.git("for-each-ref", "--format=%(refname) %(objectname)").splitlines()
        return dict(line.split(" ") for line in listed)

    def git(self, *arguments: str) -> str:
        """Read the rig's repository with git."""
        # "*": the folder is the town's, whoever this test is run by.
        command = ["git", "-c", "safe.directory=*", "-C", str(self.repository()), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout

    def failed_sessions(self) -> int:
        """How many sessions ended without handing their bead on, over all agents."""
        return sum(agent.get("status", {}).get("cv", {}).get("failedSessions", 0) for agent in self.mine("agents"))

    def end_state(self) -> Object:
        """What must not depend on who was killed meanwhile: no names of agents, no ids, no times."""
        requests = self.mine("mergerequests")
        beads = self.beads()
        per_bead = {page: [mr for mr in requests if mr["spec"]["beadName"] == bead["metadata"]["name"]] for page, bead in beads.items()}
        return {
            "convoy": self.cluster.get("convoy", self.rig, "town")["status"]["phase"],
            "beads": {
                page: (bead["status"]["phase"], bead["spec"]["state"], bead["spec"].get("assignee", "")) for page, bead in beads.items()
            },
            "commits": {page: len(bead["status"]["landedCommits"]) for page, bead in beads.items()},
            "requests": {page: [mr["status"]["phase"] for mr in found] for page, found in per_bead.items()},
            "main": {page: self.git("show", f"main:pages/{page}").split() for page in beads},
            "landings": sorted(line.partition(": ")[2] for line in self.main_log(self.rig) if line.startswith("Land ")),
        }

    def assert_nothing_doubled_or_left(self, polecats: int) -> None:
        """No second commit, request or Job for anything; no session runs on; each commit that the API names is reachable."""
        heads = [mr["spec"]["head"] for mr in self.mine("mergerequests")]
        assert len(set(heads)) == len(heads)
        landed = [commit for bead in self.beads().values() for commit in bead["status"]["landedCommits"]]
        assert len(set(landed)) == len(landed)
        reachable = set(self.git("rev-list", "--all").split())
        assert {*heads, *landed} <= reachable
        self.git("fsck", "--connectivity-only", "--no-dangling")
        assert self.git("rev-parse", "main") == self._upstream_main(), "what landed was not published"
        eventually(lambda: not self.pods(), 90, "the session pods are gone")
        agents = self.mine("agents")
        assert len(agents) <= polecats
        eventually(lambda: {agent["status"]["phase"] for agent in self.mine("agents")} == {"Idle"}, 60, "all agents are idle")
        for job in self.items("jobs", f"gastown.dev/rig={self.rig}"):
            name = job["metadata"]["name"]
            pods = self.items("pods", f"batch.kubernetes.io/job-name={name}")
            assert len(pods) <= 1, f"Job {name} ran {len(pods)} times"

    def _upstream_main(self) -> str:
        command = ["git", "-c", "safe.directory=*", "-C", str(self.upstream(self.rig)), "rev-parse", "main"]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout


def written(pages: Iterable[str]) -> Object:
    """The end state of a convoy of pages that nobody disturbed."""
    names = list(pages)
    return {
        "convoy": "Landed",
        "beads": dict.fromkeys(names, ("Landed", "closed", "")),
        "commits": dict.fromkeys(names, 1),
        "requests": {page: ["Landed"] for page in names},
        "main": dict.fromkeys(names, LINES),
        "landings": sorted(f"Write {page}" for page in names),
    }


def kill(*process_ids: int | None) -> None:
    """SIGKILL to each; one that has ended already is fine."""
    for process_id in process_ids:
        if process_id is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process_id, signal.SIGKILL)


class RefWatch:
    """Within a `with` block, notes every commit that a branch, a checkpoint or a merge request's ref of a rig ever pointed at.

    Not candidates: the refinery merges them afresh for each attempt, and what they merge is noted.

    Args:
        town: Whose rig.
    """

    def __init__(self, town: WritingTown) -> None:
        self.seen: dict[str, str] = {}
        self._town = town
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> RefWatch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    def lost(self) -> dict[str, str]:
        """Those that no ref reaches any more, with the ref that once did."""
        reachable = set(self._town.git("rev-list", "--all").split())
        return {commit: ref for commit, ref in self.seen.items() if commit not in reachable}

    def _watch(self) -> None:
        while not self._is_over.wait(0.2):
            with contextlib.suppress(subprocess.SubprocessError, OSError):
                self.seen |= {commit: ref for ref, commit in self._town.refs().items() if ref.startswith(_WORK)}


def _object(kind: str, name: str, spec: Object) -> Object:
    return {"apiVersion": "gastown.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec}


def _child(parent: int, word: str) -> int | None:
    """The first child of a process with this word on its command line."""
    with contextlib.suppress(OSError):
        for child in map(int, Path(f"/proc/{parent}/task/{parent}/children").read_text().split()):
            if word in Path(f"/proc/{child}/cmdline").read_text(errors="replace"):
                return child
    return None


def _there(found: SessionProcesses | None) -> SessionProcesses:
    """What `eventually` gave: it gives nothing that is false."""
    assert found is not None
    return found
