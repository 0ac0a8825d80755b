"""A town for the table of rights: an installed chart, every identity with its real token, and something of everything to touch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

from gastown.api.kinds import AGENT, AGENT_PROFILE, BEAD, CONVOY, GATE_RUN, LEASE, MERGE_REQUEST, POD, RIG, SERVICE_ACCOUNT
from gastown.api.names import display_actor
from gastown.decide.session_pod import SessionSettings, session_pod
from gastown.kube import paths
from gastown.kube.errors import Invalid
from gastown.kube.rest import Client
from gastown.local.control_plane_commands import Options
from support import build
from support.cluster import running
from support.eventually import eventually
from support.installed_chart import SYSTEM, Installation
from support.manifests import HEAD, manifest
from support.rights_table import Identity, RightsTable, read_table

TOWN, VILLAGE, PEOPLE = "town", "village", "people"
# Holds what is foreign to everybody in the table.
OTHER = "greeter-rictus"
SETTINGS = SessionSettings("http://repo.invalid:8080", "gastown:test")
# Where a binding of an identity's own role counts.
RBAC = "rbac.authorization.k8s.io"


@dataclass(frozen=True)
class RightsTown:
    """The town, and what the placeholders of the table stand for."""

    installation: Installation
    table: RightsTable
    tokens: Mapping[str, str]
    pods: Mapping[str, dict[str, Any]]

    @cached_property
    def clients(self) -> dict[str, Client]:
        """One per identity, by its name."""
        return {name: self.installation.client_with(self.tokens.get(name, ""), name) for name in self.table.identities}

    @cached_property
    def administrator(self) -> Client:
        """Reads what a PUT starts from."""
        return self.installation.cluster.client()

    def words(self, identity: Identity) -> dict[str, str]:
        """Placeholder -> what it stands for when this identity speaks."""
        me = identity.short or identity.name
        in_town = identity.account.startswith("town/")
        rig = identity.session or "greeter"
        role = "polecat" if identity.session else "crew"
        return {
            "me": me,
            "me_lease": me if in_town else OTHER,
            "uid": self.pods[identity.name]["metadata"]["uid"] if identity.session else "",
            "display": display_actor(role, rig, me) if in_town and me.startswith(f"{rig}-") else me,
            "rig": rig,
            "other": OTHER,
            "new": f"gp-new{identity.name.replace('-', '')}",
            "word": f"word-{identity.name}",
            **{name: f"gp-{name}-{identity.name}" for name in ("own", "quick", "done")},
            **{name: f"gp-{name.replace('_', '-')}" for name in ("foreign", "foreign_quick", "ready", "blocked")},
        }


@pytest.fixture(scope="session")
def rights(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RightsTown]:
    """The town of the table, shared by the run: a test leaves what is in the table as it found it."""
    with rights_town(tmp_path_factory.mktemp("rights"), read_table()) as town:
        yield town


@contextmanager
def rights_town(root: Path, table: RightsTable) -> Iterator[RightsTown]:
    """Two towns as `helm install` leaves them, with everybody and everything of the table, and the policies in force."""
    with running(root / "town", Options(durable=False)) as cluster:
        installed = Installation(cluster)
        installed.run("install", f"towns[0].name={TOWN}", f"towns[1].name={VILLAGE}")
        cluster.make_namespace(PEOPLE)
        installed.wait_for_stamps()
        identities = [identity for identity in table.identities.values() if identity.account]
        with cluster.client() as administrator, installed.client_of(SYSTEM, "operator") as operator:
            _admit_everybody(administrator, identities)
            _furnish(administrator, operator, table)
            pods = {identity.name: start_session(administrator, operator, identity) for identity in identities if identity.session}
            start_session(administrator, operator, Identity(name="other", title="", account=f"{TOWN}/{OTHER}", session="greeter"))
            tokens = {one.name: installed.token_of(one.namespace, one.short, pods.get(one.name)) for one in identities}
            town = RightsTown(installed, table, tokens, pods)
            eventually(lambda: town.clients["editor"].list_all(BEAD, TOWN), 60, "people's aggregated roles")
            eventually(lambda: _is_foreign_submission_refused(town), 90, "the server knows the kind that a policy asks")
            yield town
            for client in town.clients.values():
                client.close()
            town.administrator.close()


def start_session(administrator: Client, operator: Client, identity: Identity) -> dict[str, Any]:
    """The pod of an agent's session, made by the operator's own code and rights; without a node it stays Pending, which is enough."""
    namespace, name = identity.namespace, identity.short
    agent = administrator.create(AGENT, manifest(AGENT, namespace, name, rigName=identity.session))
    subject = build.agent(name, rigName=identity.session, meta={"namespace": namespace, "uid": agent["metadata"]["uid"]})
    bead = build.bead("gp-foreign" if name == OTHER else f"gp-own-{identity.name}")
    wanted = session_pod(subject, bead, build.rig(identity.session), build.profile(), 1, SETTINGS)
    pod = operator.create(POD, wanted)
    told = {"session": {"uid": pod["metadata"]["uid"], "beadName": bead.metadata.name}}
    operator.merge_patch(AGENT, namespace, name, {"status": told}, subresource="status")
    return pod


def _is_foreign_submission_refused(town: RightsTown) -> bool:
    me = town.table.identities["agent"].short
    fields = {"beadName": "gp-foreign", "agentName": me, "branch": f"polecat/{me}/gp-foreign"}
    path = paths.with_query(paths.collection(MERGE_REQUEST, TOWN), dryRun="All")
    try:
        town.clients["agent"].request("POST", path, manifest(MERGE_REQUEST, TOWN, f"gp-foreign-{HEAD[:12]}", **fields))
    except Invalid:
        return True
    return False


def _admit_everybody(administrator: Client, identities: list[Identity]) -> None:
    accounts = {identity.account for identity in identities} | {f"{TOWN}/{OTHER}"}
    made_by_others = {f"{SYSTEM}/operator", f"{SYSTEM}/repo", f"{TOWN}/default"}
    for account in sorted(accounts - made_by_others):
        namespace, name = account.split("/")
        metadata = {"name": name, "namespace": namespace}
        administrator.create(SERVICE_ACCOUNT, {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata})
    eventually(lambda: administrator.get(SERVICE_ACCOUNT, TOWN, "default"), 60, "the default ServiceAccount")
    for identity in identities:
        for role in identity.roles:
            kind, _, role_name = role.partition("/")
            binding = {
                "apiVersion": f"{RBAC}/v1",
                "kind": "RoleBinding",
                "metadata": {"name": f"{identity.name}-{role_name}", "namespace": TOWN},
                "roleRef": {"apiGroup": RBAC, "kind": kind, "name": role_name},
                "subjects": [{"kind": "ServiceAccount", "name": identity.short, "namespace": identity.namespace}],
            }
            administrator.request("POST", f"/apis/{RBAC}/v1/namespaces/{TOWN}/rolebindings", binding)


def _furnish(administrator: Client, operator: Client, table: RightsTable) -> None:
    def bead(name: str, holder: str, phase: str, **spec: Any) -> None:
        remark = {"text": "Take care", "author": "ada"}
        value = manifest(BEAD, TOWN, name, title="Work", owner="ada", rigName="greeter", assignee=holder, comments=[remark], **spec)
        value["metadata"]["annotations"] = {"gastown.dev/local-name": "work"}
        administrator.create(BEAD, value)
        operator.merge_patch(BEAD, TOWN, name, {"status": {"phase": phase}}, subresource="status")

    for identity in table.identities.values():
        me = identity.short or identity.name
        bead(f"gp-own-{identity.name}", me, "Working")
        bead(f"gp-quick-{identity.name}", me, "Working", delivery="None")
        bead(f"gp-done-{identity.name}", me, "Closed", delivery="None", state="closed", closeReason="found it")
        if identity.account.startswith(f"{TOWN}/"):
            administrator.create(LEASE, lease(me))
    administrator.create(LEASE, lease(OTHER))
    bead("gp-foreign", OTHER, "Working")
    bead("gp-foreign-quick", OTHER, "Working", delivery="None")
    bead("gp-ready", "", "Ready")
    bead("gp-blocked", "", "Blocked")
    for kind in (RIG, AGENT_PROFILE, CONVOY):
        administrator.create(kind, manifest(kind, TOWN))
    administrator.create(GATE_RUN, manifest(GATE_RUN, TOWN, "greeter-run"))
    administrator.create(MERGE_REQUEST, manifest(MERGE_REQUEST, TOWN, "gp-submitted"))
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "model-key"}, "stringData": {"key": "secret"}}
    administrator.request("POST", f"/api/v1/namespaces/{TOWN}/secrets", secret)


def lease(name: str) -> dict[str, Any]:
    """As the operator makes it for an agent."""
    metadata = {"name": name, "namespace": TOWN}
    return {"apiVersion": LEASE.api_version, "kind": "Lease", "metadata": metadata, "spec": {"leaseDurationSeconds": 90}}
