"""Who may write what (DESIGN section 6), tried with real tokens on an installed chart: RBAC, then the policies for "its own"."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from gastown.api.kinds import AGENT, BEAD, JOB, LEASE, MERGE_REQUEST, POD, SERVICE_ACCOUNT, TOWN
from gastown.decide.gate_job import GateSettings, gate_job
from gastown.decide.session_pod import SessionSettings, session_pod
from gastown.kube import paths
from gastown.kube.errors import Forbidden, Invalid
from gastown.kube.rest import Client
from gastown.local.control_plane_commands import Options
from support import build
from support.cluster import running
from support.eventually import eventually
from support.installed_chart import SYSTEM, Installation, name_of
from support.manifests import HEAD, manifest

pytestmark = pytest.mark.cluster

TOWN_NAMESPACE = "town"
FURIOSA, NUX = "greeter-furiosa", "greeter-nux"
POLICIES = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies"


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """A town as `helm install` leaves it, with two agents and the policies in force."""
    with running(tmp_path_factory.mktemp("rights") / "town", Options(durable=False)) as cluster:
        installed = Installation(cluster)
        installed.run("install")
        for agent in (FURIOSA, NUX):
            cluster.apply(account(agent), lease(agent))
        installed.wait_for_stamps()
        yield installed


def account(name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": TOWN_NAMESPACE}}


def lease(name: str) -> dict[str, Any]:
    return {"apiVersion": LEASE.api_version, "kind": "Lease", "metadata": {"name": name, "namespace": TOWN_NAMESPACE}, "spec": {}}


@pytest.fixture
def administrator(installation: Installation) -> Iterator[Client]:
    with installation.cluster.client() as client:
        yield client


@pytest.fixture
def operator(installation: Installation) -> Iterator[Client]:
    with installation.client_of(SYSTEM, "operator") as client:
        yield client


@pytest.fixture
def repo(installation: Installation) -> Iterator[Client]:
    with installation.client_of(SYSTEM, "repo") as client:
        yield client


@pytest.fixture
def furiosa(installation: Installation) -> Iterator[Client]:
    with installation.client_of(TOWN_NAMESPACE, FURIOSA) as client:
        yield client


@pytest.fixture
def bead_name(request: pytest.FixtureRequest) -> str:
    """A bead of each test's own."""
    return f"gp-{abs(hash(request.node.nodeid)):x}"


def make_bead(operator: Client, administrator: Client, name: str, *, phase: str = "Ready", **spec: Any) -> None:
    administrator.create(BEAD, manifest(BEAD, TOWN_NAMESPACE, name, **spec))
    operator.merge_patch(BEAD, TOWN_NAMESPACE, name, {"status": {"phase": phase}}, subresource="status")


# RBAC: one row per identity, namespace and resource; what is not named may not be done

EVERY_VERB = ("get", "list", "watch", "create", "update", "patch", "delete", "deletecollection")
READ = {"get", "list", "watch"}
OURS = ("towns", "rigs", "agentprofiles", "agents", "beads", "convoys", "mergerequests", "gateruns")
OPERATOR = {
    **dict.fromkeys(OURS, READ),
    "beads": READ | {"create", "update", "patch"},
    "agents": READ | {"create"},
    **{f"{plural}/status": {"update", "patch"} for plural in OURS},
    "pods": READ | {"create", "delete"},
    "jobs.batch": READ | {"create", "delete"},
    "serviceaccounts": READ | {"create", "delete"},
    "leases.coordination.k8s.io": READ | {"create", "patch", "delete"},
    "events": {"create", "patch"},
}
REPO = {
    **dict.fromkeys(("towns", "rigs", "agents", "beads", "mergerequests", "pods"), READ),
    "gateruns": READ | {"create", "delete"},
    "rigs/status": {"patch"},
    "mergerequests/status": {"patch"},
    "events": {"create", "patch"},
}
AGENTS = {
    **dict.fromkeys(OURS, READ),
    "beads": READ | {"create", "update", "patch"},
    "mergerequests": READ | {"create"},
    "leases.coordination.k8s.io": {"get", "update", "patch"},
    "events": {"create"},
}
ASKED = (
    *OURS,
    *(f"{plural}/status" for plural in OURS),
    "pods",
    "pods/exec",
    "pods/eviction",
    "jobs.batch",
    "secrets",
    "configmaps",
    "serviceaccounts",
    "serviceaccounts/token",
    "leases.coordination.k8s.io",
    "events",
    "roles.rbac.authorization.k8s.io",
    "rolebindings.rbac.authorization.k8s.io",
    "networkpolicies.networking.k8s.io",
)
NOTHING: dict[str, set[str]] = {}


