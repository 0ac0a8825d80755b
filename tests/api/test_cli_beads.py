"""`bd` against the real API server: files, lists, shows and closes beads, and says with its exit code how that went."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from gastown.api.kinds import BEAD
from support import session_pod as pod
from support.cluster import Cluster
from support.command_line import CommandLine

AGENT = "greeter-furiosa"


@pytest.fixture
def ada(api_server: Cluster, namespace: str, tmp_path: Path) -> CommandLine:
    """A person with a kubeconfig, in a town with one rig."""
    make_rig(api_server, namespace, "greeter", "gp")
    return CommandLine(tmp_path, {"KUBECONFIG": kubeconfig(api_server, namespace, tmp_path)})


@pytest.fixture
def furiosa(api_server: Cluster, namespace: str, tmp_path: Path, ada: CommandLine) -> CommandLine:
    """An agent in its pod."""
    pod.make_agent(api_server, namespace, AGENT)
    account = pod.mount_account(api_server, namespace, AGENT, tmp_path / "account")
    return CommandLine(tmp_path, {**account, "GASTOWN_NAMESPACE": namespace, "GASTOWN_AGENT": AGENT, "GASTOWN_RIG": "greeter"})


def kubeconfig(cluster: Cluster, namespace: str, folder: Path) -> str:
    file = folder / "kubeconfig"
    file.write_bytes(cluster.kubeconfig.read_bytes())
    cluster.kubectl(f"--kubeconfig={file}", "config", "set-context", "--current", f"--namespace={namespace}")
    return str(file)


def make_rig(cluster: Cluster, namespace: str, name: str, prefix: str) -> None:
    metadata = {"name": name, "namespace": namespace}
    cluster.apply({"apiVersion": "gastown.dev/v1alpha1", "kind": "Rig", "metadata": metadata, "spec": {"prefix": prefix}})


def set_status(cluster: Cluster, namespace: str, name: str, **status: Any) -> None:
    with cluster.client() as client:
        client.merge_patch(BEAD, namespace, name, {"status": status}, subresource="status")


def startable(status: str, reason: str, message: str = "") -> list[dict[str, Any]]:
    return [{"type": "Startable", "status": status, "reason": reason, "message": message, "lastTransitionTime": "2026-01-01T00:00:00Z"}]


def test_a_created_bead_has_a_short_id_and_everything_it_was_given(api_server: Cluster, namespace: str, ada: CommandLine) -> None:
    pod.make_bead(api_server, namespace, "gp-first")
    words = ["bd", "create", "Greet in French", "-t", "feature", "-p", "1", "-d", "Add it.\nTest it.", "-l", "i18n"]
    done = ada.run([*words, "--deps", "gp-first,related:GP-9"])
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(r"gp-[0-9a-z]{4}\n", done.stdout)
    spec = api_server.get("bead", done.stdout.strip(), namespace)["spec"]
    created = {"createdTime": spec["createdTime"], "createdBy": spec["createdBy"]}
    assert spec == {
        "title": "Greet in French", "description": "Add it.\nTest it.", "type": "feature", "priority": 1, "state": "open",
        "delivery": "Commit", "assignee": "", "rigName": "greeter", "labels": ["i18n"], "estimateMinutes": 0, **created,
        "dependencies": [{"id": "gp-first", "type": "blocks"}, {"id": "gp-9", "type": "related"}],
    }  # fmt: skip
    assert spec["createdBy"]


def test_the_description_may_come_by_standard_input(api_server: Cluster, namespace: str, ada: CommandLine) -> None:
    done = ada.run("bd create Long --description -", given="line\nline\n")
    assert api_server.get("bead", done.stdout.strip(), namespace)["spec"]["description"] == "line\nline\n"


def test_children_are_numbered_below_their_parent_and_inherit_its_rig(api_server: Cluster, namespace: str, ada: CommandLine) -> None:
    pod.make_bead(api_server, namespace, "gp-epic")
    names = [ada.run("bd create Part --parent gp-epic").stdout.strip() for _ in range(2)]
    names.append(ada.run("bd create Part-of-part --parent gp-epic.2").stdout.strip())
    assert names == ["gp-epic.1", "gp-epic.2", "gp-epic.2.1"]
    spec = api_server.get("bead", "gp-epic.2.1", namespace)["spec"]
    assert (spec["parent"], spec["rigName"]) == ("gp-epic.2", "greeter")


def test_a_child_number_that_somebody_else_took_meanwhile_is_not_used_twice(api_server: Cluster, namespace: str, ada: CommandLine) -> None:
    pod.make_bead(api_server, namespace, "gp-epic")
    # It has the ID of a child but no parent field, so it is overlooked when the children are counted: the create meets it.
    pod.make_bead(api_server, namespace, "gp-epic.1")
    done = ada.run("bd create Part --parent gp-epic")
    assert (done.returncode, "bead gp-epic.1: exists already" in done.stderr) == (4, True)


def test_an_id_of_ones_own_is_kept_in_its_original_spelling(api_server: Cluster, namespace: str, ada: CommandLine) -> None:
    assert ada.run("bd create Old --id GP-OLD7").stdout == "gp-old7\n"
    assert api_server.get("bead", "gp-old7", namespace)["spec"]["originalId"] == "GP-OLD7"
    done = ada.run("bd create Again --id gp-old7")
    assert (done.returncode, done.stderr) == (4, "error: bead gp-old7: exists already; leave --id out, or see `bd show`\n")


def test_with_several_rigs_one_has_to_be_named(api_server: Cluster, namespace: str, ada: CommandLine) -> None:
    make_rig(api_server, namespace, "parser", "pa")
    done = ada.run("bd create Something")
    assert (done.returncode, done.stderr) == (2, "error: --rig: there are several: greeter, parser; say which one\n")
    assert ada.run("bd create Something --rig parser").stdout.startswith("pa-")
    done = ada.run("bd create Something --rig nowhere")
    assert (done.returncode, done.stderr) == (3, f"error: rig nowhere in namespace {namespace}: not found; see `kubectl get rigs`\n")


def test_what_the_server_refuses_is_told_in_its_words(ada: CommandLine) -> None:
    done = ada.run(["bd", "create", "Wrong", "--deps", "needs:gp-1"])
    assert done.returncode == 1
    assert "write blocks, conditional-blocks, waits-for or merge-blocks" in done.stderr


def test_the_list_is_a_table_with_the_most_urgent_first(api_server: Cluster, namespace: str, ada: CommandLine) -> None:
    pod.make_bead(api_server, namespace, "gp-a", title="Later", priority=3)
    pod.make_bead(api_server, namespace, "gp-b", title="Now\u202e", priority=0, assignee=AGENT)
    pod.make_bead(api_server, namespace, "gp-c", title="Gone", state="closed", closeReason="done")
    set_status(api_server, namespace, "gp-b", phase="Working")
    set_status(api_server, namespace, "gp-a", phase="Blocked", blockedBy=["gp-b"], conditions=startable("False", "Blocked"))
    done = ada.run("bd list")
    text = re.sub(r" \d+s ", " 5s ", done.stdout)
    assert text == (
        "ID    P  PHASE    WHY            ASSIGNEE         AGE  TITLE\n"
        "gp-b  0  Working  -              greeter-furiosa  5s   Now\\u202e\n"
        "gp-a  3  Blocked  Blocked(gp-b)  -                5s   Later\n"
    )


@pytest.mark.parametrize(
    ("flags", "names"),
    [
        pytest.param("", ["gp-a", "gp-b"], id="open ones"),
        pytest.param("--all", ["gp-a", "gp-b", "gp-c"], id="all"),
        pytest.param("--state closed", ["gp-c"], id="by state"),
        pytest.param("--phase Working", ["gp-b"], id="by phase"),
        pytest.param("--rig parser", ["gp-a"], id="by rig"),
        pytest.param("--assignee greeter-furiosa", ["gp-b"], id="by assignee"),
        pytest.param("--label red --label big", ["gp-a"], id="by labels, all of them"),
        pytest.param("--type bug", ["gp-b"], id="by type"),
        pytest.param("--parent gp-a", [], id="by parent"),
    ],
)
def test_lists_are_narrowed(api_server: Cluster, namespace: str, ada: CommandLine, flags: str, names: list[str]) -> None:
    pod.make_bead(api_server, namespace, "gp-a", rigName="parser", labels=["red", "big"])
    pod.make_bead(api_server, namespace, "gp-b", assignee=AGENT, type="bug", labels=["red"])
    pod.make_bead(api_server, namespace, "gp-c", state="closed")
    set_status(api_server, namespace, "gp-b", phase="Working")
    document = ada.json(f"bd list {flags}")
    assert (document["apiVersion"], document["kind"]) == ("v1", "List")
    assert sorted(item["metadata"]["name"] for item in document["items"]) == names


def test_an_empty_list_says_so_and_is_no_error(namespace: str, ada: CommandLine) -> None:
    done = ada.run("bd list")
    assert (done.returncode, done.stdout) == (0, f"No such beads in namespace {namespace}.\n")
    assert ada.json("bd list")["items"] == []


def test_ready_are_those_that_the_operator_calls_startable_and_nobody_has(api_server: Cluster, namespace: str, ada: CommandLine) -> None:
    yes = startable("True", "Startable")
    for name, priority in (("gp-low", 3), ("gp-high", 0)):
        pod.make_bead(api_server, namespace, name, priority=priority)
        set_status(api_server, namespace, name, phase="Ready", conditions=yes)
    pod.make_bead(api_server, namespace, "gp-taken", assignee=AGENT)
    set_status(api_server, namespace, "gp-taken", phase="Ready", conditions=yes)
    pod.make_bead(api_server, namespace, "gp-norig")
    set_status(api_server, namespace, "gp-norig", phase="Ready", conditions=startable("False", "NoRig"))
    pod.make_bead(api_server, namespace, "gp-unseen")
    assert [item["metadata"]["name"] for item in ada.json("bd ready")["items"]] == ["gp-high", "gp-low"]
    assert [item["metadata"]["name"] for item in ada.json("bd ready --limit 1")["items"]] == ["gp-high"]


def test_show_tells_everything_and_why_it_does_not_move(api_server: Cluster, namespace: str, ada: CommandLine) -> None:
    edge = {"id": "gp-zz", "type": "blocks"}
    comments = [{"author": "ada", "text": "first\nsecond", "createdTime": "2026-01-01T00:00:00Z"}]
    texts = {"title": "Greet", "description": "One.\n## Two", "labels": ["i18n"]}
    pod.make_bead(api_server, namespace, "gp-a", dependencies=[edge], comments=comments, **texts)
    message = "depends on gp-zz, which does not exist"
    set_status(
        api_server, namespace, "gp-a", phase="Blocked", blockedBy=["gp-zz"], conditions=startable("False", "UnknownDependency", message),
        dependencies=[{**edge, "outcome": "Unknown"}],
    )  # fmt: skip
    assert ada.run("bd show GP-A").stdout == (
        "gp-a  Greet\n"
        "  phase:          Blocked\n"
        "  blocked by:     gp-zz\n"
        "  rig:            greeter\n"
        "  type:           task, priority 2, delivers Commit\n"
        "  labels:         i18n\n"
        "  depends on:     gp-zz (blocks, Unknown)\n"
        "  Startable=False UnknownDependency: depends on gp-zz, which does not exist\n"
        "\nDescription:\n  | One.\n  | ## Two\n"
        "\nComment by ada 2026-01-01T00:00:00Z:\n  | first\n  | second\n"
    )
    assert ada.json("bd show gp-a")["metadata"]["name"] == "gp-a"


def test_a_bead_that_is_not_there_is_exit_code_3_in_text_and_json(namespace: str, ada: CommandLine) -> None:
    done = ada.run("bd show gp-none --json")
    told = f"bead gp-none in namespace {namespace}: not found; look for it with `bd list --all`"
    assert (done.returncode, done.stderr) == (3, f"error: {told}\n")
    assert json.loads(done.stdout) == {
        "apiVersion": "v1", "kind": "Status", "status": "Failure", "reason": "NotFound", "message": told, "code": 3,
    }  # fmt: skip


def test_a_person_closes_with_a_reason_and_closing_again_is_fine(api_server: Cluster, namespace: str, ada: CommandLine) -> None:
    pod.make_bead(api_server, namespace, "gp-a")
    assert ada.run(["bd", "close", "gp-a", "--reason", "no longer wanted"]).stdout == "bead gp-a closed\n"
    spec = api_server.get("bead", "gp-a", namespace)["spec"]
    assert (spec["state"], spec["closeReason"]) == ("closed", "no longer wanted")
    assert ada.run("bd close gp-a").stdout == "bead gp-a closed (it was)\n"


def test_an_agent_can_not_close_what_has_to_land_and_is_told_the_way(api_server: Cluster, namespace: str, furiosa: CommandLine) -> None:
    pod.make_bead(api_server, namespace, "gp-a", assignee=AGENT)
    done = furiosa.run("bd close gp-a")
    assert done.returncode == 1
    assert done.stderr.startswith(
        "error: bead gp-a: delivers a commit, so it is closed by landing and not by its agent; commit and run `gt done`"
    )
    assert api_server.get("bead", "gp-a", namespace)["spec"]["state"] == "open"


def test_an_agent_closes_what_delivers_nothing(api_server: Cluster, namespace: str, furiosa: CommandLine) -> None:
    pod.make_bead(api_server, namespace, "gp-a", assignee=AGENT, delivery="None")
    assert furiosa.json("bd close gp-a")["spec"]["state"] == "closed"


def test_a_bead_of_an_agent_carries_the_agents_own_name_and_rig(api_server: Cluster, namespace: str, furiosa: CommandLine) -> None:
    made = furiosa.json(["bd", "create", "Found on the way", "--deps", "discovered-from:gp-a"])
    assert made["spec"]["createdBy"] == AGENT
    assert made["spec"]["rigName"] == "greeter"


def test_what_rbac_forbids_is_exit_code_1_with_the_servers_words(api_server: Cluster, namespace: str, furiosa: CommandLine) -> None:
    other = api_server.make_namespace(f"{namespace}-b"[:60])
    done = furiosa.run("bd list", GASTOWN_NAMESPACE=other)
    assert done.returncode == 1
    assert f"beads in namespace {other}: " in done.stderr
    assert "forbidden" in done.stderr
