"""The blocking client and the API server itself; its bad days are in unit/kube."""

from __future__ import annotations

import threading

import pytest

from gastown.api.bead import Bead, BeadSpec
from gastown.api.codec import from_dict
from gastown.api.kinds import BEAD, SERVICE_ACCOUNT
from gastown.api.meta import ObjectMeta
from gastown.kube import rest
from gastown.kube.configuration import Configuration
from gastown.kube.errors import AlreadyExists, Conflict, Forbidden, Invalid, NotFound
from support.cluster import Cluster

pytestmark = pytest.mark.cluster


def bead(namespace: str, name: str, **spec: object) -> dict[str, object]:
    return {
        "apiVersion": BEAD.api_version,
        "kind": BEAD.name,
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"title": "Greet", **spec},
    }


def test_an_object_is_made_read_changed_and_deleted(api_server: Cluster, namespace: str) -> None:
    with api_server.client() as client:
        made = client.create(BEAD, Bead(metadata=ObjectMeta(name="gp-1", namespace=namespace), spec=BeadSpec(title="Greet")))
        client.merge_patch(BEAD, namespace, "gp-1", {"status": {"phase": "Ready"}}, subresource="status")
        read = from_dict(Bead, client.get(BEAD, namespace, "gp-1"))
        assert (read.spec.title, read.status.phase) == ("Greet", "Ready")
        client.delete(BEAD, namespace, "gp-1", uid=made["metadata"]["uid"])
        with pytest.raises(NotFound):
            client.get(BEAD, namespace, "gp-1")


def test_a_second_create_of_the_same_name_is_told_apart_from_a_conflict(api_server: Cluster, namespace: str) -> None:
    with api_server.client() as client:
        first = client.create(BEAD, bead(namespace, "gp-1"))
        with pytest.raises(AlreadyExists):
            client.create(BEAD, bead(namespace, "gp-1"))
        client.merge_patch(BEAD, namespace, "gp-1", {"spec": {"priority": 1}})
        stale = {"metadata": {"resourceVersion": first["metadata"]["resourceVersion"]}, "spec": {"priority": 3}}
        with pytest.raises(Conflict):
            client.merge_patch(BEAD, namespace, "gp-1", stale)


def test_a_later_object_of_the_same_name_is_not_deleted(api_server: Cluster, namespace: str) -> None:
    with api_server.client() as client:
        first = client.create(BEAD, bead(namespace, "gp-1"))
        client.delete(BEAD, namespace, "gp-1")
        client.create(BEAD, bead(namespace, "gp-1"))
        with pytest.raises(Conflict):
            client.delete(BEAD, namespace, "gp-1", uid=first["metadata"]["uid"])
        client.get(BEAD, namespace, "gp-1")


def test_a_refused_object_is_told_in_the_words_of_its_crd(api_server: Cluster, namespace: str) -> None:
    with api_server.client() as client, pytest.raises(Invalid, match="the name of a bead is <prefix>-<id>"):
        client.create(BEAD, bead(namespace, "nodash"))


def test_each_manager_applies_its_own_fields(api_server: Cluster, namespace: str) -> None:
    with api_server.client() as client:
        client.apply(BEAD, bead(namespace, "gp-1", priority=1), manager="one")
        both = client.apply(BEAD, {"metadata": {"name": "gp-1", "namespace": namespace}, "spec": {"notes": "n"}}, manager="two")
        assert (both["spec"]["priority"], both["spec"]["notes"]) == (1, "n")


def test_a_list_of_several_pages_is_complete(api_server: Cluster, namespace: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rest, "PAGE", 3)
    with api_server.client() as client:
        for number in range(8):
            client.create(BEAD, bead(namespace, f"gp-{number}", priority=number % 2))
        assert [item["metadata"]["name"] for item in client.list_all(BEAD, namespace)] == [f"gp-{number}" for number in range(8)]


def test_a_pods_token_is_an_identity_without_rights_of_its_own(api_server: Cluster, namespace: str) -> None:
    with api_server.client() as admin:
        request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 600}}
        token = admin.create(SERVICE_ACCOUNT, request, namespace=namespace, name="default", subresource="token")["status"]["token"]
        configuration = admin.configuration
    as_pod = Configuration(server=configuration.server, authority_file=configuration.authority_file, token=token)
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    with rest.Client(as_pod, user_agent="gastown-tests") as client:
        told = client.request("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", review)
        assert told["status"]["userInfo"]["username"] == f"system:serviceaccount:{namespace}:default"
        with pytest.raises(Forbidden, match="cannot list resource"):
            client.list_all(BEAD, namespace)


@pytest.mark.parametrize("attempt", range(5))
def test_of_eight_claimers_exactly_one_wins(api_server: Cluster, namespace: str, attempt: int) -> None:
    with api_server.client() as client:
        client.create(BEAD, bead(namespace, "gp-1"))
        client.merge_patch(BEAD, namespace, "gp-1", {"status": {"phase": "Ready"}}, subresource="status")
    start, winners, losers = threading.Barrier(8), [], []

    def claim(name: str) -> None:
        with api_server.client() as client:
            client.get(BEAD, namespace, "gp-1")  # connected before the start
            start.wait(10)
            try:
                client.json_patch(
                    BEAD,
                    namespace,
                    "gp-1",
                    [
                        {"op": "test", "path": "/status/phase", "value": "Ready"},
                        {"op": "test", "path": "/spec/assignee", "value": ""},
                        {"op": "replace", "path": "/spec/assignee", "value": name},
                    ],
                )
                winners.append(name)
            except (Invalid, Conflict) as error:
                losers.append(type(error))

    threads = [threading.Thread(target=claim, args=(f"agent-{number}",)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    with api_server.client() as client:
        assert winners == [client.get(BEAD, namespace, "gp-1")["spec"]["assignee"]]
    assert len(losers) == 7