@pytest.mark.parametrize(
    ("account_namespace", "account_name", "namespace", "rights"),
    [
        pytest.param(SYSTEM, "operator", TOWN_NAMESPACE, OPERATOR, id="operator in a town"),
        pytest.param(SYSTEM, "operator", SYSTEM, NOTHING, id="operator at home"),
        pytest.param(SYSTEM, "repo", TOWN_NAMESPACE, REPO, id="repo in a town"),
        pytest.param(SYSTEM, "repo", SYSTEM, NOTHING, id="repo at home"),
        pytest.param(TOWN_NAMESPACE, FURIOSA, TOWN_NAMESPACE, AGENTS, id="an agent in its town"),
        pytest.param(TOWN_NAMESPACE, FURIOSA, SYSTEM, NOTHING, id="an agent in the system"),
        pytest.param(TOWN_NAMESPACE, FURIOSA, "default", NOTHING, id="an agent elsewhere"),
    ],
)
def test_an_identity_may_do_exactly_what_the_table_says(
    installation: Installation, account_namespace: str, account_name: str, namespace: str, rights: dict[str, set[str]]
) -> None:
    with installation.client_of(account_namespace, account_name) as client:
        found = {resource: {verb for verb in EVERY_VERB if may(client, verb, resource, namespace)} for resource in ASKED}
    assert {resource: verbs for resource, verbs in found.items() if verbs} == rights


def may(client: Client, verb: str, resource: str, namespace: str) -> bool:
    plural, _, group = resource.partition(".")
    plural, _, subresource = plural.partition("/")
    attributes = {
        "verb": verb,
        "group": "gastown.dev" if plural in OURS else group,
        "resource": plural,
        "subresource": subresource,
        "namespace": namespace,
    }
    review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": {"resourceAttributes": attributes}}
    answer = client.request("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", review)
    return bool(answer["status"]["allowed"])


def test_the_repo_server_may_ask_whose_token_it_was_shown(repo: Client) -> None:
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": "no-token"}}
    answer = repo.request("POST", "/apis/authentication.k8s.io/v1/tokenreviews", review)
    assert "authenticated" not in answer["status"]


@pytest.mark.parametrize(
    ("role", "verb", "resource", "allowed"),
    [
        ("view", "list", "beads", True),
        ("view", "create", "beads", False),
        ("edit", "create", "convoys", True),
        ("edit", "patch", "mergerequests", True),
        ("edit", "create", "mergerequests", False),
        ("edit", "create", "gateruns", False),
        ("edit", "patch", "beads/status", False),
        ("admin", "patch", "beads/status", False),
    ],
)
def test_viewers_and_editors_of_a_namespace_view_and_edit_our_kinds(
    installation: Installation, administrator: Client, role: str, verb: str, resource: str, allowed: bool
) -> None:
    person = f"ada-the-{role}"
    installation.cluster.apply(
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": {"name": person, "namespace": TOWN_NAMESPACE},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": person}],
        }
    )
    eventually(lambda: may_person(administrator, person, "list", "beads"), describe="the aggregated role")
    assert may_person(administrator, person, verb, resource) is allowed


def may_person(administrator: Client, person: str, verb: str, resource: str) -> bool:
    plural, _, subresource = resource.partition("/")
    attributes = {"verb": verb, "group": "gastown.dev", "resource": plural, "subresource": subresource, "namespace": TOWN_NAMESPACE}
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {"user": person, "resourceAttributes": attributes},
    }
    return bool(administrator.request("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", review)["status"]["allowed"])


