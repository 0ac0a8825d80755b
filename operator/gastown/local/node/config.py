"""The node agent's configuration file, written by `gt up`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


class ConfigError(Exception):
    """The configuration cannot be used; the message names file, key and remedy."""


@dataclass(frozen=True, slots=True)
class NodeConfig:
    """Everything the agent is told from outside.

    Attributes:
        node_name: Name of the Node object; the client certificate must be `system:node:NAME` of group `system:nodes`.
        api_server: https URL without a path.
        provisioner_cert_file: Client certificate for PersistentVolumes, which a node identity may not create.
        kubelet_client_common_name: The only client (the API server) that may read logs and run commands.
        state_directory: One folder per pod; survives the agent.
        volumes_directory: Data of PersistentVolumeClaims; survives everything.
        path_entries: Come first on every container's PATH.
        read_only_paths: Visible in containers even below a masked path.
        masked_paths: Empty in containers.
        sandbox: "auto" probes the machine, "none" leaves containers unconfined.
        stop_pods_on_exit: On SIGTERM stop the pods as well; else they go on and the next agent adopts them.
    """

    node_name: str
    api_server: str
    ca_file: str
    client_cert_file: str
    client_key_file: str
    provisioner_cert_file: str
    provisioner_key_file: str
    serving_cert_file: str
    serving_key_file: str
    kubelet_client_common_name: str
    state_directory: Path
    volumes_directory: Path
    path_entries: tuple[str, ...] = ()
    read_only_paths: tuple[str, ...] = ()
    masked_paths: tuple[str, ...] = ()
    log_level: str = "info"
    sandbox: str = "auto"
    stop_pods_on_exit: bool = False


_TEXTS = {
    "nodeName": "node_name",
    "apiServer": "api_server",
    "caFile": "ca_file",
    "clientCertFile": "client_cert_file",
    "clientKeyFile": "client_key_file",
    "provisionerCertFile": "provisioner_cert_file",
    "provisionerKeyFile": "provisioner_key_file",
    "servingCertFile": "serving_cert_file",
    "servingKeyFile": "serving_key_file",
    "kubeletClientCommonName": "kubelet_client_common_name",
}
_DIRECTORIES = {"stateDirectory": "state_directory", "volumesDirectory": "volumes_directory"}
_LISTS = {"pathEntries": "path_entries", "readOnlyPaths": "read_only_paths", "maskedPaths": "masked_paths"}


def read_config(path: Path) -> NodeConfig:
    """Read and check a configuration file.

    Raises:
        ConfigError: The file is missing, is no JSON object, or a key is missing or of the wrong type.
    """
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"node configuration {path}: {error}; write it again with: gt up") from error
    if not isinstance(raw, dict):
        raise ConfigError(f"node configuration {path}: expected an object of keys, found {type(raw).__name__}")
    try:
        return _parse(raw)
    except KeyError as error:
        raise ConfigError(f"node configuration {path}: key {error} is missing; write it again with: gt up") from error
    except TypeError as error:
        raise ConfigError(f"node configuration {path}: {error}") from error


def _parse(raw: Mapping[str, Any]) -> NodeConfig:
    known = {**_TEXTS, **_DIRECTORIES, **_LISTS, "logLevel": "log_level", "sandbox": "sandbox", "stopPodsOnExit": "stop_pods_on_exit"}
    if unknown := sorted(set(raw) - set(known)):
        raise TypeError(f"unknown keys {', '.join(unknown)}; known are {', '.join(sorted(known))}")
    values: dict[str, Any] = {field: _typed(raw, key, str) for key, field in _TEXTS.items()}
    values |= {field: Path(_typed(raw, key, str)) for key, field in _DIRECTORIES.items()}
    values |= {field: tuple(_typed(raw, key, list)) for key, field in _LISTS.items() if key in raw}
    if "logLevel" in raw:
        values["log_level"] = _choice(raw, "logLevel", ("debug", "info", "warning", "error"))
    if "sandbox" in raw:
        values["sandbox"] = _choice(raw, "sandbox", ("auto", "none"))
    if "stopPodsOnExit" in raw:
        values["stop_pods_on_exit"] = _typed(raw, "stopPodsOnExit", bool)
    return NodeConfig(**values)


def _choice(raw: Mapping[str, Any], key: str, choices: tuple[str, ...]) -> str:
    if raw[key] not in choices:
        raise TypeError(f"{key} must be one of {', '.join(choices)}, found {raw[key]!r}")
    return str(raw[key])


def _typed(raw: Mapping[str, Any], key: str, expected: type) -> Any:
    value = raw[key]
    if not isinstance(value, expected):
        raise TypeError(f"{key} must be a {expected.__name__}, found {value!r}")
    return value
