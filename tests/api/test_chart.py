"""The chart: what it renders, which values it refuses, and the life of a release from install to uninstall."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from gastown.api.kinds import BEAD, GASTOWN_KINDS, TOWN
from gastown.kube import paths
from gastown.kube.errors import Invalid
from gastown.kube.rest import Client
from gastown.local.control_plane_commands import Options
from support.cluster import CRDS, running
from support.eventually import eventually
from support.installed_chart import CHART, LOCAL, SYSTEM, Installation, find, helm, name_of, render
from support.manifests import manifest

pytestmark = pytest.mark.cluster

ADDRESS = "networkPolicies.apiServerCIDRs={10.0.0.1}"
STAMPING = ("--api-versions", "admissionregistration.k8s.io/v1/MutatingAdmissionPolicy")


def pod_specs(objects: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {item["metadata"]["name"]: item["spec"]["template"]["spec"] for item in objects if item["kind"] in ("Deployment", "StatefulSet")}


def environment(container: dict[str, Any]) -> dict[str, str]:
    return {variable["name"]: variable.get("value", "") for variable in container["env"]}


# Rendered


def test_the_chart_passes_lint_without_a_warning() -> None:
    answer = helm("lint", "--strict", str(CHART))
    assert answer.returncode == 0, answer.stdout
    assert "WARNING" not in answer.stdout


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("operatr.resources=x", "additional properties 'operatr' not allowed"),
        ("towns={town}", "/towns/0': got string, want object"),
        ("towns[0].name=Town_1", "/towns/0/name': 'Town_1' does not match pattern"),
        ("towns=null", "towns"),
        ("repoServer.url=repo:8080", "/repoServer/url': 'repo:8080' does not match pattern"),
        ("repo.storage.size=ten", "/repo/storage/size': 'ten' does not match pattern"),
        ("repo.localUpstreams.hostPath=upstreams", "/repo/localUpstreams/hostPath': 'upstreams' does not match pattern"),
        ("image.pullPolicy=Sometimes", "/image/pullPolicy': value must be one of 'Always', 'IfNotPresent', 'Never'"),
        ("networkPolicies.apiServerCIDRs={example.com}", "/networkPolicies/apiServerCIDRs/0': 'example.com' does not match pattern"),
        ("crds.keep=maybe", "/crds/keep': got string, want boolean"),
    ],
)
def test_a_value_that_cannot_be_meant_is_refused_by_name(setting: str, says: str) -> None:
    answer = helm("template", "gastown", str(CHART), "--set", ADDRESS, "--set", setting)
    assert answer.returncode != 0
    assert says in answer.stderr


def test_the_definitions_are_rendered_as_they_stand_in_crds_and_outlive_the_release() -> None:
    rendered = {item["metadata"]["name"]: item for item in render(ADDRESS) if item["kind"] == "CustomResourceDefinition"}
    for path in CRDS.iterdir():
        source = yaml.safe_load(path.read_text())
        found = rendered.pop(source["metadata"]["name"])
        assert found["metadata"].pop("annotations") == {"helm.sh/resource-policy": "keep"}
        assert found == source
    assert rendered == {}


def test_the_definitions_can_be_left_to_somebody_else_or_be_given_up_on_uninstall() -> None:
    assert "CustomResourceDefinition" not in {item["kind"] for item in render(ADDRESS, "crds.enabled=false")}
    given_up = find(render(ADDRESS, "crds.keep=false"), "CustomResourceDefinition", "beads.gastown.dev")
    assert "annotations" not in given_up["metadata"]


def test_values_reach_the_programs_as_their_environment() -> None:
    objects = render(*LOCAL, "towns[0].name=town", "towns[1].name=village", "image.repository=example/gastown", "image.tag=v1")
    specs = pod_specs(objects)
    (operator,) = specs["operator"]["containers"]
    server, refinery = specs["repo"]["containers"]
    shared = {"GASTOWN_TOWN_NAMESPACES": "town,village", "GASTOWN_SYSTEM_NAMESPACE": SYSTEM, "GASTOWN_LISTEN_HOST": "$(POD_IP)"}
    for container in (operator, server, refinery):
        assert container["image"] == "example/gastown:v1"
        assert environment(container).items() >= shared.items()
        assert environment(container)["GASTOWN_REPO_URL"] == "http://127.64.0.9:8080"
    assert environment(operator)["GASTOWN_SESSION_IMAGE"] == "example/gastown:v1"
    assert environment(refinery)["GASTOWN_LOCAL_UPSTREAMS"] == "/srv/upstreams"
    assert "GASTOWN_LOCAL_UPSTREAMS" not in environment(server)
    assert {"name": "local-upstreams", "hostPath": {"path": "/srv/upstreams", "type": "Directory"}} in specs["repo"]["volumes"]


def test_without_values_nothing_of_the_node_is_mounted_and_sessions_use_the_service() -> None:
    objects = render(ADDRESS)
    for spec in pod_specs(objects).values():
        assert not any("hostPath" in volume for volume in spec["volumes"])
        for container in spec["containers"]:
            assert environment(container)["GASTOWN_REPO_URL"] == f"http://repo.{SYSTEM}.svc:8080"


def test_a_namespace_that_exists_is_left_to_its_owner() -> None:
    objects = render(ADDRESS, "towns[0].name=town", "towns[1].name=village", "towns[1].createNamespace=false")
    assert [item["metadata"]["name"] for item in objects if item["kind"] == "Namespace"] == ["town"]
    assert {item["metadata"]["namespace"] for item in objects if item["kind"] == "Role"} == {"town", "village"}


def test_an_address_of_a_pod_is_known_before_it_is_used_in_a_later_variable() -> None:
    for spec in pod_specs(render(ADDRESS)).values():
        for container in spec["containers"]:
            names = [variable["name"] for variable in container["env"]]
            assert names.index("POD_IP") < names.index("GASTOWN_LISTEN_HOST")


def test_every_container_names_its_program_and_is_restricted() -> None:
    for spec in pod_specs(render(ADDRESS)).values():
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in spec["containers"]:
            assert container["command"][0].startswith("gastown-")
            security = container["securityContext"]
            assert security == {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
            assert container["readinessProbe"]["httpGet"].keys() == {"path", "port"}


def test_a_town_is_closed_but_for_the_repo_server_and_what_values_name() -> None:
    objects = render(ADDRESS, "networkPolicies.egressCIDRs={192.0.2.0/24,2001:db8::1}")
    town = find(objects, "NetworkPolicy", "gastown-town")["spec"]
    assert (town["podSelector"], town["policyTypes"], "ingress" in town) == ({}, ["Ingress", "Egress"], False)
    (sessions,) = find(objects, "NetworkPolicy", "gastown-sessions")["spec"]["egress"]
    assert [to["ipBlock"]["cidr"] for to in sessions["to"]] == ["10.0.0.1/32", "192.0.2.0/24", "2001:db8::1/128"]


def test_network_policies_that_would_cut_off_every_session_are_not_rendered() -> None:
    answer = helm("template", "gastown", str(CHART))
    assert answer.returncode != 0
    assert "set networkPolicies.apiServerCIDRs, such as [10.0.0.1/32], or networkPolicies.enabled=false" in answer.stderr


def test_actors_are_stamped_where_the_server_can_and_declared_ones_checked_where_it_cannot() -> None:
    new = {(item["kind"], item["metadata"]["name"]) for item in render(ADDRESS, options=STAMPING)}
    old = {(item["kind"], item["metadata"]["name"]) for item in render(ADDRESS)}
    off = {(item["kind"], item["metadata"]["name"]) for item in render(ADDRESS, "admission.actorStamping=false", options=STAMPING)}
    assert new >= {("MutatingAdmissionPolicy", "gastown-actor"), ("MutatingAdmissionPolicy", "gastown-status-actor")}
    assert ("ValidatingAdmissionPolicy", "gastown-actor") in old - new
    assert not {row for row in off if "actor" in row[1]}


def test_policies_know_the_programs_of_this_release_and_hold_in_its_towns_only() -> None:
    answer = helm("template", "mine", str(CHART), "-n", "elsewhere", "--set", ADDRESS, "--set", "towns[0].name=hamlet")
    objects = [document for document in yaml.safe_load_all(answer.stdout) if document]
    for name in ("gastown-town-pods", "gastown-operator-beads", "gastown-operator-leases", "gastown-shared-statuses"):
        assert "system:serviceaccount:elsewhere:operator" in yaml.safe_dump(find(objects, "ValidatingAdmissionPolicy", name), width=1000)
    assert SYSTEM not in answer.stdout
    bindings = [
        item for item in objects if item["kind"] == "ValidatingAdmissionPolicyBinding" and item["metadata"]["name"] != "gastown-actor"
    ]
    assert len(bindings) >= 10
    for binding in bindings:
        assert binding["spec"]["validationActions"] == ["Deny"]
        assert binding["spec"]["matchResources"]["namespaceSelector"] == {"matchLabels": {"gastown.dev/town": "true"}}


def test_policies_can_be_left_out_and_the_dearest_of_them_alone() -> None:
    def policies(*settings: str) -> set[str]:
        return {item["metadata"]["name"] for item in render(ADDRESS, *settings) if item["kind"] == "ValidatingAdmissionPolicy"}

    assert policies() - policies("admission.submissionPolicy=false") == {"gastown-agent-submissions"}
    assert policies("admission.agentPolicies=false") == {"gastown-actor"}


# The life of a release


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """An empty cluster, without controllers."""
    with running(tmp_path_factory.mktemp("chart") / "town", Options(durable=False, controllers=False)) as cluster:
        yield Installation(cluster)


def test_a_release_is_installed_upgraded_and_uninstalled_without_touching_the_work(installation: Installation) -> None:
    told = installation.run("install")
    assert "get convoys,beads,agents,mergerequests" in told
    with installation.cluster.client() as client:
        assert served(client) == {kind.plural for kind in GASTOWN_KINDS}
        assert client.get(TOWN, "town", "town")["spec"]["capacity"]["maxPolecats"] == 50
        installation.wait_for_stamps()
        client.merge_patch(TOWN, "town", "town", {"spec": {"capacity": {"maxPolecats": 7}}})
        client.create(BEAD, manifest(BEAD, "town"))

        installation.run("upgrade", "towns[0].name=town", "towns[1].name=village")
        assert client.get(TOWN, "town", "town")["spec"]["capacity"]["maxPolecats"] == 7
        assert client.get(TOWN, "village", "town")["spec"]["capacity"]["maxPolecats"] == 50

        installation.run("uninstall")
        assert client.get(TOWN, "town", "town")["spec"]["capacity"]["maxPolecats"] == 7
        assert client.get(BEAD, "town", "gp-a3f8")["spec"]["title"] == "Say hello"

        installation.run("install")
        assert client.get(BEAD, "town", "gp-a3f8")["metadata"]["namespace"] == "town"


def served(client: Client) -> set[str]:
    resources = client.request("GET", "/apis/gastown.dev/v1alpha1")["resources"]
    return {resource["name"] for resource in resources if "/" not in resource["name"]}


def test_an_upgrade_brings_new_fields_into_definitions_that_are_there(installation: Installation, tmp_path: Path) -> None:
    older = tmp_path / "gastown"
    shutil.copytree(CHART, older)
    file = older / "files" / "crds" / "gastown.dev_beads.yaml"
    file.write_text(re.sub(r"                externalRef:\n(                  .*\n)+", "", file.read_text()))
    with installation.cluster.client() as client:
        installation.run("upgrade", chart=older)
        assert "externalRef" not in bead_fields(client)
        installation.run("upgrade")
        assert "externalRef" in bead_fields(client)


def bead_fields(client: Client) -> set[str]:
    crd = client.request("GET", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/beads.gastown.dev")
    return set(crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"])


def test_network_policies_learn_the_addresses_of_the_api_server_from_the_cluster(installation: Installation) -> None:
    installation.cluster.apply(
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {"name": "kubernetes", "namespace": "default"},
            "addressType": "IPv4",
            "endpoints": [{"addresses": ["192.0.2.7"]}],
        }
    )
    objects = render(options=("--dry-run=server", f"--kubeconfig={installation.cluster.kubeconfig}"))
    (sessions,) = find(objects, "NetworkPolicy", "gastown-sessions")["spec"]["egress"]
    assert {to["ipBlock"]["cidr"] for to in sessions["to"]} == {"192.0.2.7/32", "10.96.0.1/32"}


def test_without_stamping_a_declared_actor_must_be_the_writer(installation: Installation) -> None:
    """What servers without MutatingAdmissionPolicy get; the release's own stamping is taken away first."""
    older_server = render(*LOCAL, "crds.enabled=false")
    installation.run("upgrade", "admission.actorStamping=false")
    installation.cluster.apply(*(item for item in older_server if item["metadata"]["name"] == "gastown-actor"))
    with installation.cluster.client() as client:
        me = name_of(client)
        eventually(lambda: is_refused(client, "mayor"), describe="the policy in force")
        assert not is_refused(client, me)
        client.create(BEAD, manifest(BEAD, "town", "gp-declared"))
        client.merge_patch(BEAD, "town", "gp-declared", {"status": {"actor": me}}, subresource="status")
        with pytest.raises(Invalid, match=r"status\.actor is the authenticated writer; leave it out"):
            client.merge_patch(BEAD, "town", "gp-declared", {"status": {"actor": "mayor"}}, subresource="status")


def is_refused(client: Client, declared: str) -> bool:
    value = manifest(BEAD, "town", "gp-new")
    value["metadata"]["annotations"] = {"gastown.dev/actor": declared}
    try:
        client.request("POST", paths.with_query(paths.collection(BEAD, "town"), dryRun="All"), value)
    except Invalid as error:
        return "the annotation gastown.dev/actor is the authenticated writer" in error.message
    return False
