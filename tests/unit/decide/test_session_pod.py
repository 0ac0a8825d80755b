"""What is the pod of a session made of? The contract with the harness that runs in it, and with the node."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gastown.api.agent_profile import EnvVar, Resources, SessionLimits
from gastown.api.rig import RigGit
from gastown.decide.session_pod import SessionSettings, literal, session_pod
from gastown.local.node.environment import expand
from gastown.polecat.session import from_environment
from support import build
from support.build import HEAD

SETTINGS = SessionSettings(repository_url="http://repo:8080", image="gastown/session:1")
BEAD = build.held_bead(status={"head": HEAD})


def made(profile: Any = None, *, bead: Any = BEAD, rig: Any = None) -> dict[str, Any]:
    """The pod of session 7 of greeter-nux."""
    return session_pod(build.agent(), bead, rig or build.rig(), profile or build.profile(), 7, SETTINGS)


def agent_container(pod: dict[str, Any]) -> dict[str, Any]:
    (container,) = pod["spec"]["containers"]
    return dict(container)


def environment(container: dict[str, Any]) -> dict[str, str]:
    """Name -> value as the container's program finds it: expanded by the node, and of two with one name the later counts."""
    told: dict[str, str] = {}
    for variable in container["env"]:
        told[variable["name"]] = expand(variable.get("value", ""), told)
    return told


def test_the_pod_is_named_and_marked_so_that_it_can_be_found_and_goes_with_its_agent() -> None:
    assert made()["metadata"] == {
        "name": "greeter-nux",
        "namespace": "town",
        "labels": {
            "app.kubernetes.io/name": "gastown",
            "app.kubernetes.io/part-of": "gastown",
            "app.kubernetes.io/component": "session",
            "app.kubernetes.io/managed-by": "gastown-operator",
            "gastown.dev/role": "polecat",
            "gastown.dev/agent": "greeter-nux",
            "gastown.dev/bead": "gp-1",
            "gastown.dev/rig": "greeter",
            "gastown.dev/session": "7",
        },
        "ownerReferences": [
            {
                "apiVersion": "gastown.dev/v1alpha1",
                "kind": "Agent",
                "name": "greeter-nux",
                "uid": "uid-greeter-nux",
                "controller": True,
                "blockOwnerDeletion": True,
            }
        ],
    }


