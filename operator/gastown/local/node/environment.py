"""The environment, command and arguments of a container, as a kubelet would compute them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from gastown.local.node.downward import UnknownField, field_value, resource_value
from gastown.local.node.references import MissingReference, References

_REFERENCE = re.compile(r"\$(?:\$|\(([^()]*)\))")
_STANDARD_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def expand(text: str, variables: Mapping[str, str]) -> str:
    """Replace `$(NAME)`; an unknown name stays as written, and `$$` is a literal dollar."""

    def _replace(match: re.Match[str]) -> str:
        if match[1] is None:
            return "$"
        return variables.get(match[1], match[0])

    return _REFERENCE.sub(_replace, text)


def base_variables(path_entries: Iterable[str], home: str, hostname: str) -> dict[str, str]:
    """What an image would set. There is none, so the node puts its own tools first on PATH and names an empty home."""
    return {"PATH": ":".join([*path_entries, _STANDARD_PATH]), "HOME": home, "HOSTNAME": hostname, "LANG": "C.UTF-8"}


def api_server_variables(host: str, port: str) -> dict[str, str]:
    """The variables in-cluster clients look for, pointing at the real API server."""
    url = f"tcp://{host}:{port}"
    return {
        "KUBERNETES_SERVICE_HOST": host,
        "KUBERNETES_SERVICE_PORT": port,
        "KUBERNETES_SERVICE_PORT_HTTPS": port,
        "KUBERNETES_PORT": url,
        f"KUBERNETES_PORT_{port}_TCP": url,
        f"KUBERNETES_PORT_{port}_TCP_PROTO": "tcp",
        f"KUBERNETES_PORT_{port}_TCP_PORT": port,
        f"KUBERNETES_PORT_{port}_TCP_ADDR": host,
    }


def service_variables(services: Mapping[str, str], ports: Mapping[str, list[Mapping[str, Any]]]) -> dict[str, str]:
    """`NAME_SERVICE_HOST` and `_PORT` of the namespace's Services.

    Args:
        services: Address by Service name.
        ports: Service ports by Service name; the target port is told, since nothing translates ports here.
    """
    variables: dict[str, str] = {}
    for name, address in sorted(services.items()):
        prefix = name.upper().replace("-", "_")
        variables[f"{prefix}_SERVICE_HOST"] = address
        for position, port in enumerate(ports.get(name, [])):
            number = port.get("targetPort")
            text = str(number if isinstance(number, int) else port["port"])
            if position == 0:
                variables[f"{prefix}_SERVICE_PORT"] = text
            if port.get("name"):
                variables[f"{prefix}_SERVICE_PORT_{port['name'].upper().replace('-', '_')}"] = text
    return variables


async def resolve_environment(
    pod: Mapping[str, Any],
    container: Mapping[str, Any],
    inherited: Mapping[str, str],
    references: References,
    allocatable: Mapping[str, str],
) -> dict[str, str]:
    """All variables of a container: inherited, then envFrom, then env in order; a later one sees and replaces earlier ones.

    Raises:
        MissingReference: A ConfigMap, Secret or key is not there.
        UnknownField: A fieldRef or resourceFieldRef that does not exist.
    """
    variables = dict(inherited)
    namespace = pod["metadata"]["namespace"]
    for source in container.get("envFrom") or []:
        variables.update(await _variables_from(source, namespace, references))
    for entry in container.get("env") or []:
        if "valueFrom" not in entry:
            variables[entry["name"]] = expand(entry.get("value") or "", variables)
            continue
        value = await _value_from(entry["valueFrom"], pod, container, references, allocatable)
        if value is not None:
            variables[entry["name"]] = value
    return variables


async def _variables_from(source: Mapping[str, Any], namespace: str, references: References) -> dict[str, str]:
    prefix = source.get("prefix") or ""
    if reference := source.get("configMapRef"):
        content = await references.config_map(namespace, reference["name"], optional=bool(reference.get("optional")))
    else:
        reference = source["secretRef"]
        content = await references.secret(namespace, reference["name"], optional=bool(reference.get("optional")))
    return {prefix + key: value.decode(errors="surrogateescape") for key, value in (content or {}).items()}


async def _value_from(
    source: Mapping[str, Any],
    pod: Mapping[str, Any],
    container: Mapping[str, Any],
    references: References,
    allocatable: Mapping[str, str],
) -> str | None:
    namespace = pod["metadata"]["namespace"]
    if reference := source.get("fieldRef"):
        return field_value(pod, reference["fieldPath"])
    if reference := source.get("resourceFieldRef"):
        named = _named_container(pod, reference.get("containerName")) or container
        return resource_value(named, reference["resource"], str(reference.get("divisor") or ""), allocatable)
    if reference := source.get("configMapKeyRef"):
        content = await references.config_map(namespace, reference["name"], optional=bool(reference.get("optional")))
        return _key_of(content, reference, f"ConfigMap {namespace}/{reference['name']}")
    if reference := source.get("secretKeyRef"):
        content = await references.secret(namespace, reference["name"], optional=bool(reference.get("optional")))
        return _key_of(content, reference, f"Secret {namespace}/{reference['name']}")
    raise UnknownField(f"env valueFrom {', '.join(source)} is not supported by the process node")


def _key_of(content: Mapping[str, bytes] | None, reference: Mapping[str, Any], what: str) -> str | None:
    if content is not None and reference["key"] in content:
        return content[reference["key"]].decode(errors="surrogateescape")
    if reference.get("optional"):
        return None
    raise MissingReference(f"couldn't find key {reference['key']} in {what}")


def _named_container(pod: Mapping[str, Any], name: str | None) -> Mapping[str, Any] | None:
    containers = [*(pod["spec"].get("initContainers") or []), *pod["spec"]["containers"]]
    return next((each for each in containers if each["name"] == name), None)
