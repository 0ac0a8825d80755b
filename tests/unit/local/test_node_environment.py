"""Variables, references between them, and what a pod is told about itself."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gastown.local.node.addresses import pod_address
from gastown.local.node.downward import UnknownField, field_value, parse_quantity, resource_value
from gastown.local.node.environment import api_server_variables, base_variables, expand, service_variables
from gastown.local.node.services import ServiceDirectory

POD: dict[str, Any] = {
    "metadata": {
        "name": "furiosa",
        "namespace": "town",
        "uid": "u-1",
        "labels": {"b": "two", "a": 'say "hi"\n'},
        "annotations": {"gastown.dev/actor": "mayor"},
    },
    "spec": {"nodeName": "laptop", "serviceAccountName": "furiosa"},
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("http://$(HOST):$(PORT)", "http://h:80", id="known names"),
        pytest.param("$(NOWHERE)", "$(NOWHERE)", id="an unknown name stays"),
        pytest.param("$$(HOST)", "$(HOST)", id="an escaped reference"),
        pytest.param("$$$(HOST)", "$h", id="a dollar before a reference"),
        pytest.param("$HOST ${HOST} $", "$HOST ${HOST} $", id="the shell's own forms are left to the shell"),
        pytest.param("$(HOST", "$(HOST", id="an unfinished reference"),
    ],
)
def test_references_are_expanded_as_by_a_kubelet(text: str, expected: str) -> None:
    assert expand(text, {"HOST": "h", "PORT": "80"}) == expected


@given(st.text(alphabet=st.characters(exclude_characters="$")))
def test_text_without_a_dollar_is_never_changed(text: str) -> None:
    assert expand(text, {"A": "b"}) == text


@given(st.text(alphabet="$()AB "))
def test_doubling_every_dollar_protects_any_text(text: str) -> None:
    assert expand(text.replace("$", "$$"), {"A": "x", "B": "y"}) == text


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("metadata.name", "furiosa"),
        ("metadata.uid", "u-1"),
        ("metadata.labels['b']", "two"),
        ("metadata.annotations['gastown.dev/actor']", "mayor"),
        ("metadata.labels['none']", ""),
        ("metadata.labels", 'a="say \\"hi\\"\\n"\nb="two"'),
        ("spec.nodeName", "laptop"),
        ("spec.serviceAccountName", "furiosa"),
        ("status.podIP", pod_address("laptop", "town", "furiosa")),
        ("status.hostIP", pod_address("laptop", "town", "furiosa")),
    ],
)
def test_a_field_reference_gives_the_pods_own_facts(path: str, expected: str) -> None:
    assert field_value(POD, path) == expected


def test_an_unknown_field_is_named() -> None:
    with pytest.raises(UnknownField, match=r"status\.secrets"):
        field_value(POD, "status.secrets")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("500m", Decimal("0.5")),
        ("1Gi", Decimal(2**30)),
        ("1.5k", Decimal(1500)),
        ("2e3", Decimal(2000)),
        ("0", Decimal(0)),
        ("100n", Decimal("1e-7")),
    ],
)
def test_quantities_are_read(text: str, expected: Decimal) -> None:
    assert parse_quantity(text) == expected


@pytest.mark.parametrize("text", ["", "many", "1 Gi", "1Gib", "--1"])
def test_what_is_no_quantity_is_refused(text: str) -> None:
    with pytest.raises(UnknownField):
        parse_quantity(text)


def test_resources_are_told_in_divisors_rounded_up() -> None:
    container = {"resources": {"limits": {"cpu": "1500m"}, "requests": {"memory": "100Mi"}}}
    node = {"cpu": "64", "memory": "1Gi"}
    assert resource_value(container, "limits.cpu", "1", node) == "2"
    assert resource_value(container, "limits.cpu", "1m", node) == "1500"
    assert resource_value(container, "requests.memory", "1Mi", node) == "100"
    assert resource_value(container, "limits.memory", "", node) == str(2**30)
    with pytest.raises(UnknownField):
        resource_value(container, "cpu", "", node)


def test_the_nodes_tools_come_first_on_path() -> None:
    variables = base_variables(["/venv/bin", "/tools"], "/home/u", "furiosa")
    assert variables["PATH"].startswith("/venv/bin:/tools:/usr/local/sbin:")
    assert variables["HOSTNAME"] == "furiosa"


def test_the_api_server_is_found_by_in_cluster_clients() -> None:
    variables = api_server_variables("127.0.0.1", "6443")
    assert (variables["KUBERNETES_SERVICE_HOST"], variables["KUBERNETES_SERVICE_PORT"]) == ("127.0.0.1", "6443")


def test_service_variables_tell_the_target_port_since_nothing_translates_here() -> None:
    ports: dict[str, list[Mapping[str, Any]]] = {
        "web-ui": [{"port": 80, "targetPort": 8080, "name": "http"}, {"port": 9, "targetPort": "named"}]
    }
    variables = service_variables({"web-ui": "127.64.0.9"}, ports)
    assert variables == {"WEB_UI_SERVICE_HOST": "127.64.0.9", "WEB_UI_SERVICE_PORT": "8080", "WEB_UI_SERVICE_PORT_HTTP": "8080"}


def _service(name: str, selector: dict[str, str] | None) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "town"}, "spec": {"selector": selector, "ports": []}}


def _pod(name: str, labels: dict[str, str], **metadata: str) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "namespace": "town", "uid": f"uid-{name}", "labels": labels, **metadata},
        "spec": {"nodeName": "laptop"},
    }


def test_a_service_name_leads_to_the_newest_pod_that_stays() -> None:
    directory = ServiceDirectory()
    directory.replace_services([_service("web", {"app": "web"}), _service("lonely", {"app": "x"}), _service("kubernetes", None)])
    directory.set_pod(_pod("old", {"app": "web"}, creationTimestamp="2026-01-01T00:00:00Z"))
    directory.set_pod(_pod("new", {"app": "web", "more": "1"}, creationTimestamp="2026-01-02T00:00:00Z"))
    leaving = _pod("leaving", {"app": "web"}, creationTimestamp="2026-01-03T00:00:00Z", deletionTimestamp="2026-01-03T00:00:01Z")
    directory.set_pod(leaving)
    text = directory.hosts_file(_pod("caller", {}))
    assert f"{pod_address('laptop', 'town', 'new')} web web.town web.town.svc web.town.svc.cluster.local\n" in text
    assert f"{pod_address('laptop', 'town', 'caller')} caller\n" in text
    assert "127.0.0.1 lonely lonely.town " in text
    directory.remove_pod("uid-new")
    assert f"{pod_address('laptop', 'town', 'old')} web " in directory.hosts_file(_pod("caller", {}))
