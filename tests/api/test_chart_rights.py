"""What the dry runs of test_rights_table.py can not show: that RBAC grants nothing else, and real writes, real pods, dead sessions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from gastown.api.codec import from_dict
from gastown.api.gate_run import GateRun
from gastown.api.kinds import AGENT, BEAD, GATE_RUN, JOB, LEASE, MERGE_REQUEST, POD, SERVICE_ACCOUNT, TOWN
from gastown.decide.gate_job import GateSettings, gate_job
from gastown.kube.errors import Forbidden, Invalid, Unauthorized
from gastown.kube.rest import Client
from support import build
from support.eventually import eventually
from support.installed_chart import SYSTEM, name_of
from support.manifests import HEAD, manifest
from support.rights_table import Identity
from support.rights_town import RightsTown, lease, start_session

pytestmark = pytest.mark.cluster

TOWN_NAMESPACE = "town"
# Not in the table, so that what becomes of its session disturbs nobody.
TOAST = Identity(name="toast", title="an agent", account="town/greeter-toast", session="greeter")
NUX = "greeter-nux"
# The bead that the builder of sessions gives it.
TOASTS_BEAD = "gp-own-toast"
POLICIES = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies"


@pytest.fixture
def administrator(rights: RightsTown) -> Client:
    return rights.administrator


@pytest.fixture
def operator(rights: RightsTown) -> Client:
    return rights.clients["operator"]


@pytest.fixture
def session(rights: RightsTown, administrator: Client, operator: Client) -> Iterator[dict[str, Any]]:
    """The pod of a live session of Toast."""
    eventually(
        lambda: not administrator.list_all(POD, TOWN_NAMESPACE, field_selector=f"metadata.name={TOAST.short}"), 60, "no older session"
    )
    metadata = {"name": TOAST.short, "namespace": TOWN_NAMESPACE}
    if not administrator.list_all(SERVICE_ACCOUNT, TOWN_NAMESPACE, field_selector=f"metadata.name={TOAST.short}"):
        administrator.create(SERVICE_ACCOUNT, {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata})
        administrator.create(LEASE, lease(TOAST.short))
    yield start_session(administrator, operator, TOAST)
    for kind in (POD, AGENT):
        if administrator.list_all(kind, TOWN_NAMESPACE, field_selector=f"metadata.name={TOAST.short}"):
            administrator.delete(kind, TOWN_NAMESPACE, TOAST.short)


@pytest.fixture
def toast(rights: RightsTown, session: dict[str, Any]) -> Iterator[Client]:
    """What the session itself would speak through."""
    with rights.installation.client_of(TOWN_NAMESPACE, TOAST.short, session) as client:
        yield client


@pytest.fixture
def bead_name(request: pytest.FixtureRequest) -> str:
    """A bead of each test's own."""
    return f"gp-{abs(hash(request.node.nodeid)):x}"


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
    ("identity", "namespace", "granted"),
    [
        pytest.param("operator", TOWN_NAMESPACE, OPERATOR, id="operator in a town"),
        pytest.param("operator", SYSTEM, NOTHING, id="operator at home"),
        pytest.param("repo", TOWN_NAMESPACE, REPO, id="repo in a town"),
        pytest.param("repo", SYSTEM, NOTHING, id="repo at home"),
        pytest.param("agent", TOWN_NAMESPACE, AGENTS, id="an agent in its town"),
        pytest.param("agent", SYSTEM, NOTHING, id="an agent in the system"),
        pytest.param("agent", "default", NOTHING, id="an agent elsewhere"),
        pytest.param("agent", "village", NOTHING, id="an agent in another town"),
    ],
)
def test_an_identity_is_granted_exactly_what_it_needs(
    rights: RightsTown, identity: str, namespace: str, granted: dict[str, set[str]]
) -> None:
    client = rights.clients[identity]
    found = {resource: {verb for verb in EVERY_VERB if may(client, verb, resource, namespace)} for resource in ASKED}
    assert {resource: verbs for resource, verbs in found.items() if verbs} == granted


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


# Its own bead, in earnest