def test_checkout_and_agent_find_the_same_session() -> None:
    rig = build.rig(git=RigGit(branch="trunk"))
    pod = made(build.profile(model="small", limits=SessionLimits(timeoutSeconds=90), checkpointSeconds=20), rig=rig)
    (checkout,) = pod["spec"]["initContainers"]
    expected = {
        "GASTOWN_POD_UID": "",
        "GASTOWN_NAMESPACE": "town",
        "GASTOWN_RIG": "greeter",
        "GASTOWN_AGENT": "greeter-nux",
        "GASTOWN_BEAD": "gp-1",
        "GASTOWN_SESSION": "7",
        "GASTOWN_REPOSITORY_URL": "http://repo:8080/town/greeter.git",
        "GASTOWN_REPO_TOKEN_FILE": "/var/run/secrets/gastown/repo/token",
        "GASTOWN_WORKSPACE": "/workspace",
        "GASTOWN_TARGET_BRANCH": "trunk",
        "GASTOWN_START_COMMIT": HEAD,
        "GASTOWN_ADAPTER": "shell",
        "GASTOWN_AGENT_COMMAND": '["./work"]',
        "GASTOWN_MODEL": "small",
        "GASTOWN_GATES": '[{"name": "unit-tests", "command": ["make", "test"], "timeoutSeconds": 1800}]',
        "GASTOWN_TIMEOUT_SECONDS": "90",
        "GASTOWN_HEARTBEAT_SECONDS": "30",
        "GASTOWN_CHECKPOINT_SECONDS": "20",
        "BD_ACTOR": "greeter/polecats/nux",
        "HOME": "/workspace/home",
        "TMPDIR": "/workspace/tmp",
    }
    assert environment(checkout) == environment(agent_container(pod)) == expected
    fields = [variable for variable in checkout["env"] if "valueFrom" in variable]
    assert fields == [{"name": "GASTOWN_POD_UID", "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}}]


def test_the_harness_understands_what_the_operator_tells_it() -> None:
    session = from_environment({**environment(agent_container(made())), "GASTOWN_POD_UID": "u-7"})
    assert (session.rig, session.agent, session.bead, session.start_commit) == ("greeter", "greeter-nux", "gp-1", HEAD)
    assert [gate.name for gate in session.gates] == ["unit-tests"]


@pytest.mark.parametrize(
    ("name", "profile", "bead", "written"),
    [
        pytest.param("GASTOWN_MODEL", build.profile(model="$(GASTOWN_AGENT)"), BEAD, "$(GASTOWN_AGENT)", id="profile's model"),
        pytest.param("GASTOWN_MODEL", build.profile(), build.held_bead(model="$(GASTOWN_AGENT)"), "$(GASTOWN_AGENT)", id="bead's model"),
        pytest.param("GASTOWN_AGENT_COMMAND", build.profile(command=["$(GASTOWN_RIG)"]), BEAD, "$(GASTOWN_RIG)", id="command"),
        pytest.param("GASTOWN_AGENT_COMMAND", build.profile(command=["$$(GASTOWN_RIG)"]), BEAD, "$$(GASTOWN_RIG)", id="escaped by hand"),
        pytest.param("GASTOWN_AGENT_COMMAND", build.profile(command=["echo $$ $?"]), BEAD, "echo $$ $?", id="a shell's own variables"),
    ],
)
def test_what_people_wrote_is_not_expanded_by_the_node(name: str, profile: Any, bead: Any, written: str) -> None:
    assert written in environment(agent_container(made(profile, bead=bead)))[name]


@given(st.text(st.sampled_from("$()HOME x"), max_size=12))
def test_any_text_reaches_the_program_as_it_was_written(text: str) -> None:
    assert expand(literal(text), {"HOME": "/workspace/home", "": "nothing"}) == text


def test_only_gates_that_are_programs_are_run_before_submitting() -> None:
    rig = build.rig(gates=[build.gate("lint"), build.gate("review", type="Review", command=[])])
    assert [gate["name"] for gate in json.loads(environment(agent_container(made(rig=rig)))["GASTOWN_GATES"])] == ["lint"]


def test_every_container_satisfies_the_restricted_standard() -> None:
    spec = made()["spec"]
    assert spec["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": 1000,
        "runAsGroup": 1000,
        "fsGroup": 1000,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    containers = [*spec["initContainers"], *spec["containers"]]
    restricted = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    assert [container["securityContext"] for container in containers] == [restricted, restricted]
    assert not {"hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace"} & spec.keys()
    assert [volume.keys() - {"name"} for volume in spec["volumes"]] == [{"emptyDir"}, {"projected"}]


def test_it_runs_as_its_agent_and_its_second_token_is_for_the_repo_server_alone() -> None:
    spec = made()["spec"]
    assert (spec["serviceAccountName"], spec["automountServiceAccountToken"]) == ("greeter-nux", True)
    (volume,) = [volume for volume in spec["volumes"] if volume["name"] == "repo-token"]
    token = {"audience": "gastown-repo", "expirationSeconds": 3600, "path": "token"}
    assert volume == {"name": "repo-token", "projected": {"sources": [{"serviceAccountToken": token}]}}
    mount = {"name": "repo-token", "mountPath": "/var/run/secrets/gastown/repo", "readOnly": True}
    assert all(mount in container["volumeMounts"] for container in (*spec["initContainers"], *spec["containers"]))


def test_the_model_asked_for_wins_over_the_profiles() -> None:
    told = environment(agent_container(made(build.profile(model="small"), bead=build.held_bead(model="large"))))
    assert told["GASTOWN_MODEL"] == "large"


def test_its_node_may_not_start_it_again_and_gives_it_time_to_save_its_work() -> None:
    spec = made(build.profile(limits=SessionLimits(timeoutSeconds=600)))["spec"]
    assert (spec["restartPolicy"], spec["terminationGracePeriodSeconds"], spec["activeDeadlineSeconds"]) == ("Never", 60, 900)
    assert "activeDeadlineSeconds" not in made(build.profile(limits=SessionLimits(timeoutSeconds=0)))["spec"]


def test_a_profile_sets_image_resources_runtime_and_secrets_that_the_checkout_does_not_see() -> None:
    profile = build.profile(
        image="ours:2",
        resources=Resources(requests={"cpu": "1"}, limits={"memory": "1Gi"}),
        runtimeClassName="gvisor",
        secretNames=["key", "more"],
    )
    pod = made(profile)
    main = agent_container(pod)
    assert (main["image"], pod["spec"]["initContainers"][0]["image"], pod["spec"]["runtimeClassName"]) == ("ours:2", "ours:2", "gvisor")
    assert main["resources"] == {"requests": {"cpu": "1"}, "limits": {"memory": "1Gi"}}
    assert [(mount["mountPath"], mount["readOnly"]) for mount in main["volumeMounts"][2:]] == [
        ("/var/run/secrets/gastown/profile/key", True),
        ("/var/run/secrets/gastown/profile/more", True),
    ]
    checkout = pod["spec"]["initContainers"][0]
    assert [source["secretRef"]["name"] for source in main["envFrom"]] == ["key", "more"]
    assert "envFrom" not in checkout
    assert [mount["name"] for mount in checkout["volumeMounts"]] == ["workspace", "repo-token"]
    assert [volume["secret"]["secretName"] for volume in pod["spec"]["volumes"] if "secret" in volume] == ["key", "more"]


def test_what_a_profile_leaves_out_has_a_default() -> None:
    pod = made()
    assert agent_container(pod)["image"] == "gastown/session:1"
    assert agent_container(pod)["resources"]["requests"] == {"cpu": "10m", "memory": "64Mi"}
    assert "runtimeClassName" not in pod["spec"]


def test_of_a_profiles_variables_those_of_the_contract_lose_and_the_others_reach_the_agent_alone() -> None:
    profile = build.profile(env=[EnvVar(name="GASTOWN_AGENT", value="mayor"), EnvVar(name="COLOR", value="blue")])
    pod = made(profile)
    told = environment(agent_container(pod))
    assert (told["GASTOWN_AGENT"], told["COLOR"]) == ("greeter-nux", "blue")
    assert "COLOR" not in environment(pod["spec"]["initContainers"][0])
