"""Handing in with `gt done`: what is refused, and that repeating or killing it anywhere leads to one merge request."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gastown.api.kinds import BEAD, MERGE_REQUEST
from gastown.api.names import merge_request_name
from gastown.api.rig import Gate
from gastown.polecat.checkout import checkout
from gastown.polecat.checkpoint import Checkpointer
from gastown.polecat.git import Git
from support import session_pod as pod
from support.cluster import Cluster
from support.manifests import manifest
from support.session_builder import AGENT, git, git_that_kills_its_caller, serve, session
from support.session_builder import BEAD as BEAD_ID

BRANCH = f"refs/heads/polecat/{AGENT}/{BEAD_ID}"


class Desk:
    """An agent in its session, who calls `gt done` by hand."""

    def __init__(self, cluster: Cluster, namespace: str, folder: Path, **bead: Any) -> None:
        self.cluster, self.namespace = cluster, namespace
        self.served = serve(folder / "served.git")
        gates = [Gate(name="unit", command=["sh", "-c", "! grep broken greet.py"])]
        self.session = session(self.served, folder / "workspace", namespace=namespace, gates=gates)
        pod.make_agent(cluster, namespace, AGENT)
        pod.make_bead(cluster, namespace, BEAD_ID, **{"assignee": AGENT, **bead})
        checkout(self.session)
        account = pod.mount_account(cluster, namespace, AGENT, folder / "account")
        self.variables = pod.environment(self.session, account, GASTOWN_RESULT_FILE=str(self.session.result_file))

    def commit(self, content: str) -> str:
        (self.session.worktree / "greet.py").write_text(content)
        git(self.session.worktree, "commit", "--quiet", "-am", "Greet")
        return git(self.session.worktree, "rev-parse", "HEAD")

    def done(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "gastown.cli.gt.main", "done", *arguments]
        environment = {**self.variables, **variables}
        return subprocess.run(command, cwd=self.session.worktree, env=environment, capture_output=True, text=True, timeout=60)

    def merge_requests(self) -> list[dict[str, Any]]:
        with self.cluster.client() as client:
            return client.list_all(MERGE_REQUEST, self.namespace)


@pytest.fixture
def desk(api_server: Cluster, namespace: str, tmp_path: Path) -> Desk:
    return Desk(api_server, namespace, tmp_path)


def test_it_pushes_the_head_asks_for_the_merge_and_tells_the_harness(desk: Desk) -> None:
    head = desk.commit("bonjour\n")
    done = desk.done()
    assert (done.returncode, done.stdout) == (0, f"Submitted: merge request {BEAD_ID}-{head[:12]} for {head[:12]}\n"), done.stderr
    assert done.stderr.splitlines() == [
        f"gate unit: running on {head[:12]}",
        "gate unit: passed",
        f"push: {head[:12]} to polecat/{AGENT}/{BEAD_ID}",
        f"merge request {BEAD_ID}-{head[:12]}: created",
    ]
    assert desk.served.tip(BRANCH) == head
    assert json.loads(desk.session.result_file.read_text())["mergeRequest"] == f"{BEAD_ID}-{head[:12]}"


def test_a_second_call_changes_nothing(desk: Desk) -> None:
    desk.commit("bonjour\n")
    first = desk.done("--json")
    second = desk.done("--json")
    assert (second.returncode, json.loads(second.stdout)) == (0, json.loads(first.stdout))
    assert len(desk.merge_requests()) == 1


def test_a_dirty_tree_is_refused_with_its_files_named_and_left_as_it_is(desk: Desk) -> None:
    desk.commit("bonjour\n")
    (desk.session.worktree / "half\x1b[2J.py").write_text("half\n")
    (desk.session.worktree / "README").write_text("changed\n")
    done = desk.done()
    assert done.returncode == 1
    assert done.stderr == (
        f"error: worktree {desk.session.worktree}: has changes that are not committed: README, half\\x1b[2J.py; "
        "commit what belongs to the bead, remove or ignore the rest, and run gt done again\n"
    )
    assert git(desk.session.worktree, "status", "--porcelain").startswith(" M README")
    assert (desk.served.tip(BRANCH), desk.merge_requests(), desk.session.result_file.exists()) == ("", [], False)


def test_a_red_gate_goes_back_to_the_agent_with_the_end_of_its_log(desk: Desk) -> None:
    head = desk.commit("broken\n")
    done = desk.done()
    assert (done.returncode, desk.served.tip(BRANCH)) == (1, "")
    assert done.stderr.splitlines()[-2:] == [
        "broken",
        f"error: gate unit: exit code 1 on commit {head[:12]}; fix it, commit, and run gt done again",
    ]
    desk.commit("mended\n")
    assert desk.done().returncode == 0


def test_gates_may_be_skipped_and_the_request_says_so(desk: Desk) -> None:
    desk.commit("broken\n")
    assert desk.done("--skip-gates").returncode == 0
    assert desk.merge_requests()[0]["spec"]["claims"] == ["tree clean", "gates skipped"]


def test_work_on_another_branch_is_refused_with_the_way_back(desk: Desk) -> None:
    git(desk.session.worktree, "switch", "--quiet", "-c", "elsewhere")
    desk.commit("bonjour\n")
    done = desk.done()
    assert done.returncode == 1
    assert f"is on elsewhere, not on polecat/{AGENT}/{BEAD_ID}; bring your commits to" in done.stderr


def test_a_push_the_server_refuses_is_told_in_its_words_and_not_tried_again(desk: Desk) -> None:
    desk.commit("bonjour\n")
    git(desk.served.path, "config", "receive.hideRefs", "refs/heads/polecat/")
    done = desk.done()
    assert done.returncode == 1
    assert "the push was refused: [remote rejected] (deny updating a hidden ref)" in done.stderr
    assert desk.merge_requests() == []


def test_a_checkpoint_that_caught_more_than_is_handed_in_is_closed_by_it(desk: Desk) -> None:
    head = desk.commit("bonjour\n")
    (desk.session.worktree / "transient").write_text("a build product\n")
    keeper = Checkpointer(desk.session, Git(desk.session.worktree))
    keeper.take()
    (desk.session.worktree / "transient").unlink()
    assert desk.done().returncode == 0
    again = replace(desk.session, workspace=desk.session.workspace.with_name("rework"), start_commit=head)
    start = checkout(again)
    assert (start.commit, start.restored) == (head, "")
    assert git(again.worktree, "status", "--porcelain") == ""


def test_rework_replaces_the_pushed_branch_after_a_rebase(desk: Desk) -> None:
    desk.commit("bonjour\n")
    assert desk.done().returncode == 0
    git(desk.session.worktree, "reset", "--quiet", "--hard", "HEAD^")
    head = desk.commit("salut\n")
    assert desk.done().returncode == 0
    assert desk.served.tip(BRANCH) == head
    assert len(desk.merge_requests()) == 2


def test_a_bead_that_went_to_another_agent_is_refused_by_name(desk: Desk) -> None:
    desk.commit("bonjour\n")
    with desk.cluster.client() as client:
        client.merge_patch(BEAD, desk.namespace, BEAD_ID, {"spec": {"assignee": "greeter-max"}})
    done = desk.done()
    assert done.returncode == 4
    assert f"bead {BEAD_ID}: is not on the hook of {AGENT} but of greeter-max" in done.stderr


def test_a_commit_whose_name_a_strangers_request_took_is_not_taken_for_submitted(desk: Desk) -> None:
    name = merge_request_name(BEAD_ID, desk.commit("bonjour\n"))
    strangers = {"beadName": BEAD_ID, "agentName": "greeter-max", "branch": f"polecat/greeter-max/{BEAD_ID}"}
    with desk.cluster.client() as client:
        client.create(MERGE_REQUEST, manifest(MERGE_REQUEST, desk.namespace, name, **strangers))
    done = desk.done()
    assert done.returncode == 1
    assert f"merge request {name}: is there already, from greeter-max" in done.stderr
    assert "git commit --amend" in done.stderr
    git(desk.session.worktree, "commit", "--quiet", "--amend", "-m", "Greet again")
    assert desk.done().returncode == 0
    assert sorted(request["spec"]["agentName"] for request in desk.merge_requests()) == sorted(["greeter-max", AGENT])


def test_the_convoy_of_the_bead_is_the_convoy_of_its_merge_request(desk: Desk) -> None:
    with desk.cluster.client() as client:
        client.merge_patch(
            BEAD, desk.namespace, BEAD_ID, {"metadata": {"labels": {"gastown.dev/convoy": "diamond"}}, "spec": {"priority": 0}}
        )
    desk.commit("bonjour\n")
    assert desk.done().returncode == 0
    (request,) = desk.merge_requests()
    assert (request["spec"]["convoyName"], request["spec"]["priority"]) == ("diamond", 0)
    assert request["metadata"]["labels"] == {
        "gastown.dev/agent": AGENT, "gastown.dev/bead": BEAD_ID, "gastown.dev/rig": "greeter", "gastown.dev/convoy": "diamond",
    }  # fmt: skip


def test_killed_before_any_git_command_and_repeated_it_leads_to_one_merge_request(desk: Desk, tmp_path: Path) -> None:
    head = desk.commit("bonjour\n")
    tools = git_that_kills_its_caller(tmp_path / "tools")
    path = f"{tools}{os.pathsep}{desk.variables['PATH']}"
    for call in range(1, 40):
        (tools / "count").unlink(missing_ok=True)
        done = desk.done(PATH=path, KILL_AT=str(call))
        assert done.returncode in (0, -signal.SIGKILL), done.stderr
        assert len(desk.merge_requests()) <= 1
        if done.returncode == 0:
            break
    assert done.returncode == 0
    assert desk.served.tip(BRANCH) == head
    assert [request["spec"]["head"] for request in desk.merge_requests()] == [head]
    assert git(desk.session.worktree, "status", "--porcelain") == ""


def test_a_bead_that_delivers_nothing_is_closed_with_the_reason(api_server: Cluster, namespace: str, tmp_path: Path) -> None:
    desk = Desk(api_server, namespace, tmp_path, delivery="None")
    done = desk.done("--reason", "decided against it")
    assert (done.returncode, done.stdout) == (0, f"Closed: bead {BEAD_ID} is closed\n"), done.stderr
    with api_server.client() as client:
        assert client.get(BEAD, namespace, BEAD_ID)["spec"]["closeReason"] == "decided against it"
    assert desk.done().returncode == 0


def test_outside_of_a_pod_the_worktree_itself_says_whose_work_it_is(desk: Desk) -> None:
    head = desk.commit("bonjour\n")
    rig = {
        "apiVersion": "gastown.dev/v1alpha1",
        "kind": "Rig",
        "metadata": {"name": "greeter", "namespace": desk.namespace},
        "spec": {"prefix": "gp", "gates": [{"name": "other", "type": "Command", "command": ["true"]}]},
    }
    desk.cluster.apply(rig)
    outside = {"PATH": desk.variables["PATH"], "HOME": str(desk.session.home), "KUBECONFIG": str(desk.cluster.kubeconfig)}
    command = [sys.executable, "-m", "gastown.cli.gt.main", "done"]
    done = subprocess.run(command, cwd=desk.session.worktree, env=outside, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    (request,) = desk.merge_requests()
    assert (request["spec"]["head"], request["spec"]["claims"]) == (head, ["tree clean", "gate other passed"])