def make_bead(operator: Client, administrator: Client, name: str, *, phase: str = "Ready", **spec: Any) -> None:
    administrator.create(BEAD, manifest(BEAD, TOWN_NAMESPACE, name, **spec))
    operator.merge_patch(BEAD, TOWN_NAMESPACE, name, {"status": {"phase": phase}}, subresource="status")


def test_an_agent_writes_the_bead_it_took_until_it_holds_it_no_more(
    operator: Client, administrator: Client, toast: Client, bead_name: str
) -> None:
    make_bead(operator, administrator, bead_name)
    claim = [{"op": "test", "path": "/spec/assignee", "value": ""}, {"op": "replace", "path": "/spec/assignee", "value": TOAST.short}]
    assert toast.json_patch(BEAD, TOWN_NAMESPACE, bead_name, claim)["spec"]["assignee"] == TOAST.short
    for text in ("first", "second"):
        comments = administrator.get(BEAD, TOWN_NAMESPACE, bead_name)["spec"].get("comments")
        add = {"op": "add", "path": "/spec/comments/-" if comments else "/spec/comments"}
        toast.json_patch(BEAD, TOWN_NAMESPACE, bead_name, [{**add, "value": {"text": text} if comments else [{"text": text}]}])
    after = toast.merge_patch(BEAD, TOWN_NAMESPACE, bead_name, {"spec": {"notes": "n", "dependencies": [{"id": "gp-1"}]}})["spec"]
    assert (after["notes"], after["comments"], after["dependencies"][0]["id"]) == ("n", [{"text": "first"}, {"text": "second"}], "gp-1")
    operator.merge_patch(BEAD, TOWN_NAMESPACE, bead_name, {"spec": {"assignee": NUX}})
    with pytest.raises(Invalid, match=f"is held by {NUX}; an agent changes only the bead it holds"):
        toast.merge_patch(BEAD, TOWN_NAMESPACE, bead_name, {"spec": {"notes": "again"}})


def test_an_agent_that_submits_for_another_bead_does_not_squat_on_the_name_its_holder_will_use(toast: Client) -> None:
    def submission(bead: str) -> dict[str, Any]:
        fields = {"beadName": bead, "agentName": TOAST.short, "branch": f"polecat/{TOAST.short}/{bead}"}
        return manifest(MERGE_REQUEST, TOWN_NAMESPACE, f"{bead}-{HEAD[:12]}", **fields)

    with pytest.raises(Invalid, match=r"must be the bead that the session of spec.agentName works on"):
        toast.create(MERGE_REQUEST, submission("gp-2"))
    assert toast.create(MERGE_REQUEST, submission(TOASTS_BEAD))["spec"]["beadName"] == TOASTS_BEAD


# The actor


def test_who_wrote_is_stamped_and_cannot_be_forged(
    rights: RightsTown, operator: Client, administrator: Client, toast: Client, bead_name: str
) -> None:
    forged = {"gastown.dev/actor": "mayor"}
    value = manifest(BEAD, TOWN_NAMESPACE, bead_name, assignee=TOAST.short)
    value["metadata"]["annotations"] = forged
    assert actor(administrator.create(BEAD, value)) == name_of(administrator)
    after = toast.merge_patch(BEAD, TOWN_NAMESPACE, bead_name, {"metadata": {"annotations": forged}, "spec": {"notes": "n"}})
    assert actor(after) == TOAST.username
    applied = {"metadata": {"namespace": TOWN_NAMESPACE, "name": bead_name, "annotations": forged}, "spec": {"title": "Say hello"}}
    assert actor(rights.clients["contributor"].apply(BEAD, applied, manager="mayor")) == rights.table.identities["contributor"].username
    after = administrator.json_patch(BEAD, TOWN_NAMESPACE, bead_name, [{"op": "remove", "path": "/metadata/annotations"}])
    assert actor(after) == name_of(administrator)
    patch = {"status": {"phase": "Hooked", "actor": "mayor"}}
    after = operator.merge_patch(BEAD, TOWN_NAMESPACE, bead_name, patch, subresource="status")
    assert after["status"] == {"phase": "Hooked", "actor": f"system:serviceaccount:{SYSTEM}:operator"}


