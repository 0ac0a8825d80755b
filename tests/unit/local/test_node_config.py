"""The node agent's configuration file: what is missing or wrong is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gastown.local.node.config import ConfigError, read_config

GOOD: dict[str, Any] = {
    "nodeName": "laptop",
    "apiServer": "https://127.0.0.1:6443",
    "caFile": "/c/ca.crt",
    "clientCertFile": "/c/node.crt",
    "clientKeyFile": "/c/node.key",
    "provisionerCertFile": "/c/p.crt",
    "provisionerKeyFile": "/c/p.key",
    "servingCertFile": "/c/s.crt",
    "servingKeyFile": "/c/s.key",
    "kubeletClientCommonName": "apiserver-kubelet-client",
    "stateDirectory": "/s/node",
    "volumesDirectory": "/s/volumes",
}


def read(tmp_path: Path, text: str) -> Any:
    file = tmp_path / "node.json"
    file.write_text(text)
    return read_config(file)


def test_the_needed_keys_are_enough(tmp_path: Path) -> None:
    config = read(tmp_path, json.dumps(GOOD))
    assert config.node_name == "laptop"
    assert config.state_directory == Path("/s/node")
    assert (config.sandbox, config.stop_pods_on_exit, config.masked_paths) == ("auto", False, ())


def test_optional_keys_are_taken(tmp_path: Path) -> None:
    config = read(tmp_path, json.dumps(GOOD | {"maskedPaths": ["/root"], "stopPodsOnExit": True, "sandbox": "none", "logLevel": "debug"}))
    assert (config.sandbox, config.stop_pods_on_exit, config.masked_paths, config.log_level) == ("none", True, ("/root",), "debug")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        pytest.param("{", "node.json", id="no JSON"),
        pytest.param("[]", "expected an object", id="no object"),
        pytest.param(json.dumps({key: value for key, value in GOOD.items() if key != "caFile"}), "'caFile' is missing", id="a missing key"),
        pytest.param(json.dumps(GOOD | {"nodeName": 7}), "nodeName must be a str, found 7", id="a wrong type"),
        pytest.param(json.dumps(GOOD | {"nodename": "x"}), "unknown keys nodename", id="a misspelt key"),
        pytest.param(json.dumps(GOOD | {"sandbox": "some"}), "sandbox must be one of auto, none", id="a wrong choice"),
    ],
)
def test_a_bad_file_is_refused_with_file_key_and_reason(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told) as caught:
        read(tmp_path, text)
    assert "node.json" in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent\.json"):
        read_config(tmp_path / "absent.json")