# Its own bead


def refused(says: str) -> Any:
    return pytest.raises((Invalid, Forbidden), match=says)


def test_an_agent_writes_notes_comments_and_dependencies_of_the_bead_it_holds(
    operator: Client, administrator: Client, furiosa: Client, bead_name: str
) -> None:
    make_bead(operator, administrator, bead_name, assignee=FURIOSA)
    patch = {"notes": "n", "comments": [{"text": "c"}], "dependencies": [{"id": "gp-1"}]}
    after = furiosa.merge_patch(BEAD, TOWN_NAMESPACE, bead_name, {"spec": patch})
    assert (after["spec"]["notes"], after["spec"]["comments"], after["spec"]["dependencies"][0]["id"]) == ("n", [{"text": "c"}], "gp-1")


@pytest.mark.parametrize(
    ("patch", "says"),
    [
        ({"spec": {"title": "other"}}, "may change notes, comments, dependencies .* not title"),
        ({"spec": {"rigName": "singer", "description": "d"}}, "not (rigName, description|description, rigName)"),
        ({"spec": {"owner": None}}, "not owner"),
        ({"spec": {"assignee": ""}}, "not assignee"),
        ({"spec": {"assignee": NUX}}, "not assignee"),
        ({"spec": {"state": "closed"}}, "is closed by landing its commit: gt done"),
        ({"metadata": {"labels": {"gastown.dev/convoy": "first"}}}, "may not change the metadata of a bead"),
        ({"metadata": {"annotations": {"gastown.dev/retry-requested-at": "now"}}}, "may not change the metadata of a bead"),
        ({"metadata": {"finalizers": ["example.com/mine"]}}, "may not change the metadata of a bead"),
    ],
    ids=["title", "rig", "removing a field", "unbinding", "rebinding", "closing", "label", "annotation", "finalizer"],
)
def test_an_agent_changes_nothing_else_of_the_bead_it_holds(
    operator: Client, administrator: Client, furiosa: Client, bead_name: str, patch: dict[str, Any], says: str
) -> None:
    make_bead(operator, administrator, bead_name, assignee=FURIOSA, owner="ada")
    with refused(says):
        furiosa.merge_patch(BEAD, TOWN_NAMESPACE, bead_name, patch)


def test_an_agent_closes_the_bead_it_holds_when_no_commit_is_to_be_delivered(
    operator: Client, administrator: Client, furiosa: Client, bead_name: str
) -> None:
    make_bead(operator, administrator, bead_name, assignee=FURIOSA, delivery="None")
    with refused("may close its bead, but not defer, pin or reopen one"):
        furiosa.merge_patch(BEAD, TOWN_NAMESPACE, bead_name, {"spec": {"state": "pinned"}})
    after = furiosa.merge_patch(BEAD, TOWN_NAMESPACE, bead_name, {"spec": {"state": "closed", "closeReason": "found it"}})
    assert after["spec"]["state"] == "closed"


@pytest.mark.parametrize(("holder", "says"), [(NUX, f"is held by {NUX}"), ("", "is held by nobody")])
def test_an_agent_changes_no_bead_that_it_does_not_hold(
    operator: Client, administrator: Client, furiosa: Client, bead_name: str, holder: str, says: str
) -> None:
    make_bead(operator, administrator, bead_name, assignee=holder)
    with refused(says):
        furiosa.merge_patch(BEAD, TOWN_NAMESPACE, bead_name, {"spec": {"notes": "n"}})


def claim(client: Client, name: str, holder: str) -> dict[str, Any]:
    patch = [{"op": "test", "path": "/spec/assignee", "value": ""}, {"op": "replace", "path": "/spec/assignee", "value": holder}]
    return client.json_patch(BEAD, TOWN_NAMESPACE, name, patch)


def test_an_agent_claims_a_ready_bead_for_itself_only(operator: Client, administrator: Client, furiosa: Client, bead_name: str) -> None:
    make_bead(operator, administrator, bead_name)
    with refused("is held by nobody"):
        claim(furiosa, bead_name, NUX)
    assert claim(furiosa, bead_name, FURIOSA)["spec"]["assignee"] == FURIOSA


