"""What the API server makes of our kinds: defaults, refusals that say what to do, selectors, status apart from spec."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from gastown.api.codec import from_dict, to_dict
from gastown.api.kinds import AGENT, AGENT_PROFILE, BEAD, CONVOY, GASTOWN_KINDS, GATE_RUN, MERGE_REQUEST, RIG, TOWN, Kind
from gastown.api.merge_request import MergeRequest
from gastown.kube import paths
from gastown.kube.errors import Invalid
from gastown.kube.rest import Client
from support.cluster import CRDS, Cluster
from support.manifests import HEAD, manifest

pytestmark = pytest.mark.cluster

each_kind = pytest.mark.parametrize("kind", GASTOWN_KINDS, ids=lambda kind: kind.name)


@pytest.fixture(scope="module")
def client(api_server: Cluster) -> Iterator[Client]:
    with api_server.client() as found:
        yield found


def version_of(kind: Kind) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((CRDS / f"gastown.dev_{kind.plural}.yaml").read_text())["spec"]["versions"][0]
    return found


def try_to_create(client: Client, kind: Kind, value: dict[str, Any], *, strict: bool = False) -> dict[str, Any]:
    """The object as it would be stored; nothing is."""
    path = paths.collection(kind, value["metadata"]["namespace"])
    return client.request("POST", paths.with_query(path, dryRun="All", fieldValidation="Strict" if strict else "Ignore"), value)


# Installed and found


@each_kind
def test_a_kind_is_established_under_all_its_names(client: Client, kind: Kind) -> None:
    crd = client.request("GET", f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{kind.plural}.{kind.group}")
    conditions = {condition["type"]: condition["status"] for condition in crd["status"]["conditions"]}
    assert conditions["Established"] == "True"
    assert conditions["NamesAccepted"] == "True"
    assert "NonStructuralSchema" not in conditions
    assert crd["status"]["acceptedNames"]["categories"] == ["gastown"]


def test_short_names_and_the_category_lead_to_the_kinds(api_server: Cluster, namespace: str) -> None:
    api_server.apply(*(manifest(kind, namespace) for kind in GASTOWN_KINDS))
    by_short_name = api_server.kubectl("get", "town,rig,agp,agt,bd,cvy,mr,gr", "-n", namespace, "-o", "name").stdout.split()
    by_category = api_server.kubectl("get", "gastown", "-n", namespace, "-o", "name").stdout.split()
    assert len(by_short_name) == len(GASTOWN_KINDS)
    assert sorted(by_short_name) == sorted(by_category)


# Refused, with what to do


@dataclass(frozen=True)
class Refusal:
    """Something the server says no to, and the nearest thing it accepts.

    Attributes:
        bad, good: Fields of spec, beside those of the smallest object.
        says: What the answer must contain.
        before: Spec of an object that exists already, to which bad or good is then patched; None creates.
    """

    kind: Kind
    says: str
    bad: dict[str, Any] = field(default_factory=dict)
    good: dict[str, Any] = field(default_factory=dict)
    bad_name: str = ""
    good_name: str = ""
    before: dict[str, Any] | None = None


def edge(id_: str, **more: Any) -> dict[str, Any]:
    return {"dependencies": [{"id": id_, **more}]}


def template(**more: Any) -> dict[str, Any]:
    return {"templates": [{"name": "parser", "title": "Parse", **more}]}


def gate(**more: Any) -> dict[str, Any]:
    return {"gates": [{"name": "unit", **more}]}


FIXED_MR = "of a merge request is fixed; submit"
REFUSALS = {
    "a town by another name": Refusal(TOWN, "it is named town; set metadata.name to town", bad_name="village"),
    "a prefix that changes": Refusal(RIG, "create a new Rig and move the beads", bad={"prefix": "gq"}, good={"prefix": "gp"}, before={}),
    "the prefix of the town itself": Refusal(RIG, "prefix hq belongs to beads of the town itself; choose another", bad={"prefix": "hq"}),
    "a password in the upstream": Refusal(
        RIG,
        "put it into a Secret and name that in git.secretName",
        bad={"git": {"upstream": "https://me:secret@git.example.com/greeter.git"}},
        good={"git": {"upstream": "https://git.example.com/greeter.git"}},
    ),
    "a branch that git refuses": Refusal(
        RIG, "git refuses this branch name", bad={"git": {"branch": "a..b"}}, good={"git": {"branch": "release/1"}}
    ),
    "a command gate without command": Refusal(RIG, "a gate of type Command needs command", bad=gate(), good=gate(command=["make", "test"])),
    "an approval gate with a command": Refusal(
        RIG, "command is for gates of type Command only; remove it", bad=gate(type="Approval", command=["x"]), good=gate(type="Approval")
    ),
    "a rig with too long a name": Refusal(RIG, "use at most 40 characters and no dots", bad_name="g" * 41, good_name="g" * 40),
    "a shell profile without command": Refusal(
        AGENT_PROFILE, "the adapters shell and command need command", bad={"command": None}, good={"adapter": "claude", "command": None}
    ),
    "a variable of the operator's": Refusal(
        AGENT_PROFILE,
        "are set by the operator; choose another name",
        bad={"env": [{"name": "GASTOWN_BEAD"}]},
        good={"env": [{"name": "GASTOWN"}]},
    ),
    "a program with a NUL": Refusal(
        AGENT_PROFILE, "an argument cannot hold a NUL character; remove it", bad={"command": ["a\0b"]}, good={"command": ["a b"]}
    ),
    "a program that no variable can hold": Refusal(
        AGENT_PROFILE,
        "may have 20000 characters in all; put a longer program into the image",
        bad={"command": ["x" * 10_000] * 2 + ["y"]},
        good={"command": ["x" * 10_000] * 2},
    ),
    "a variable with a NUL": Refusal(
        AGENT_PROFILE,
        "a variable cannot hold a NUL character; remove it",
        bad={"env": [{"name": "A", "value": "a\0b"}]},
        good={"env": [{"name": "A", "value": "$(B) 'c'"}]},
    ),
    "a resource that Kubernetes has not": Refusal(
        AGENT_PROFILE,
        "such as cpu, memory, ephemeral-storage or example.com/gpu",
        bad={"resources": {"requests": {"ram": "1Gi"}}},
        good={"resources": {"limits": {"cpu": "1", "example.com/gpu": "2", "hugepages-2Mi": "4Mi"}}},
    ),
    "a gate with a NUL": Refusal(
        RIG, "an argument cannot hold a NUL character; remove it", bad=gate(command=["a\0b"]), good=gate(command=["a b"])
    ),
    "gates that no variable can hold": Refusal(
        RIG,
        "the commands of all gates may have 20000 characters together",
        bad={"gates": [{"name": f"g{number}", "command": ["x" * 4001]} for number in range(5)]},
        good={"gates": [{"name": f"g{number}", "command": ["x" * 4000]} for number in range(5)]},
    ),
    "an agent of another role": Refusal(AGENT, "the role of an agent is fixed", bad={"role": "crew"}, good={"role": "polecat"}, before={}),
    "an agent of another rig": Refusal(
        AGENT, "the rig of an agent is fixed", bad={"rigName": "singer"}, good={"rigName": "greeter"}, before={"role": "crew"}
    ),
    "a polecat without rig": Refusal(
        AGENT, "a polecat works on one rig; set rigName", bad={"rigName": None}, good={"rigName": None, "role": "mayor"}
    ),
    "an agent with a dot": Refusal(AGENT, "use at most 63 characters and no dots", bad_name="greeter-a.b", good_name="greeter-a-b"),
    "a polecat named without its rig": Refusal(AGENT, "the name of a polecat is <rig>-<name>", bad_name="furiosa"),
    "a bead without prefix": Refusal(BEAD, "the name of a bead is <prefix>-<id> in lower case", bad_name="a3f8", good_name="gp-a3f8.1.2"),
    "a bead whose branch git would refuse": Refusal(
        BEAD, "git refuses branches that end in .lock", bad_name="gp-a.lock", good_name="gp-a.locks"
    ),
    "a bead that depends on itself": Refusal(BEAD, "remove the dependency on its own ID", bad=edge("gp-a3f8"), good=edge("gp-a3f9")),
    "a bead that is its own parent": Refusal(BEAD, "remove parent", bad={"parent": "gp-a3f8"}, good={"parent": "gp-a3f9"}),
    "a reason without closing": Refusal(
        BEAD,
        "set state to closed as well, or remove closeReason",
        bad={"closeReason": "done"},
        good={"closeReason": "done", "state": "closed"},
    ),
    "reopened with its reason": Refusal(
        BEAD,
        "when reopening, in the same change",
        bad={"state": "open"},
        good={"state": "open", "closeReason": None},
        before={"state": "closed", "closeReason": "done"},
    ),
    "a pinned bead that waits": Refusal(
        BEAD,
        "remove deferUntil, or set state to deferred",
        bad={"state": "pinned", "deferUntil": "2026-01-01T00:00:00Z"},
        good={"state": "deferred", "deferUntil": "2026-01-01T00:00:00Z"},
    ),
    "a title of two lines": Refusal(
        BEAD,
        "a title is one line of text without control characters; put the rest into description",
        bad={"title": "Say hello\nand goodbye"},
        good={"title": "Say «hello» 👋"},
    ),
    "a title that a terminal obeys": Refusal(BEAD, "a title is one line of text", bad={"title": "\x9b2J"}),
    "an owner that a terminal obeys": Refusal(
        BEAD, "an owner is one line of text without control characters", bad={"owner": "\x1b[2J"}, good={"owner": "Ada <ada@example.com>"}
    ),
    "an assignee of two lines": Refusal(BEAD, "an assignee is one line of text", bad={"assignee": "a\u2028b"}, good={"assignee": "Ada L."}),
    "an edge that would block nothing": Refusal(
        BEAD,
        "write blocks, conditional-blocks, waits-for or merge-blocks",
        bad=edge("gp-1", type="blocked-by"),
        good=edge("gp-1", type="related"),
    ),
    "a gate of an edge that is unknown": Refusal(
        BEAD,
        "must be all-children or any-children",
        bad=edge("gp-1", type="waits-for", metadata={"gate": "most"}),
        good=edge("gp-1", type="waits-for", metadata={"gate": "any-children"}),
    ),
    "a template that depends on itself": Refusal(
        CONVOY, "remove its own name from dependsOn", bad=template(dependsOn=["parser"]), good=template(dependsOn=["lexer"])
    ),
    "a merge request of another rig": Refusal(MERGE_REQUEST, FIXED_MR, bad={"rigName": "singer"}, good={"rigName": "greeter"}, before={}),
    "a merge request of another bead": Refusal(MERGE_REQUEST, FIXED_MR, bad={"beadName": "gp-1"}, good={"beadName": "gp-a3f8"}, before={}),
    "a merge request of another agent": Refusal(MERGE_REQUEST, FIXED_MR, bad={"agentName": "greeter-nux"}, before={}),
    "a merge request of another head": Refusal(MERGE_REQUEST, FIXED_MR, bad={"head": HEAD[::-1]}, good={"head": HEAD}, before={}),
    "a merge request of another branch": Refusal(MERGE_REQUEST, FIXED_MR, bad={"branch": "polecat/x"}, before={}),
    "a merge request to another target": Refusal(MERGE_REQUEST, FIXED_MR, bad={"target": "release"}, good={"target": "main"}, before={}),
    "a merge request of another convoy": Refusal(MERGE_REQUEST, FIXED_MR, bad={"convoyName": "second"}, before={}),
    "a merge request with other claims": Refusal(
        MERGE_REQUEST, FIXED_MR, bad={"claims": []}, good={"claims": ["green"]}, before={"claims": ["green"]}
    ),
    "a gate run of another attempt": Refusal(
        GATE_RUN, "create another with the next attempt", bad={"attempt": 2}, good={"attempt": 1}, before={}
    ),
}


@pytest.mark.parametrize("refusal", REFUSALS.values(), ids=REFUSALS)
def test_what_is_refused_is_told_with_its_remedy_and_its_neighbour_is_accepted(client: Client, namespace: str, refusal: Refusal) -> None:
    with pytest.raises(Invalid, match=re.escape(refusal.says)):
        write(client, namespace, refusal, refusal.bad, refusal.bad_name)
    write(client, namespace, refusal, refusal.good, refusal.good_name)


def write(client: Client, namespace: str, refusal: Refusal, spec: dict[str, Any], name: str) -> None:
    kind = refusal.kind
    if refusal.before is None:
        try_to_create(client, kind, manifest(kind, namespace, name, **spec))
        return
    existing = manifest(kind, namespace, **refusal.before)
    client.apply(kind, existing, manager="test")
    client.merge_patch(kind, namespace, existing["metadata"]["name"], {"spec": spec})


def rule_messages(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        for rule in schema.get("x-kubernetes-validations", []):
            yield rule["message"]
        for below in schema.values():
            yield from rule_messages(below)
    elif isinstance(schema, list):
        for below in schema:
            yield from rule_messages(below)


@each_kind
def test_every_rule_of_a_kind_has_a_case_above(kind: Kind) -> None:
    said = [refusal.says for refusal in REFUSALS.values() if refusal.kind is kind]
    # Convoy templates carry the same rules on dependencies as beads, where they are tried.
    said += [refusal.says for refusal in REFUSALS.values() if kind is CONVOY and refusal.kind is BEAD]
    for message in set(rule_messages(version_of(kind)["schema"])):
        assert any(words in message for words in said), message


@pytest.mark.parametrize("value", ["", "tomorrow", "2026-01-01"])
def test_a_time_that_is_none_is_refused(client: Client, namespace: str, value: str) -> None:
    with pytest.raises(Invalid, match="dueTime"):
        try_to_create(client, BEAD, manifest(BEAD, namespace, dueTime=value))


@pytest.mark.parametrize("field_name", ["beadName", "rigName", "agentName"])
def test_a_merge_request_must_name_what_it_is_about(client: Client, namespace: str, field_name: str) -> None:
    missing: dict[str, Any] = {field_name: None}
    with pytest.raises(Invalid, match=f"spec.{field_name}: Required"):
        try_to_create(client, MERGE_REQUEST, manifest(MERGE_REQUEST, namespace, **missing))


@pytest.mark.parametrize(
    ("kind", "spec"),
    [
        (RIG, {"gates": [{"name": "unit", "command": ["a"]}, {"name": "unit", "command": ["b"]}]}),
        (BEAD, {"dependencies": [{"id": "gp-1"}, {"id": "gp-1", "type": "blocks"}]}),
        (CONVOY, {"templates": [{"name": "a", "title": "A"}, {"name": "a", "title": "B"}]}),
        (AGENT_PROFILE, {"env": [{"name": "A"}, {"name": "A"}]}),
    ],
    ids=["gates", "dependencies", "templates", "variables"],
)
def test_two_entries_of_one_name_are_refused(client: Client, namespace: str, kind: Kind, spec: dict[str, Any]) -> None:
    with pytest.raises(Invalid, match="Duplicate value"):
        try_to_create(client, kind, manifest(kind, namespace, **spec))


def test_ids_of_real_imports_are_accepted(client: Client, namespace: str) -> None:
    for name in ("gt-00cu", "bd-kwro.11.2", "mol-deacon-patrol.context-check", "gt-8v8.1"):
        edges = edge("mol-deacon-patrol.session-gc", type="discovered-from")
        try_to_create(
            client, BEAD, manifest(BEAD, namespace, name, type="merge-request", createdTime="2025-11-02T21:58:07.295058-08:00", **edges)
        )


# Filled in and pruned


def test_a_claim_finds_the_assignee_of_a_new_bead_to_be_empty(client: Client, namespace: str) -> None:
    made = client.create(BEAD, manifest(BEAD, namespace, **edge("gp-1")))
    assert made["spec"] == {
        "title": "Say hello",
        "assignee": "",
        "delivery": "Commit",
        "priority": 2,
        "state": "open",
        "type": "task",
        "dependencies": [{"id": "gp-1", "type": "blocks"}],
    }
    claim = [{"op": "test", "path": "/spec/assignee", "value": ""}, {"op": "replace", "path": "/spec/assignee", "value": "greeter-furiosa"}]
    client.json_patch(BEAD, namespace, "gp-a3f8", claim)
    with pytest.raises(Invalid):
        client.json_patch(BEAD, namespace, "gp-a3f8", claim)


def test_a_town_needs_no_spec_at_all(client: Client, namespace: str) -> None:
    value = manifest(TOWN, namespace)
    del value["spec"]
    assert try_to_create(client, TOWN, value)["spec"]["capacity"] == {"maxPolecats": 50, "maxGateRuns": 8}


@each_kind
def test_what_the_server_fills_in_is_what_the_dataclass_reads_from_absence(client: Client, namespace: str, kind: Kind) -> None:
    value = manifest(kind, namespace)
    stored = try_to_create(client, kind, value)
    assert from_dict(kind.type, {"spec": stored["spec"]}) == from_dict(kind.type, {"spec": value["spec"]})


def test_an_unknown_field_is_dropped_or_when_asked_refused_by_name(client: Client, namespace: str) -> None:
    value = manifest(BEAD, namespace, asignee="greeter-furiosa")
    assert "asignee" not in try_to_create(client, BEAD, value)["spec"]
    with pytest.raises(Exception, match=r'unknown field "spec\.asignee"'):
        try_to_create(client, BEAD, value, strict=True)


# Selected


@each_kind
def test_every_selectable_field_selects(client: Client, namespace: str, kind: Kind) -> None:
    client.create(kind, manifest(kind, namespace))
    fields = [row["jsonPath"].removeprefix(".") for row in version_of(kind).get("selectableFields", [])]
    assert len(fields) <= 8
    for path in fields:
        assert client.list_all(kind, namespace, field_selector=f"{path}=no-such-value") == []
        assert len(client.list_all(kind, namespace, field_selector=f"{path}!=no-such-value")) == 1


def test_beads_are_selected_by_holder_and_phase_at_once(client: Client, namespace: str) -> None:
    for name, phase in (("gp-1", "Working"), ("gp-2", "Ready")):
        client.create(BEAD, manifest(BEAD, namespace, name, assignee="greeter-furiosa"))
        client.merge_patch(BEAD, namespace, name, {"status": {"phase": phase}}, subresource="status")
    found = client.list_all(BEAD, namespace, field_selector="spec.assignee=greeter-furiosa,status.phase!=Ready")
    assert [bead["metadata"]["name"] for bead in found] == ["gp-1"]


# Status apart from spec


@each_kind
def test_spec_and_status_are_written_by_different_doors(client: Client, namespace: str, kind: Kind) -> None:
    value = manifest(kind, namespace)
    name = value["metadata"]["name"]
    made = client.create(kind, {**value, "status": {"observedGeneration": 7}})
    assert "status" not in made
    patch = {"metadata": {"labels": {"a": "b"}}, "spec": {"suspend": True}, "status": {"observedGeneration": 1}}
    after = client.merge_patch(kind, namespace, name, patch, subresource="status")
    assert after["status"] == {"observedGeneration": 1}
    assert after["spec"] == made["spec"]
    assert after["metadata"]["generation"] == 1


@each_kind
def test_a_status_of_defaults_as_the_codec_writes_it_is_accepted(client: Client, namespace: str, kind: Kind) -> None:
    value = manifest(kind, namespace)
    client.create(kind, value)
    condition = {"type": "Ready", "status": "True", "reason": "Accepted", "lastTransitionTime": "2026-01-01T00:00:00Z"}
    status = from_dict(kind.type, {"status": {"conditions": [condition]}}).status
    after = client.merge_patch(kind, namespace, value["metadata"]["name"], {"status": to_dict(status)}, subresource="status")
    assert from_dict(kind.type, {"status": after["status"]}).status == status


def test_refinery_and_operator_each_apply_their_own_conditions_of_a_merge_request(client: Client, namespace: str) -> None:
    value = manifest(MERGE_REQUEST, namespace)
    client.create(MERGE_REQUEST, value)
    times = {"lastTransitionTime": "2026-01-01T00:00:00Z"}

    def apply(manager: str, **status: Any) -> MergeRequest:
        body = {"metadata": {"name": value["metadata"]["name"], "namespace": namespace}, "status": status}
        return from_dict(MergeRequest, client.apply(MERGE_REQUEST, body, manager=manager, subresource="status"))

    apply("gastown-refinery", phase="Verifying", conditions=[{"type": "HeadPinned", "status": "True", "reason": "HeadPinned", **times}])
    apply("gastown-operator", conditions=[{"type": "Verified", "status": "True", "reason": "Verified", **times}])
    after = apply(
        "gastown-refinery", phase="Queued", conditions=[{"type": "HeadPinned", "status": "True", "reason": "HeadPinned", **times}]
    )
    assert after.status.phase == "Queued"
    assert [condition.type for condition in after.status.conditions] == ["HeadPinned", "Verified"]


def test_kubectl_waits_for_a_condition(api_server: Cluster, client: Client, namespace: str) -> None:
    client.create(BEAD, manifest(BEAD, namespace))
    landed = {"type": "Landed", "status": "True", "reason": "Landed", "lastTransitionTime": "2026-01-01T00:00:00Z"}
    client.merge_patch(BEAD, namespace, "gp-a3f8", {"status": {"conditions": [landed]}}, subresource="status")
    api_server.kubectl("wait", "--for=condition=Landed", "bead/gp-a3f8", "-n", namespace, "--timeout=10s")


# Large


def test_a_convoy_of_5000_beads_and_200_templates_is_stored_and_changed(client: Client, namespace: str) -> None:
    beads = [f"gp-{number:05}" for number in range(5000)]
    templates = [
        {"name": f"t{number}", "title": "T", "dependsOn": [f"t{before}" for before in range(max(0, number - 10), number)]}
        for number in range(200)
    ]
    client.create(CONVOY, manifest(CONVOY, namespace, beads=beads, templates=templates))
    after = client.merge_patch(CONVOY, namespace, "first", {"spec": {"paused": True}})
    assert (len(after["spec"]["beads"]), len(after["spec"]["templates"])) == (5000, 200)
    # The list is atomic: an entry of managedFields per bead would triple the object in every event of the watch.
    assert "gp-00001" not in json.dumps(after["metadata"])


def test_one_more_is_refused_with_the_bound(client: Client, namespace: str) -> None:
    with pytest.raises(Invalid, match="must have at most 5000 items"):
        try_to_create(client, CONVOY, manifest(CONVOY, namespace, beads=[f"gp-{number:05}" for number in range(5001)]))


# Read by people


@each_kind
def test_kubectl_explains_every_field(api_server: Cluster, kind: Kind) -> None:
    for part in ("spec", "status"):
        told = api_server.kubectl("explain", f"{kind.plural}.{part}", "--api-version", kind.api_version).stdout
        assert "<no description>" not in told
        assert "DESCRIPTION:" in told


def test_columns_tell_whether_a_bead_is_done_and_if_not_why(api_server: Cluster, client: Client, namespace: str) -> None:
    client.create(BEAD, manifest(BEAD, namespace, assignee="greeter-furiosa"))
    blocked = {
        "type": "Startable",
        "status": "False",
        "reason": "Blocked",
        "message": "waits for gp-1",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    client.merge_patch(
        BEAD, namespace, "gp-a3f8", {"status": {"phase": "Blocked", "blockedBy": ["gp-1"], "conditions": [blocked]}}, subresource="status"
    )
    header, row = api_server.kubectl("get", "beads", "-n", namespace).stdout.splitlines()
    assert header.split() == ["NAME", "PHASE", "WHY", "WAITING", "ASSIGNEE", "REWORKS", "P", "TITLE", "AGE"]
    assert row.split()[:5] == ["gp-a3f8", "Blocked", "Blocked", "greeter-furiosa", "2"]
    wide = api_server.kubectl("get", "beads", "-n", namespace, "-o", "wide").stdout
    assert '["gp-1"]' in wide
    assert "waits for gp-1" in wide


@each_kind
def test_every_column_points_at_a_field_that_exists(kind: Kind) -> None:
    version = version_of(kind)
    for column in version["additionalPrinterColumns"]:
        path = column["jsonPath"].removeprefix(".")
        schema = version["schema"]["openAPIV3Schema"]
        for step in re.sub(r"\[\?\(.*?\)\]", ".[]", path).split("."):
            if step == "metadata":
                break
            schema = schema["items"] if step == "[]" else schema["properties"][step]


def test_the_copies_in_the_chart_are_the_same_files() -> None:
    copies = Path(__file__).parents[2] / "charts" / "gastown" / "files" / "crds"
    assert {path.name: path.read_text() for path in CRDS.iterdir()} == {path.name: path.read_text() for path in copies.iterdir()}, (
        "run make update"
    )
