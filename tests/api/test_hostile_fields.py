"""Every string of every kind, filled with garbage: the server refuses it by the name of the field, or stores it, and then nobody minds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from gastown.api.kinds import GASTOWN_KINDS, Kind
from gastown.kube import paths
from gastown.kube.errors import ApiError, Invalid
from gastown.kube.rest import Client
from support.cluster import Cluster
from support.garbage import GARBAGE, Leaf, leaves, merged, with_leaf
from support.manifests import manifest

pytestmark = pytest.mark.cluster

each_kind = pytest.mark.parametrize("kind", GASTOWN_KINDS, ids=lambda kind: kind.name)
# So many of the values go into one field in the ordinary run; which ones differs from field to field.
SAMPLE = 3
# What a field needs beside it, by the rules between fields.
BESIDE: Mapping[str, Any] = {
    "Bead spec.closeReason": {"state": "closed"},
    "Rig spec.gates[]": {"gates": [{"command": ["true"]}]},
    "Agent spec.rigName": {"role": "crew"},
}


@pytest.fixture(scope="module")
def client(api_server: Cluster) -> Iterator[Client]:
    with api_server.client() as found:
        yield found


def spec_with(kind: Kind, namespace: str, leaf: Leaf, value: str) -> dict[str, Any]:
    """The smallest object that holds the value there."""
    body = manifest(kind, namespace)
    beside: Any = next((more for prefix, more in BESIDE.items() if f"{kind.name} {leaf}".startswith(prefix)), {})
    body["spec"] = merged(merged(body["spec"], beside), with_leaf(kind, leaf, value))
    return body


def values_for(number: int, *, everything: bool) -> list[tuple[str, str]]:
    named = list(GARBAGE.items())
    return named if everything else [named[(number * SAMPLE + step) % len(named)] for step in range(SAMPLE)]


def check(client: Client, kind: Kind, namespace: str, *, everything: bool) -> tuple[int, int]:
    """Try the values in each field; gives how many were stored and how many refused."""
    path = paths.with_query(paths.collection(kind, namespace), dryRun="All")
    wrong, accepted, refused = [], 0, 0
    for number, leaf in enumerate(leaves(kind, "spec")):
        for name, value in values_for(number, everything=everything):
            case = f"{leaf} with {name}"
            try:
                client.request("POST", path, spec_with(kind, namespace, leaf, value))
            except Invalid as error:
                refused += 1
                if leaf.may_hold(value) and "x-kubernetes-validations" not in leaf.schema and not _by_rule(error):
                    wrong.append(f"{case}: the schema lets it in, the server says {error.message[:200]}")
                elif leaf.place() not in error.message:
                    wrong.append(f"{case}: the refusal does not name {leaf.place()}: {error.message[:300]}")
                elif len(error.message) > 5000:
                    wrong.append(f"{case}: the refusal has {len(error.message)} characters")
            except ApiError as error:
                wrong.append(f"{case}: {error}")
            else:
                accepted += 1
                if not leaf.may_hold(value):
                    wrong.append(f"{case}: let in")
    assert not wrong, "\n".join(wrong)
    return accepted, refused


def _by_rule(error: Invalid) -> bool:
    """Whether a CEL rule refused it: those are written as sentences."""
    return ";" in error.message or "must be" in error.message


@each_kind
def test_garbage_is_refused_by_the_name_of_its_field_or_stored(client: Client, namespace: str, kind: Kind) -> None:
    accepted, refused = check(client, kind, namespace, everything=False)
    print(f"\n{kind.name}: {accepted} stored, {refused} refused")
    assert accepted + refused == SAMPLE * len(leaves(kind, "spec"))


@pytest.mark.soak
@each_kind
def test_all_garbage_in_all_fields(client: Client, namespace: str, kind: Kind) -> None:
    check(client, kind, namespace, everything=True)


@each_kind
def test_no_string_is_without_a_bound(kind: Kind) -> None:
    for leaf in (*leaves(kind, "spec"), *leaves(kind, "status")):
        is_bounded = {"maxLength", "enum", "format", "x-kubernetes-int-or-string"} & leaf.schema.keys() or leaf.path[-1] == "{key}"
        assert is_bounded, f"{kind.name} {leaf} has no maxLength"
