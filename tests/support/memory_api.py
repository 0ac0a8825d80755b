"""An API server in memory for laws over the whole control loop: versions, generations, conflicts, watches that lag.

Not for what the real one decides (schemas, admission, field ownership): that is tested in tests/api. It counts writes, and can be told
to die at one.
"""

from __future__ import annotations

import copy
import itertools
from collections import deque
from collections.abc import Mapping
from typing import Any

import msgspec

from gastown.api.codec import to_dict
from gastown.api.kinds import EVENT, GASTOWN_KINDS, Kind
from gastown.kube.errors import AlreadyExists, Conflict, NotFound
from gastown.runtime.store import Store

Json = dict[str, Any]
Where = tuple[Kind, str, str]


class Killed(BaseException):
    """Stands for the end of the process: nothing in the product may catch it."""


class MemoryApi:
    """Objects as JSON, and a watch per kind.

    Attributes:
        objects: By kind, namespace and name.
        writes: How many changed something.
        log: Each of the operator's writes in words.
        dies_after: Number of writes of the operator until it dies; None means never.
        now_text: creationTimestamp of what is created.
    """

    def __init__(self, stores: Mapping[Kind, Store[Any]]) -> None:
        self.objects: dict[Where, Json] = {}
        self.writes = 0
        self.log: list[str] = []
        self.dies_after: int | None = None
        self.now_text = ""
        self.stores = dict(stores)
        self.undelivered: dict[Kind, deque[tuple[str, Any]]] = {kind: deque() for kind in stores}
        self._versions = itertools.count(1)
        self._uids = itertools.count(1)

    # What everybody does

    def find(self, kind: Kind, name: str, namespace: str = "town") -> Json | None:
        """The object now; a copy."""
        found = self.objects.get((kind, namespace, name))
        return copy.deepcopy(found) if found is not None else None

    def get(self, kind: Kind, name: str, namespace: str = "town") -> Json:
        """The object now; it has to exist."""
        found = self.find(kind, name, namespace)
        assert found is not None, f"{kind.name} {name} does not exist"
        return found

    def all(self, kind: Kind) -> list[Json]:
        """All objects of a kind, by name."""
        return [copy.deepcopy(self.objects[where]) for where in sorted(self._of(kind), key=lambda where: where[2])]

    def create(self, kind: Kind, body: Json) -> Json:
        """As a POST: status is dropped where it is a subresource."""
        metadata = body["metadata"]
        where = (kind, metadata.get("namespace", "town"), metadata["name"])
        if where in self.objects:
            raise AlreadyExists(409, "AlreadyExists", f"{kind.name} {where[2]} exists", "create", where[2])
        made = {**copy.deepcopy(body), "apiVersion": kind.api_version, "kind": kind.name}
        if kind in GASTOWN_KINDS:
            made.pop("status", None)
        given = {name: value for name, value in metadata.items() if name in ("name", "labels", "annotations", "ownerReferences")}
        made["metadata"] = {
            **copy.deepcopy(given),
            "namespace": where[1],
            "uid": f"uid-{next(self._uids)}",
            "generation": 1,
            "creationTimestamp": self.now_text,
        }
        return self._store(where, made)

    def patch(self, kind: Kind, name: str, patch: Mapping[str, Any], subresource: str = "", namespace: str = "town") -> Json:
        """As a merge PATCH: only the status, or all but the status; the generation follows the spec."""
        where = (kind, namespace, name)
        before = self.objects.get(where)
        if before is None:
            raise NotFound(404, "NotFound", f"{kind.name} {name}", "patch", name)
        version = patch.get("metadata", {}).get("resourceVersion", "")
        if version and version != before["metadata"]["resourceVersion"]:
            raise Conflict(409, "Conflict", f"{kind.name} {name} changed", "patch", name)
        body = {key: value for key, value in patch.items() if (key == "status") == (subresource == "status") or key == "metadata"}
        if "metadata" in body:
            body["metadata"] = {key: value for key, value in body["metadata"].items() if key in ("labels", "annotations")}
        after = _merged(before, body)
        if after == before:
            return copy.deepcopy(before)
        if after.get("spec") != before.get("spec"):
            after["metadata"]["generation"] = before["metadata"]["generation"] + 1
        return self._store(where, after)

    def apply_status(self, kind: Kind, name: str, status: Mapping[str, Any]) -> Json:
        """As a server-side apply of the status: conditions are merged by type."""
        before = self.get(kind, name).get("status", {})
        wanted = dict(status)
        if "conditions" in wanted:
            kept = {condition["type"]: condition for condition in before.get("conditions", [])}
            wanted["conditions"] = list({**kept, **{condition["type"]: condition for condition in wanted["conditions"]}}.values())
        return self.patch(kind, name, {"status": wanted}, "status")

    def delete(self, kind: Kind, name: str, uid: str = "", namespace: str = "town") -> None:
        """As a DELETE: a pod that runs gets a deletionTimestamp and the kubelet finishes it; all else goes at once."""
        where = (kind, namespace, name)
        before = self.objects.get(where)
        if before is None:
            raise NotFound(404, "NotFound", f"{kind.name} {name}", "delete", name)
        if uid and before["metadata"]["uid"] != uid:
            raise Conflict(409, "Conflict", f"{kind.name} {name} is another", "delete", name)
        if kind.name == "Pod" and before.get("status", {}).get("phase") == "Running":
            if "deletionTimestamp" not in before["metadata"]:
                after = copy.deepcopy(before)
                after["metadata"]["deletionTimestamp"] = self.now_text
                self._store(where, after)
            return
        self.remove(where)

    def remove(self, where: Where) -> None:
        """Gone, and told so."""
        gone = self.objects.pop(where)
        gone["metadata"]["resourceVersion"] = str(next(self._versions))
        self._tell(where[0], "DELETED", gone)

    # The operator's watch

    def deliver(self, kind: Kind, at_most: int | None = None) -> None:
        """Let the watch of a kind show what happened, oldest first."""
        queue = self.undelivered[kind]
        for _ in range(len(queue) if at_most is None else min(at_most, len(queue))):
            type_, value = queue.popleft()
            store = self.stores[kind]
            if type_ == "DELETED":
                store.remove(value.metadata.namespace, value.metadata.name, value.metadata.resourceVersion)
            else:
                store.put(value)

    def relist(self, stores: Mapping[Kind, Store[Any]]) -> None:
        """A new process: empty stores are filled from lists."""
        self.stores = dict(stores)
        version = str(next(self._versions))
        for kind, store in self.stores.items():
            self.undelivered[kind].clear()
            store.replace([_typed(kind, self.objects[where]) for where in self._of(kind)], version)

    def _of(self, kind: Kind) -> list[Where]:
        return [where for where in self.objects if where[0] == kind]

    def _store(self, where: Where, body: Json) -> Json:
        body["metadata"]["resourceVersion"] = str(next(self._versions))
        self.objects[where] = body
        self._tell(where[0], "MODIFIED", body)
        return copy.deepcopy(body)

    def _tell(self, kind: Kind, type_: str, body: Json) -> None:
        if kind in self.undelivered:
            self.undelivered[kind].append((type_, _typed(kind, body)))