def test_an_agent_does_not_claim_a_blocked_bead(operator: Client, administrator: Client, furiosa: Client, bead_name: str) -> None:
    make_bead(operator, administrator, bead_name, phase="Blocked")
    with refused("When it is Ready, take it"):
        claim(furiosa, bead_name, FURIOSA)


def test_a_claim_changes_nothing_else(operator: Client, administrator: Client, furiosa: Client, bead_name: str) -> None:
    make_bead(operator, administrator, bead_name)
    with refused("may change assignee of bead .* not notes"):
        furiosa.merge_patch(BEAD, TOWN_NAMESPACE, bead_name, {"spec": {"assignee": FURIOSA, "notes": "n"}})


def test_operator_and_people_are_not_bound_by_the_rules_for_agents(operator: Client, administrator: Client, bead_name: str) -> None:
    make_bead(operator, administrator, bead_name)
    assert claim(operator, bead_name, NUX)["spec"]["assignee"] == NUX
    administrator.merge_patch(BEAD, TOWN_NAMESPACE, bead_name, {"spec": {"title": "other"}})
    operator.merge_patch(BEAD, TOWN_NAMESPACE, bead_name, {"spec": {"state": "closed", "closeReason": "landed 0123"}})


@pytest.mark.parametrize(
    ("spec", "name", "says"),
    [
        ({"assignee": FURIOSA}, "gp-new", "leave assignee out"),
        ({"state": "closed"}, "gp-new", "is open or deferred"),
        ({"createdBy": NUX}, "gp-new", f"set spec.createdBy to {FURIOSA}"),
        ({"createdBy": None}, "gp-new", f"set spec.createdBy to {FURIOSA}"),
        ({}, "gp-new.1.2.3.4", "at most three levels deep"),
    ],
    ids=["bound", "closed", "by another", "by nobody", "too deep"],
)
def test_a_bead_that_an_agent_may_not_create_is_refused(furiosa: Client, spec: dict[str, Any], name: str, says: str) -> None:
    with refused(says):
        furiosa.create(BEAD, manifest(BEAD, TOWN_NAMESPACE, name, **{"createdBy": FURIOSA, **spec}))


def test_an_agent_creates_beads_for_what_it_found(furiosa: Client, bead_name: str) -> None:
    made = furiosa.create(BEAD, manifest(BEAD, TOWN_NAMESPACE, f"{bead_name}.1.2.3", createdBy=FURIOSA))
    assert made["spec"]["createdBy"] == FURIOSA


# Its own merge request, its own Lease


def merge_request(bead: str, **spec: Any) -> dict[str, Any]:
    fields = {"beadName": bead, "branch": f"polecat/{FURIOSA}/{bead}", **spec}
    return manifest(MERGE_REQUEST, TOWN_NAMESPACE, f"{bead}-{HEAD[:12]}", **fields)


def test_an_agent_submits_its_own_branch(furiosa: Client, bead_name: str) -> None:
    assert furiosa.create(MERGE_REQUEST, merge_request(bead_name))["spec"]["agentName"] == FURIOSA


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ({"agentName": NUX}, f"may submit only its own work; set spec.agentName to {FURIOSA}"),
        ({"branch": f"polecat/{NUX}/gp-1"}, "may submit only branches of its own"),
        ({"head": HEAD[::-1]}, "is named <bead>-<first 12 digits of head>"),
    ],
    ids=["as another agent", "branch of another agent", "under another name"],
)
def test_an_agent_submits_nothing_else(furiosa: Client, bead_name: str, spec: dict[str, Any], says: str) -> None:
    with refused(says):
        furiosa.create(MERGE_REQUEST, merge_request(bead_name, **spec))


def test_an_agent_renews_its_own_lease_and_no_other(furiosa: Client) -> None:
    renewal = {"spec": {"renewTime": "2026-01-01T00:00:00.000000Z"}}
    furiosa.merge_patch(LEASE, TOWN_NAMESPACE, FURIOSA, renewal)
    with refused(f"may renew only its own Lease, {FURIOSA}"):
        furiosa.merge_patch(LEASE, TOWN_NAMESPACE, NUX, renewal)


