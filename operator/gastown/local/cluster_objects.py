"""What a local town needs in its API server before the chart comes: storage, and the right to make it."""

from __future__ import annotations

from typing import Any

from gastown.kube import paths
from gastown.kube.rest import Client
from gastown.local.certificates import PROVISIONER_NAME

STORAGE_CLASS = "gastown-local"
# The process node's own provisioner: the built-in hostpath one writes to a fixed folder under /tmp, which a reboot empties.
PROVISIONER = "gastown.dev/process-node"
_MANAGER = "gastown-local"
_RBAC = "rbac.authorization.k8s.io"
_LABELS = {"app.kubernetes.io/part-of": "gastown", "app.kubernetes.io/managed-by": "gt"}


def apply_cluster_objects(client: Client) -> None:
    """Apply them; what is there and right is not written again.

    Args:
        client: An administrator.
    """
    for path, content in _objects():
        url = paths.with_query(path, fieldManager=_MANAGER, force=True)
        client.request("PATCH", url, content, content_type=paths.APPLY_PATCH)


def _objects() -> list[tuple[str, dict[str, Any]]]:
    role = {"kind": "ClusterRole", "name": PROVISIONER_NAME}
    return [
        (
            f"/apis/storage.k8s.io/v1/storageclasses/{STORAGE_CLASS}",
            {
                "apiVersion": "storage.k8s.io/v1",
                "kind": "StorageClass",
                "metadata": _metadata(STORAGE_CLASS, {"storageclass.kubernetes.io/is-default-class": "true"}),
                "provisioner": PROVISIONER,
                # The scheduler names the node on the claim; only then does the node make the volume.
                "volumeBindingMode": "WaitForFirstConsumer",
                # `helm uninstall` must not take the repositories along.
                "reclaimPolicy": "Retain",
            },
        ),
        (
            f"/apis/{_RBAC}/v1/clusterroles/{PROVISIONER_NAME}",
            {
                "apiVersion": f"{_RBAC}/v1",
                "kind": "ClusterRole",
                "metadata": _metadata(PROVISIONER_NAME),
                "rules": [
                    _rule("", ["persistentvolumeclaims"], ["get", "list", "watch"]),
                    _rule("", ["persistentvolumes"], ["get", "list", "watch", "create", "delete"]),
                    _rule("storage.k8s.io", ["storageclasses"], ["get", "list", "watch"]),
                    _rule("", ["events"], ["create", "patch"]),
                ],
            },
        ),
        (
            f"/apis/{_RBAC}/v1/clusterrolebindings/{PROVISIONER_NAME}",
            {
                "apiVersion": f"{_RBAC}/v1",
                "kind": "ClusterRoleBinding",
                "metadata": _metadata(PROVISIONER_NAME),
                "roleRef": {"apiGroup": _RBAC, **role},
                "subjects": [{"apiGroup": _RBAC, "kind": "User", "name": PROVISIONER_NAME}],
            },
        ),
    ]


def _metadata(name: str, annotations: dict[str, str] | None = None) -> dict[str, Any]:
    return {"name": name, "labels": _LABELS, **({"annotations": annotations} if annotations else {})}


def _rule(group: str, resources: list[str], verbs: list[str]) -> dict[str, list[str]]:
    return {"apiGroups": [group], "resources": resources, "verbs": verbs}
