"""`gt` against the real API server: hook, prime, convoys, the merge queue, credentials, status."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
from pathlib import Path
from typing import Any

import pytest

from gastown.api.kinds import BEAD, CONVOY, MERGE_REQUEST, Kind
from support import session_pod as pod
from support.cluster import Cluster
from support.command_line import CommandLine
from support.eventually import eventually

AGENT = "greeter-furiosa"


class Town:
    """A namespace and somebody at a prompt in it."""

    def __init__(self, cluster: Cluster, namespace: str, folder: Path) -> None:
        self.cluster, self.namespace = cluster, namespace
        file = folder / "kubeconfig"
        file.write_bytes(cluster.kubeconfig.read_bytes())
        cluster.kubectl(f"--kubeconfig={file}", "config", "set-context", "--current", f"--namespace={namespace}")
        variables = {"KUBECONFIG": str(file), "XDG_STATE_HOME": str(folder / "state")}
        self.ada = CommandLine(folder, variables)

    def make(self, kind: Kind, name: str, spec: dict[str, Any], **metadata: Any) -> None:
        head = {"apiVersion": kind.api_version, "kind": kind.name, "metadata": {"name": name, "namespace": self.namespace, **metadata}}
        with self.cluster.client() as client:
            client.create(kind, {**head, "spec": spec})

    def status(self, kind: Kind, name: str, **status: Any) -> None:
        with self.cluster.client() as client:
            client.merge_patch(kind, self.namespace, name, {"status": status}, subresource="status")

    def member(self, name: str, local: str, phase: str, needs: tuple[str, ...] = (), **spec: Any) -> None:
        edges = [{"id": need, "type": "blocks"} for need in needs]
        marks = {"labels": {"gastown.dev/convoy": "diamond"}, "annotations": {"gastown.dev/local-name": local}}
        self.make(BEAD, name, {"title": f"Do {local}", "rigName": "greeter", "dependencies": edges, **spec}, **marks)
        self.status(BEAD, name, phase=phase)


@pytest.fixture
def town(api_server: Cluster, namespace: str, tmp_path: Path) -> Town:
    return Town(api_server, namespace, tmp_path)


def rounded(text: str) -> str:
    """Ages depend on the clock."""
    return re.sub(r"\b\d+s\b", "5s", text)


def test_the_hook_shows_what_is_to_be_done_and_not_what_is_handed_in(town: Town) -> None:
    for name, phase in (("gp-now", "Hooked"), ("gp-sent", "Submitted")):
        pod.make_bead(town.cluster, town.namespace, name, assignee=AGENT, title="Greet")
        town.status(BEAD, name, phase=phase)
    done = town.ada.run(f"gt hook --agent {AGENT}")
    assert rounded(done.stdout) == (
        "ID      P  PHASE   WHY  ASSIGNEE         AGE  TITLE\n"
        "gp-now  2  Hooked  -    greeter-furiosa  5s   Greet\n"
    )  # fmt: skip
    assert [item["metadata"]["name"] for item in town.ada.json(f"gt hook --agent {AGENT}")["items"]] == ["gp-now"]


def test_an_empty_hook_is_an_answer_and_an_unknown_agent_a_question(town: Town) -> None:
    done = town.ada.run("gt hook --agent greeter-max")
    assert (done.returncode, done.stdout) == (0, "Nothing is on the hook of greeter-max.\n")
    done = town.ada.run("gt hook")
    assert (done.returncode, done.stderr) == (
        2, "error: agent: unknown; pass --agent NAME, or work in a worktree whose git config has gastown.agent\n",
    )  # fmt: skip


def test_prime_is_the_text_the_session_began_with(town: Town) -> None:
    gates = [{"name": "unit", "type": "Command", "command": ["true"]}]
    rig = {"apiVersion": "gastown.dev/v1alpha1", "kind": "Rig", "metadata": {"name": "greeter", "namespace": town.namespace}}
    town.cluster.apply({**rig, "spec": {"prefix": "gp", "gates": gates}})
    pod.make_bead(town.cluster, town.namespace, "gp-now", assignee=AGENT, title="Greet in French")
    done = town.ada.run(f"gt prime --agent {AGENT}")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("# You are greeter/polecats/furiosa\n")
    assert "- title: Greet in French\n" in done.stdout
    assert done.stdout.endswith("The gates are:\n- unit: true\n")


def test_prime_without_a_bead_is_not_found(town: Town) -> None:
    done = town.ada.run(f"gt prime --agent {AGENT}")
    assert (done.returncode, done.stderr) == (3, f"error: hook of {AGENT}: is empty; see `bd ready`\n")


def test_convoys_are_listed_with_the_reason_why_one_does_not_move(town: Town) -> None:
    town.make(CONVOY, "diamond", {"title": "Four greetings", "beads": ["gp-a"]})
    now = "2026-01-01T00:00:00Z"
    stuck = {"type": "Progressing", "status": "False", "reason": "MembersWaiting", "message": "x", "lastTransitionTime": now}
    town.status(CONVOY, "diamond", phase="Running", progress="3/4", conditions=[stuck])
    assert rounded(town.ada.run("gt convoy list").stdout) == (
        "NAME     PHASE    PROGRESS  WHY             AGE  TITLE\n"
        "diamond  Running  3/4       MembersWaiting  5s   Four greetings\n"
    )  # fmt: skip
    assert town.ada.json("gt convoy list")["items"][0]["kind"] == "Convoy"


def test_a_convoy_is_shown_bead_by_bead(town: Town) -> None:
    town.make(CONVOY, "diamond", {"title": "Greetings", "templates": [{"name": "top", "title": "Do top"}]})
    town.status(CONVOY, "diamond", phase="Running", progress="1/2")
    town.member("gp-a", "top", "Working", assignee=AGENT)
    town.member("gp-b", "left", "Blocked", ("gp-a",))
    pod.make_bead(town.cluster, town.namespace, "gp-stranger")
    assert town.ada.run("gt convoy status diamond").stdout == (
        "convoy diamond: Running 1/2  Greetings\n"
        "WAVE  BEAD  NAME  PHASE    AGENT            WHY  TITLE\n"
        "1     gp-a  top   Working  greeter-furiosa  -    Do top\n"
        "2     gp-b  left  Blocked  -                -    Do left\n"
    )
    assert [item["kind"] for item in town.ada.json("gt convoy status diamond")["items"]] == ["Convoy", "Bead", "Bead"]
    done = town.ada.run("gt convoy status square")
    assert (done.returncode, done.stderr) == (
        3, f"error: convoy square in namespace {town.namespace}: not found; see `gt convoy list`\n",
    )  # fmt: skip


def watching(town: Town, *flags: str, stdout: int = subprocess.PIPE) -> subprocess.Popen[str]:
    command = [sys.executable, "-u", "-m", "gastown.cli.gt.main", "convoy", "status", "diamond", "--watch", *flags]
    environment = {"HOME": str(town.ada.folder), "PATH": "/usr/bin:/bin", **town.ada.variables}
    return subprocess.Popen(command, env=environment, stdout=stdout, stderr=subprocess.STDOUT, text=True)


def line_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


@pytest.mark.parametrize(("phase", "code"), [("Landed", 0), ("Failed", 1), ("Cancelled", 1)])
def test_a_convoy_is_followed_until_it_is_over(town: Town, phase: str, code: int) -> None:
    town.make(CONVOY, "diamond", {"templates": [{"name": "top", "title": "Do top"}]})
    town.status(CONVOY, "diamond", phase="Running", progress="0/1")
    town.member("gp-a", "top", "Ready")
    process = watching(town)
    assert line_of(process) == "convoy diamond: Running 0/1\n"
    assert line_of(process).startswith("WAVE")
    assert line_of(process).startswith("1     gp-a  top   Ready")
    town.status(BEAD, "gp-a", phase="Working")
    assert line_of(process)[9:] == "gp-a top: Ready -> Working\n"
    town.member("gp-b", "left", "Ready")
    assert line_of(process)[9:] == "gp-b: created\n"
    town.status(CONVOY, "diamond", phase=phase, progress="2/2")
    rest, _ = process.communicate(timeout=30)
    assert (process.returncode, rest[9:]) == (code, f"convoy diamond: {phase} 2/2\n")


def test_a_followed_convoy_as_json_is_a_line_per_change(town: Town) -> None:
    town.make(CONVOY, "diamond", {"templates": [{"name": "top", "title": "Do top"}]})
    town.status(CONVOY, "diamond", phase="Running", progress="0/1")
    process = watching(town, "--json")
    known = {"kind": "ConvoyProgress", "name": "diamond", "phase": "Running", "progress": "0/1"}
    assert json.loads(line_of(process)) == {**known, "members": []}
    town.member("gp-a", "top", "Ready")
    eventually(lambda: "gp-a" in line_of(process))
    with town.cluster.client() as client:
        client.delete(CONVOY, town.namespace, "diamond")
    rest, _ = process.communicate(timeout=30)
    assert (process.returncode, "error: convoy diamond: was deleted" in rest) == (1, True)


def test_on_a_terminal_the_table_is_drawn_over_itself_and_no_line_is_too_wide(town: Town) -> None:
    town.make(CONVOY, "diamond", {"title": "A long title " * 9, "templates": [{"name": "top", "title": "x"}]})
    town.status(CONVOY, "diamond", phase="Running", progress="0/1")
    town.member("gp-a", "top", "Ready", title="A title much longer than the terminal is wide " * 3)
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 10, 60, 0, 0))
    process = watching(town, stdout=theirs)
    os.close(theirs)
    written = ""

    def shows(word: str) -> bool:
        nonlocal written
        if select.select([ours], [], [], 0.1)[0]:
            with contextlib.suppress(OSError):  # the terminal is closed at the end
                written += os.read(ours, 65536).decode()
        return word in written

    eventually(lambda: shows("Ready"), 60)
    town.status(BEAD, "gp-a", phase="Working")
    eventually(lambda: shows("Working"), 60)
    town.status(CONVOY, "diamond", phase="Landed", progress="1/1")
    assert process.wait(timeout=30) == 0
    eventually(lambda: shows("Landed"))
    os.close(ours)
    assert "\x1b[3F\x1b[J" in written
    assert "\x1b[36mWorking\x1b[0m" in written
    plain = re.sub(r"\x1b\[[0-9]*[A-Za-z]", "", written)
    assert max(len(line) for line in plain.splitlines()) <= 60


def test_following_a_convoy_that_is_not_there_is_not_found(town: Town) -> None:
    process = watching(town)
    told, _ = process.communicate(timeout=30)
    assert (process.returncode, told) == (3, f"error: convoy diamond in namespace {town.namespace}: not found; see `gt convoy list`\n")


def test_the_merge_queue_is_listed_in_its_order_with_gates_and_reasons(town: Town) -> None:
    for name, position, phase in (("gp-b", 2, "Queued"), ("gp-a", 1, "Gating"), ("gp-c", 0, "Pending"), ("gp-d", 0, "Landed")):
        head = (name[-1] * 40).replace("g", "0")
        spec = {"rigName": "greeter", "beadName": name, "agentName": AGENT, "head": head, "branch": f"polecat/{AGENT}/{name}"}
        town.make(MERGE_REQUEST, f"{name}-{head[:12]}", spec)
        town.status(MERGE_REQUEST, f"{name}-{head[:12]}", phase=phase, position=position)
    now = "2026-01-01T00:00:00Z"
    gates = [{"name": "unit", "verdict": "Pending"}, {"name": "lint", "verdict": "Passed"}]
    town.status(MERGE_REQUEST, f"gp-a-{'a' * 12}", gateResults=gates)
    wrong = {"type": "HeadPinned", "status": "False", "reason": "HeadNotFound", "message": "push it", "lastTransitionTime": now}
    town.status(MERGE_REQUEST, f"gp-c-{'c' * 12}", conditions=[wrong])
    assert rounded(town.ada.run("gt mq list").stdout) == (
        "RIG      POS  MERGE REQUEST      PHASE    GATES                     AGENT            AGE  WHY\n"
        "greeter  1    gp-a-aaaaaaaaaaaa  Gating   unit:Pending lint:Passed  greeter-furiosa  5s\n"
        "greeter  2    gp-b-bbbbbbbbbbbb  Queued   -                         greeter-furiosa  5s\n"
        "greeter  -    gp-c-cccccccccccc  Pending  -                         greeter-furiosa  5s   HeadNotFound: push it\n"
    )
    assert len(town.ada.json("gt mq list --all")["items"]) == 4
    assert town.ada.run("gt mq list --rig parser").stdout == f"No merge requests are under way in namespace {town.namespace}.\n"


def test_credential_makes_a_token_for_the_repositories_alone(town: Town) -> None:
    pod.make_agent(town.cluster, town.namespace, AGENT)
    done = town.ada.run(f"gt credential get --agent {AGENT}", given="protocol=http\nhost=127.0.0.1:8080\n\n")
    assert done.returncode == 0, done.stderr
    lines = dict(line.split("=", 1) for line in done.stdout.splitlines())
    asked = {"token": lines["password"], "audiences": ["gastown-repo"]}
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": asked}
    with town.cluster.client() as client:
        status = client.request("POST", "/apis/authentication.k8s.io/v1/tokenreviews", review)["status"]
    assert (lines["username"], status["authenticated"]) == (AGENT, True)
    assert status["user"]["username"] == f"system:serviceaccount:{town.namespace}:{AGENT}"


def test_credential_for_nobody_or_for_an_unknown_agent_says_what_to_do(town: Town) -> None:
    done = town.ada.run("gt credential get", given="\n")
    assert (done.returncode, "pass --agent with the name of your crew agent" in done.stderr) == (2, True)
    done = town.ada.run("gt credential get --agent nobody", given="\n")
    assert done.returncode == 3
    assert f"ServiceAccount nobody in namespace {town.namespace}: not found; name an agent" in done.stderr


def test_status_counts_the_town_in_reach_where_no_local_town_was_ever_up(town: Town) -> None:
    pod.make_bead(town.cluster, town.namespace, "gp-a")
    pod.make_bead(town.cluster, town.namespace, "gp-b")
    town.status(BEAD, "gp-b", phase="Ready")
    done = town.ada.run("gt status")
    assert done.returncode == 0, done.stderr
    server = town.cluster.server
    assert done.stdout == (
        "local town default: was never up (start it with `gt up`)\n"
        f"town in namespace {town.namespace} of {server}\n"
        "  rigs:           0\n"
        "  agents:         0\n"
        "  beads:          2 (1 New, 1 Ready)\n"
        "  convoys:        0\n"
        "  merge requests: 0\n"
    )
    document = town.ada.json("gt status")
    assert (document["kind"], document["local"], document["cluster"]["counts"]["beads"]) == ("TownStatus", None, {"New": 1, "Ready": 1})