def actor(value: dict[str, Any]) -> str:
    return str(value["metadata"]["annotations"]["gastown.dev/actor"])


# Pods


def test_a_gate_job_of_the_operator_gets_a_pod_without_any_credential(operator: Client, administrator: Client) -> None:
    run = from_dict(GateRun, administrator.create(GATE_RUN, manifest(GATE_RUN, TOWN_NAMESPACE, "greeter-real")))
    name = operator.create(JOB, gate_job(run, build.gate(), GateSettings(image="gastown:test")))["metadata"]["name"]
    (pod,) = eventually(lambda: administrator.list_all(POD, TOWN_NAMESPACE, label_selector=f"job-name={name}"), 60, "the Job's pod")
    assert pod["spec"]["automountServiceAccountToken"] is False
    assert [volume["name"] for volume in pod["spec"]["volumes"]] == ["workspace"]
    operator.delete(JOB, TOWN_NAMESPACE, name)


def test_a_pod_that_may_be_root_is_not_admitted_in_a_town(operator: Client) -> None:
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "greeter-slit", "namespace": TOWN_NAMESPACE}}
    with pytest.raises(Forbidden, match="violates PodSecurity"):
        operator.create(POD, {**pod, "spec": {"serviceAccountName": "greeter-slit", "containers": [{"name": "x", "image": "x"}]}})


def test_a_controller_that_an_editor_sets_going_can_make_no_pod_in_a_town(rights: RightsTown, administrator: Client) -> None:
    editor = rights.clients["editor"]
    container = {"name": "x", "image": "x", "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}}
    security = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    pod = {"serviceAccountName": "greeter-rictus", "securityContext": security, "containers": [container]}
    spec = {"selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": {"a": "b"}}, "spec": pod}}
    wanted = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "spy"}, "spec": spec}
    root = f"/apis/apps/v1/namespaces/{TOWN_NAMESPACE}/deployments"
    editor.request("POST", root, wanted)

    def told() -> list[str]:
        conditions = editor.request("GET", f"{root}/spy")["status"].get("conditions", [])
        return [str(one["message"]) for one in conditions if one["type"] == "ReplicaFailure"]

    (message,) = eventually(told, 60, "the word of the controller")
    assert "pods and Jobs of a town are made by the operator" in message
    assert administrator.list_all(POD, TOWN_NAMESPACE, label_selector="a=b") == []
    editor.request("DELETE", f"{root}/spy", {"propagationPolicy": "Background"})


def test_the_token_of_a_session_is_worth_nothing_once_its_pod_is_gone(
    rights: RightsTown, operator: Client, administrator: Client, session: dict[str, Any], toast: Client
) -> None:
    toast.merge_patch(LEASE, TOWN_NAMESPACE, TOAST.short, {"spec": {"holderIdentity": session["metadata"]["uid"]}})
    operator.delete(POD, TOWN_NAMESPACE, TOAST.short)

    def is_shut_out() -> bool:
        try:
            toast.get(BEAD, TOWN_NAMESPACE, "gp-ready")
        except Unauthorized:
            return True
        return False

    eventually(is_shut_out, 90, "the token is refused")
    # The next session of the same agent has the same name and another uid: what the old one kept is still worth nothing.
    administrator.delete(AGENT, TOWN_NAMESPACE, TOAST.short)
    with rights.installation.client_of(TOWN_NAMESPACE, TOAST.short, start_session(administrator, operator, TOAST)) as successor:
        assert successor.get(BEAD, TOWN_NAMESPACE, "gp-ready")["metadata"]["name"] == "gp-ready"
        assert is_shut_out()


# The chart as a whole


def test_the_operator_tells_the_phase_of_the_town(operator: Client) -> None:
    after = operator.merge_patch(TOWN, TOWN_NAMESPACE, "town", {"status": {"phase": "Running"}}, subresource="status")
    assert after["status"]["phase"] == "Running"


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