# The actor


def test_who_wrote_is_stamped_and_cannot_be_forged(operator: Client, administrator: Client, furiosa: Client, bead_name: str) -> None:
    forged = {"gastown.dev/actor": "mayor"}
    value = manifest(BEAD, TOWN_NAMESPACE, bead_name, assignee=FURIOSA)
    value["metadata"]["annotations"] = forged
    assert actor(administrator.create(BEAD, value)) == name_of(administrator)
    after = furiosa.merge_patch(BEAD, TOWN_NAMESPACE, bead_name, {"metadata": {"annotations": forged}, "spec": {"notes": "n"}})
    assert actor(after) == f"system:serviceaccount:{TOWN_NAMESPACE}:{FURIOSA}"
    after = administrator.json_patch(BEAD, TOWN_NAMESPACE, bead_name, [{"op": "remove", "path": "/metadata/annotations"}])
    assert actor(after) == name_of(administrator)
    patch = {"status": {"phase": "Hooked", "actor": "mayor"}}
    after = operator.merge_patch(BEAD, TOWN_NAMESPACE, bead_name, patch, subresource="status")
    assert after["status"] == {"phase": "Hooked", "actor": f"system:serviceaccount:{SYSTEM}:operator"}


def actor(value: dict[str, Any]) -> str:
    return str(value["metadata"]["annotations"]["gastown.dev/actor"])


# What the operator makes is admitted in a town


def test_a_session_pod_and_a_gate_job_pass_the_restricted_standard(operator: Client) -> None:
    settings = SessionSettings("http://repo.invalid:8080", "gastown:test")
    pod = session_pod(build.agent(FURIOSA), build.bead("gp-1"), build.rig(), build.profile(), 1, settings)
    dry = paths.with_query(paths.collection(POD, TOWN_NAMESPACE), dryRun="All")
    assert operator.request("POST", dry, pod)["spec"]["serviceAccountName"] == FURIOSA
    job = gate_job(build.gate_run(), build.gate(), GateSettings(image="gastown:test"))
    metadata = {"name": "gate", "namespace": TOWN_NAMESPACE}
    operator.request("POST", dry, {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": job["spec"]["template"]["spec"]})
    operator.request("POST", paths.with_query(paths.collection(JOB, TOWN_NAMESPACE), dryRun="All"), job)


def test_a_pod_that_may_be_root_is_not_admitted_in_a_town(operator: Client) -> None:
    spec = {"containers": [{"name": "x", "image": "x"}]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x", "namespace": TOWN_NAMESPACE}, "spec": spec}
    with pytest.raises(Forbidden, match="violates PodSecurity"):
        operator.create(POD, pod)


def test_the_operator_makes_what_an_agent_needs(operator: Client) -> None:
    operator.create(AGENT, manifest(AGENT, TOWN_NAMESPACE, "greeter-dag"))
    operator.create(SERVICE_ACCOUNT, account("greeter-dag"))
    operator.create(LEASE, lease("greeter-dag"))
    operator.merge_patch(TOWN, TOWN_NAMESPACE, "town", {"status": {"phase": "Running"}}, subresource="status")


def test_pods_of_the_chart_come_up_to_scheduling(administrator: Client) -> None:
    def names() -> list[str]:
        return sorted(pod["metadata"]["generateName"] for pod in administrator.list_all(POD, SYSTEM))

    eventually(lambda: [name.split("-")[0] for name in names()] == ["operator", "repo"], describe="pods of operator and repo")


def test_the_server_finds_nothing_wrong_with_the_types_of_the_policies(administrator: Client) -> None:
    def statuses() -> list[dict[str, Any]]:
        items = [item for item in administrator.request("GET", POLICIES)["items"] if item["metadata"]["name"].startswith("gastown-")]
        assert all("typeChecking" in item.get("status", {}) for item in items)
        return [item["status"]["typeChecking"] for item in items]

    assert all(not found.get("expressionWarnings") for found in eventually(statuses, describe="the type checks"))
