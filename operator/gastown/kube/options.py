"""Request bodies that both clients send alike."""

from __future__ import annotations

from typing import Any


def delete_options(uid: str, resource_version: str, grace_seconds: int | None) -> dict[str, Any]:
    """DeleteOptions: only the object with that uid and version ("" does not ask), dependants in the background."""
    options: dict[str, Any] = {"propagationPolicy": "Background"}
    wanted = {"uid": uid, "resourceVersion": resource_version}
    if preconditions := {name: value for name, value in wanted.items() if value}:
        options["preconditions"] = preconditions
    if grace_seconds is not None:
        options["gracePeriodSeconds"] = grace_seconds
    return options
