"""Who we are and where: pod, worktree, flags, kubeconfig, and what happens when they disagree."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from support.command_line import CommandLine

KUBECONFIG = {
    "apiVersion": "v1",
    "kind": "Config",
    "current-context": "here",
    "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:1"}}],
    "users": [{"name": "u", "user": {"token": "kubeconfig-token"}}],
    "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u", "namespace": "hill-valley"}}],
}


@pytest.fixture
def worktree(tmp_path: Path) -> Path:
    subprocess.run(["git", "init", "--quiet", str(tmp_path / "tree")], check=True)
    for name, value in (("namespace", "town"), ("agent", "greeter-furiosa")):
        subprocess.run(["git", "-C", str(tmp_path / "tree"), "config", f"gastown.{name}", value], check=True)
    return tmp_path / "tree"


@pytest.fixture
def kubeconfig(tmp_path: Path) -> Path:
    file = tmp_path / "kubeconfig"
    file.write_text(json.dumps(KUBECONFIG))
    return file


def test_a_flag_that_disagrees_with_the_worktree_is_an_error_that_names_both(worktree: Path) -> None:
    done = CommandLine(worktree).run("bd list --namespace other")
    assert done.returncode == 2
    assert done.stderr == (
        "error: namespace: git config gastown.namespace (.git/config) says town, flag --namespace says other; "
        "leave the flag out, or work elsewhere\n"
    )


def test_a_flag_that_agrees_is_fine(worktree: Path, kubeconfig: Path) -> None:
    done = CommandLine(worktree).run(["bd", "list", "--namespace", "town", "--kubeconfig", str(kubeconfig)])
    assert done.returncode == 5  # as far as the server, which is away


def test_another_agent_than_the_worktrees_is_an_error_that_names_both(worktree: Path) -> None:
    done = CommandLine(worktree).run("gt hook --agent greeter-max")
    assert done.returncode == 2
    assert "git config gastown.agent (.git/config) says greeter-furiosa, flag --agent says greeter-max" in done.stderr


def test_a_pod_is_not_talked_out_of_its_own_identity(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("t")
    pod = {
        "KUBERNETES_SERVICE_HOST": "127.0.0.1",
        "GASTOWN_SERVICEACCOUNT_DIR": str(tmp_path),
        "GASTOWN_NAMESPACE": "town",
        "GASTOWN_AGENT": "a",
    }
    line = CommandLine(tmp_path, pod)
    done = line.run("bd list --kubeconfig /elsewhere")
    assert (done.returncode, done.stderr.count("the pod's ServiceAccount")) == (2, 1)
    done = line.run("gt hook --agent b")
    assert "environment variable GASTOWN_AGENT says a, flag --agent says b" in done.stderr


def test_without_any_way_to_a_cluster_the_way_there_is_told(tmp_path: Path) -> None:
    done = CommandLine(tmp_path).run("bd ready")
    assert done.returncode == 2
    assert done.stderr == (
        f"error: configuration: kubeconfig {tmp_path}/.kube/config: no such file; run `gt up` and export the KUBECONFIG it prints, "
        "or pass --kubeconfig\n"
    )


def test_a_server_that_is_away_is_exit_code_5_in_text_and_json(tmp_path: Path, kubeconfig: Path) -> None:
    done = CommandLine(tmp_path).run(["bd", "list", "--json", "--kubeconfig", str(kubeconfig)])
    assert done.returncode == 5
    assert done.stderr.startswith("error: beads in namespace hill-valley: the API server did not answer")
    status = json.loads(done.stdout)
    assert (status["kind"], status["reason"], status["code"]) == ("Status", "Unavailable", 5)


def test_an_unknown_context_is_named_with_the_known_ones(tmp_path: Path, kubeconfig: Path) -> None:
    done = CommandLine(tmp_path).run(["bd", "list", "--context", "there", "--kubeconfig", str(kubeconfig)])
    assert (done.returncode, "contexts has no there; known: here" in done.stderr) == (2, True)


def test_a_kubeconfig_with_a_plugin_is_run_by_the_official_client(tmp_path: Path) -> None:
    plugin = tmp_path / "plugin"
    answer = {"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": {"token": "from-the-plugin"}}
    plugin.write_text(f"#!/bin/sh\necho '{json.dumps(answer)}'\n")
    plugin.chmod(0o755)
    exec_user = {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": str(plugin), "interactiveMode": "Never"}}
    file = tmp_path / "kubeconfig"
    file.write_text(json.dumps({**KUBECONFIG, "users": [{"name": "u", "user": exec_user}]}))
    done = CommandLine(tmp_path).run(["gt", "credential", "get", "--kubeconfig", str(file)], given="protocol=http\nhost=repo\n\n")
    assert (done.returncode, done.stdout) == (0, "username=user\npassword=from-the-plugin\n"), done.stderr


def test_credential_answers_with_the_kubeconfigs_token(tmp_path: Path, kubeconfig: Path) -> None:
    done = CommandLine(tmp_path).run(["gt", "credential", "get", "--kubeconfig", str(kubeconfig)], given="protocol=http\nhost=repo\n\n")
    assert done.stdout == "username=user\npassword=kubeconfig-token\n"
    for operation in ("store", "erase"):
        assert CommandLine(tmp_path).run(["gt", "credential", operation]).returncode == 0


def test_credential_keeps_silent_for_a_server_that_is_not_the_worktrees(worktree: Path, kubeconfig: Path) -> None:
    subprocess.run(["git", "-C", str(worktree), "config", "gastown.repository", "http://127.0.0.1:8080/town/greeter.git"], check=True)
    done = CommandLine(worktree).run(
        ["gt", "credential", "get", "--kubeconfig", str(kubeconfig)], given="protocol=https\nhost=evil.invalid\n\n"
    )
    assert (done.returncode, done.stdout) == (0, "")
