"""The way to the API server outside of a pod: a light path for certificates and tokens, the official client for everything else."""

from __future__ import annotations

import os
from collections.abc import Mapping

from gastown.kube.configuration import Configuration, ConfigurationError, from_kubeconfig


def load_configuration(file: str, context: str, environment: Mapping[str, str]) -> Configuration:
    """Read a kubeconfig.

    Args:
        file: "" means $KUBECONFIG, then ~/.kube/config.
        context: "" means its current one.

    Raises:
        ConfigurationError: There is none, or it does not lead anywhere.
    """
    path = file or environment.get("KUBECONFIG", "") or f"{environment.get('HOME', '')}/.kube/config"
    if os.pathsep not in path:
        if not os.path.exists(path):  # noqa: PTH110 - pathlib costs a CLI 3 ms
            raise ConfigurationError(
                f"kubeconfig {path}: no such file; run `gt up` and export the KUBECONFIG it prints, or pass --kubeconfig"
            )
        try:
            return from_kubeconfig(path, context)
        except ConfigurationError as error:
            if " needs " not in str(error):
                raise
    return _by_official_client(path, context)


def _by_official_client(path: str, context: str) -> Configuration:
    """Kubeconfigs that are merged from several files, or run a plugin: 0.5 s of imports, so only when it must be."""
    from kubernetes import client, config

    settings = client.Configuration()
    try:
        config.load_kube_config(path, context or None, client_configuration=settings)  # type: ignore[no-untyped-call]
        namespace = _namespace_of(path, context)
    except (config.ConfigException, OSError) as error:
        raise ConfigurationError(f"kubeconfig {path}: {error}") from error
    keys = settings.api_key or {}
    token = str(keys.get("BearerToken") or keys.get("authorization") or "")  # renamed between versions of the client
    return Configuration(
        server=settings.host.rstrip("/"),
        namespace=namespace,
        authority_file=settings.ssl_ca_cert or "",
        token=token.removeprefix("Bearer "),
        certificate_file=settings.cert_file or "",
        key_file=settings.key_file or "",
    )


def _namespace_of(path: str, context: str) -> str:
    from kubernetes import config

    contexts, current = config.list_kube_config_contexts(path)  # type: ignore[no-untyped-call]
    chosen = next((entry for entry in contexts if entry["name"] == context), current)
    return str(chosen.get("context", {}).get("namespace", ""))
