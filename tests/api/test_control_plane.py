"""The local control plane by itself: who gets in, and that a second start changes nothing."""

from __future__ import annotations

import pytest

from support.cluster import CRDS, Cluster

pytestmark = pytest.mark.cluster


def test_our_kinds_answer(api_server: Cluster) -> None:
    listed = api_server.kubectl("api-resources", "--api-group=gastown.dev", "-o", "name").stdout.split()
    assert len(listed) == len(list(CRDS.glob("*.yaml"))) > 0


def test_each_test_has_a_namespace_of_its_own(api_server: Cluster, namespace: str) -> None:
    assert api_server.get("serviceaccount", "default", namespace)["metadata"]["namespace"] == namespace
