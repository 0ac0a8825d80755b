"""Where the API server is, and who we are there."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
import yaml

from gastown.kube.configuration import Configuration, ConfigurationError, TokenFile, from_kubeconfig, in_cluster, is_in_cluster


@pytest.fixture
def mounted(tmp_path: Path) -> dict[str, str]:
    """The environment of a pod whose ServiceAccount is mounted at a folder of its own."""
    (tmp_path / "token").write_text("first\n")
    (tmp_path / "namespace").write_text("town")
    (tmp_path / "ca.crt").write_text("pem")
    return {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBERNETES_SERVICE_PORT": "443", "GASTOWN_SERVICEACCOUNT_DIR": str(tmp_path)}


def test_a_pod_finds_its_server_and_identity(mounted: dict[str, str]) -> None:
    configuration = in_cluster(mounted)
    assert (configuration.server, configuration.namespace, configuration.bearer_token()) == ("https://10.0.0.1:443", "town", "first")
    assert is_in_cluster(mounted)


def test_an_ipv6_server_is_put_in_brackets(mounted: dict[str, str]) -> None:
    assert in_cluster({**mounted, "KUBERNETES_SERVICE_HOST": "fd00::1"}).server == "https://[fd00::1]:443"


def test_a_rotated_token_is_used_from_the_next_request_on(mounted: dict[str, str], tmp_path: Path) -> None:
    configuration = in_cluster(mounted)
    assert configuration.bearer_token() == "first"
    # As the kubelet does: a new folder, then the link to it is swapped.
    (tmp_path / "new").write_text("second\n")
    (tmp_path / "new").replace(tmp_path / "token")
    assert configuration.bearer_token() == "second"


def test_outside_a_pod_the_error_says_what_to_pass_instead() -> None:
    assert not is_in_cluster({})
    with pytest.raises(ConfigurationError, match="pass a kubeconfig"):
        in_cluster({})


def test_a_pod_without_its_token_is_told_which_file_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"token: No such file.*is the token volume mounted"):
        in_cluster({"KUBERNETES_SERVICE_HOST": "x", "GASTOWN_SERVICEACCOUNT_DIR": str(tmp_path)})


def kubeconfig(tmp_path: Path, user: dict[str, object], *, as_json: bool = False) -> Path:
    content = {
        "current-context": "town",
        "contexts": [{"name": "town", "context": {"cluster": "local", "user": "admin", "namespace": "town"}}],
        "clusters": [{"name": "local", "cluster": {"server": "https://127.0.0.1:6443/", "certificate-authority": "ca.crt"}}],
        "users": [{"name": "admin", "user": user}],
    }
    path = tmp_path / "kubeconfig"
    path.write_text(json.dumps(content) if as_json else yaml.safe_dump(content))
    return path


@pytest.mark.parametrize("as_json", [True, False], ids=["json", "yaml"])
def test_a_kubeconfig_with_a_token(tmp_path: Path, as_json: bool) -> None:
    configuration = from_kubeconfig(kubeconfig(tmp_path, {"token": "secret"}, as_json=as_json))
    assert configuration == Configuration(
        server="https://127.0.0.1:6443", namespace="town", authority_file=str(tmp_path / "ca.crt"), token="secret"
    )
    assert "secret" not in repr(configuration)


def test_a_kubeconfig_with_a_client_certificate_beside_it_or_inside_it(tmp_path: Path) -> None:
    beside = from_kubeconfig(kubeconfig(tmp_path, {"client-certificate": "admin.crt", "client-key": "admin.key"}))
    assert (beside.certificate_file, beside.key_file) == (str(tmp_path / "admin.crt"), str(tmp_path / "admin.key"))
    data = {name: base64.b64encode(name.encode()).decode() for name in ("client-certificate-data", "client-key-data")}
    inside = from_kubeconfig(kubeconfig(tmp_path, dict(data)))
    assert (inside.certificate_data, inside.key_data) == ("client-certificate-data", "client-key-data")


def test_a_token_file_of_a_kubeconfig_is_followed(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("first")
    configuration = from_kubeconfig(kubeconfig(tmp_path, {"tokenFile": "token"}))
    assert configuration.bearer_token() == "first"
    assert configuration.token_file == TokenFile(str(tmp_path / "token"))


@pytest.mark.parametrize(
    ("user", "context", "expected"),
    [
        pytest.param({"exec": {"command": "x"}}, "", "user admin needs exec", id="exec plugin"),
        pytest.param({"token": "x"}, "prod", "contexts has no prod; known: town", id="unknown context"),
    ],
)
def test_what_a_kubeconfig_cannot_give_is_named(tmp_path: Path, user: dict[str, object], context: str, expected: str) -> None:
    with pytest.raises(ConfigurationError, match=expected):
        from_kubeconfig(kubeconfig(tmp_path, user), context)


@pytest.mark.parametrize("text", ["- a\n- b\n", "a: [", ""], ids=["a list", "no yaml", "empty"])
def test_a_file_that_is_no_kubeconfig_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "odd"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match="odd"):
        from_kubeconfig(path)
