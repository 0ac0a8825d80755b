"""Makes a pod's volumes as directories of the host, and says which of them a container sees where."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gastown.local.node.atomic_files import FileContent, write_files
from gastown.local.node.downward import UnknownField, field_value, resource_value
from gastown.local.node.environment import expand
from gastown.local.node.mounts import Bind
from gastown.local.node.references import MissingReference, References
from gastown.local.node.tokens import renewal_time

_DEFAULT_MODE = 0o644
# Every namespace has this map and nobody ever changes it; polling it for each pod would be most of an idle node's traffic.
_CONSTANT_CONFIG_MAP = "kube-root-ca.crt"
_GENERATED = ("configMap", "secret", "projected", "downwardAPI")


class VolumeProblem(Exception):
    """A volume that this node can not provide as written; the message names volume and reason."""


class PodVolumes:
    """The volumes of one pod.

    Args:
        directory: On disk, of this pod alone.
        memory_directory: The same on a memory file system: for secrets, tokens and `medium: Memory`.
    """

    def __init__(
        self, pod: Mapping[str, Any], directory: Path, memory_directory: Path, references: References, allocatable: Mapping[str, str]
    ) -> None:
        self.pod = pod
        self._directory = directory
        self._memory_directory = memory_directory
        self._references = references
        self._allocatable = allocatable
        self._paths: dict[str, Path] = {}
        self._tokens: dict[Path, str] = {}

    async def prepare(self) -> None:
        """Make or complete all volumes; safe to repeat.

        Raises:
            MissingReference: Something a volume names is not there yet.
            VolumeProblem: A volume of an unsupported kind, or a host path of the wrong type.
        """
        # Together: each of them may wait for the Node authorizer to see the pod.
        waits = (self._prepare(volume) for volume in self.pod["spec"].get("volumes") or [])
        for outcome in await asyncio.gather(*waits, return_exceptions=True):
            if isinstance(outcome, BaseException):
                raise outcome

    async def refresh(self) -> None:
        """Bring ConfigMaps, Secrets, labels and tokens up to date; what cannot be read now keeps its old content."""
        for volume in self.pod["spec"].get("volumes") or []:
            if self._may_change(volume):
                await self._prepare(volume)

    def next_renewal(self) -> float | None:
        """When the first token of the pod must be renewed, seconds since the epoch."""
        times = [renewal_time(token) for token in self._tokens.values()]
        return min(times) if times else None

    def needs_polling(self) -> bool:
        """Whether any volume shows an object that may change under it."""
        return any(self._may_change(volume) for volume in self.pod["spec"].get("volumes") or [] if not _only_tokens(volume))

    def binds(self, container: Mapping[str, Any], environment: Mapping[str, str]) -> list[Bind]:
        """What a container mounts.

        Raises:
            VolumeProblem: A mount names no volume, or its subPath leaves the volume.
        """
        kinds = {volume["name"]: _kind(volume) for volume in self.pod["spec"].get("volumes") or []}
        result = []
        for mount in container.get("volumeMounts") or []:
            name = mount["name"]
            if name not in self._paths:
                raise VolumeProblem(f'volumeMount "{name}" names no volume of the pod')
            generated = kinds[name] in _GENERATED
            sub_path = mount.get("subPath") or expand(mount.get("subPathExpr") or "", environment)
            source = _sub_path(self._paths[name], sub_path, create=not generated, volume=name) if sub_path else self._paths[name]
            target = "/" + os.path.normpath(mount["mountPath"]).lstrip("/")  # two slashes would survive, and mean the root as well
            if target == "/":
                raise VolumeProblem(f'volumeMount "{name}" would replace the root directory')
            result.append(Bind(target, str(source), bool(mount.get("readOnly")) or generated))
        return result

    async def _prepare(self, volume: Mapping[str, Any]) -> None:
        name, kind = volume["name"], _kind(volume)
        try:
            if kind == "emptyDir":
                in_memory = (volume.get("emptyDir") or {}).get("medium") == "Memory"
                path = (self._memory_directory if in_memory else self._directory) / name
                if not path.is_dir():
                    path.mkdir(parents=True)
                    path.chmod(0o777)
            elif kind == "hostPath":
                path = _host_path(volume["hostPath"])
            elif kind in ("persistentVolumeClaim", "ephemeral"):
                path = Path(await self._references.claim_path(self.pod["metadata"]["namespace"], self._claim_name(volume)))
                path.mkdir(parents=True, exist_ok=True)
            elif kind in _GENERATED:
                path = self._memory_directory / name
                write_files(path, await self._files(volume, kind))
            else:
                raise VolumeProblem(f'volume "{name}" is of kind {kind}, which the process node does not support')
        except (MissingReference, VolumeProblem) as error:
            raise type(error)(f'volume "{name}": {error}') from error
        except (OSError, UnknownField) as error:
            raise VolumeProblem(f'volume "{name}": {error}') from error
        self._paths[name] = path

    def _claim_name(self, volume: Mapping[str, Any]) -> str:
        if "persistentVolumeClaim" in volume:
            return str(volume["persistentVolumeClaim"]["claimName"])
        return f"{self.pod['metadata']['name']}-{volume['name']}"

    def _may_change(self, volume: Mapping[str, Any]) -> bool:
        kind = _kind(volume)
        if kind == "projected":
            maps = [source["configMap"]["name"] for source in volume["projected"]["sources"] if "configMap" in source]
            others = any(set(source) & {"secret", "serviceAccountToken", "downwardAPI"} for source in volume["projected"]["sources"])
            return others or any(name != _CONSTANT_CONFIG_MAP for name in maps)
        return kind in ("configMap", "secret", "downwardAPI")

    async def _files(self, volume: Mapping[str, Any], kind: str) -> dict[str, FileContent]:
        if kind != "projected":
            return await self._source_files(volume["name"], kind, volume[kind], volume[kind].get("defaultMode"))
        files: dict[str, FileContent] = {}
        mode = volume["projected"].get("defaultMode")
        for source in volume["projected"].get("sources") or []:
            for source_kind, content in source.items():
                files.update(await self._source_files(volume["name"], source_kind, content, mode))
        return files

    async def _source_files(self, volume: str, kind: str, source: Mapping[str, Any], mode: int | None) -> dict[str, FileContent]:
        default_mode = _DEFAULT_MODE if mode is None else mode
        namespace = self.pod["metadata"]["namespace"]
        if kind == "configMap":
            content = await self._references.config_map(namespace, source["name"], optional=bool(source.get("optional")))
            return _keyed_files(content, source, default_mode, f'configmap "{source["name"]}"')
        if kind == "secret":
            secret_name = source.get("secretName") or source["name"]
            content = await self._references.secret(namespace, secret_name, optional=bool(source.get("optional")))
            return _keyed_files(content, source, default_mode, f'secret "{secret_name}"')
        if kind == "serviceAccountToken":
            return {source["path"]: FileContent((await self._token(volume, source)).encode(), default_mode)}
        if kind == "downwardAPI":
            return {item["path"]: self._downward_file(item, default_mode) for item in source.get("items") or []}
        raise VolumeProblem(f"source {kind} is not supported by the process node")

    async def _token(self, volume: str, source: Mapping[str, Any]) -> str:
        path = self._memory_directory / volume / source["path"]
        if path not in self._tokens and path.is_file():
            self._tokens[path] = path.read_text(encoding="ascii")  # adopted pod: the file is the memory
        if path not in self._tokens or renewal_time(self._tokens[path]) <= time.time():
            token = await self._references.token(self.pod, source.get("audience") or "", int(source.get("expirationSeconds") or 3600))
            self._tokens[path] = token.text
        return self._tokens[path]

    def _downward_file(self, item: Mapping[str, Any], default_mode: int) -> FileContent:
        if reference := item.get("fieldRef"):
            text = field_value(self.pod, reference["fieldPath"])
        else:
            reference = item["resourceFieldRef"]
            container = next(each for each in self.pod["spec"]["containers"] if each["name"] == reference["containerName"])
            text = resource_value(container, reference["resource"], str(reference.get("divisor") or ""), self._allocatable)
        return FileContent(text.encode(), item.get("mode") or default_mode)


def _kind(volume: Mapping[str, Any]) -> str:
    return next((key for key in volume if key != "name"), "emptyDir")


def _only_tokens(volume: Mapping[str, Any]) -> bool:
    """Whether nothing but tokens and what never changes is in it, as in the volume of the default API token."""
    if _kind(volume) != "projected":
        return False
    sources = volume["projected"].get("sources") or []
    return all(
        "serviceAccountToken" in source or "downwardAPI" in source or source.get("configMap", {}).get("name") == _CONSTANT_CONFIG_MAP
        for source in sources
    )


def _keyed_files(content: Mapping[str, bytes] | None, source: Mapping[str, Any], default_mode: int, what: str) -> dict[str, FileContent]:
    items = source.get("items")
    if content is None:
        return {}
    if not items:
        return {key: FileContent(data, default_mode) for key, data in content.items()}
    files = {}
    for item in items:
        if item["key"] in content:
            files[item["path"]] = FileContent(content[item["key"]], item.get("mode") or default_mode)
        elif not source.get("optional"):
            raise MissingReference(f"{what} has no key {item['key']}")
    return files


def _host_path(source: Mapping[str, Any]) -> Path:
    path, kind = Path(source["path"]), source.get("type") or ""
    if kind == "DirectoryOrCreate":
        path.mkdir(parents=True, exist_ok=True)
    elif kind == "FileOrCreate" and not path.exists():
        path.touch()
    checks = {"Directory": path.is_dir, "File": path.is_file, "Socket": path.is_socket, "CharDevice": path.is_char_device}
    if not path.exists() or (kind in checks and not checks[kind]()):
        raise VolumeProblem(f'hostPath "{path}" is not {"there" if not path.exists() else "a " + kind}')
    return path


def _sub_path(root: Path, sub_path: str, *, create: bool, volume: str) -> Path:
    resolved = Path(os.path.realpath(root / sub_path))
    # A link inside a writable volume may point anywhere; following it would show a pod the host.
    if not resolved.is_relative_to(os.path.realpath(root)):
        raise VolumeProblem(f'subPath "{sub_path}" leaves volume "{volume}"')
    if not resolved.exists():
        if not create:
            raise VolumeProblem(f'subPath "{sub_path}" is not in volume "{volume}"')
        resolved.mkdir(parents=True)
    return resolved