class MemoryClient:
    """The verbs of `gastown.kube.aio.Client` that the executor uses."""

    def __init__(self, api: MemoryApi) -> None:
        self._api = api

    async def get(self, kind: Kind, namespace: str, name: str) -> Any:
        """Read one object."""
        found = self._api.find(kind, name, namespace)
        if found is None:
            raise NotFound(404, "NotFound", f"{kind.name} {name}", "get", name)
        return _typed(kind, found)

    async def create(self, kind: Kind, value: Any) -> Any:
        """Create an object."""
        if kind == EVENT:
            return None
        return self._write(f"create {kind.name}", kind, lambda: self._api.create(kind, to_dict(value)))

    async def merge_patch(self, kind: Kind, namespace: str, name: str, patch: Mapping[str, Any], *, subresource: str = "", **_: Any) -> Any:
        """JSON merge patch."""
        return self._write(f"patch {name} {patch}", kind, lambda: self._api.patch(kind, name, patch, subresource, namespace))

    async def apply(self, kind: Kind, value: Any, *, manager: str, subresource: str = "") -> Any:
        """Server-side apply, of a status only."""
        assert (manager, subresource) == ("gastown-operator", "status")
        name, status = value["metadata"]["name"], value["status"]
        return self._write(f"apply {name} {status}", kind, lambda: self._api.apply_status(kind, name, status))

    async def delete(self, kind: Kind, namespace: str, name: str, *, uid: str = "", grace_seconds: int | None = None) -> None:
        """Delete exactly one object."""
        assert grace_seconds != 0
        self._write(f"delete {kind.name} {name}", kind, lambda: self._api.delete(kind, name, uid, namespace))

    def _write(self, words: str, kind: Kind, act: Any) -> Any:
        answer = act()
        self._api.writes += 1
        self._api.log.append(words)
        if self._api.dies_after is not None and self._api.writes >= self._api.dies_after:
            self._api.dies_after = None
            raise Killed
        return _typed(kind, answer) if answer is not None else None


def _typed(kind: Kind, body: Json) -> Any:
    return msgspec.convert(body, kind.type)


def _merged(before: Any, patch: Any) -> Any:
    if not isinstance(patch, Mapping):
        return copy.deepcopy(patch)
    merged = dict(before) if isinstance(before, Mapping) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = _merged(merged.get(key), value)
    return copy.deepcopy(merged)
