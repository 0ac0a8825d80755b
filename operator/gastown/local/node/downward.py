"""What a pod may be told about itself: fieldRef and resourceFieldRef, in environment variables and in files. Pure."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from gastown.local.node.addresses import address_of

_SUBSCRIPT = re.compile(r"metadata\.(labels|annotations)\['(.+)'\]")
_QUANTITY = re.compile(r"([+-]?[0-9.]+(?:[eE][+-]?[0-9]+)?)([a-zA-Z]*)")
_SUFFIXES = {
    "": Decimal(1),
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    **{letter: Decimal(1000) ** power for power, letter in enumerate(["k", "M", "G", "T", "P", "E"], 1)},
    **{letter: Decimal(1024) ** power for power, letter in enumerate(["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"], 1)},
}


class UnknownField(ValueError):
    """The field path or quantity is none we know; the message names it."""


def field_value(pod: Mapping[str, Any], path: str) -> str:
    """Value of a fieldRef. The pod's own address stands for podIP and hostIP, though `status.podIP` itself stays empty.

    Raises:
        UnknownField: No such field.
    """
    metadata, spec = pod["metadata"], pod["spec"]
    if match := _SUBSCRIPT.fullmatch(path):
        return str((metadata.get(match[1]) or {}).get(match[2], ""))
    if path in ("metadata.labels", "metadata.annotations"):
        entries = metadata.get(path.removeprefix("metadata.")) or {}
        return "\n".join(f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in sorted(entries.items()))
    if path in ("metadata.name", "metadata.namespace", "metadata.uid"):
        return str(metadata[path.removeprefix("metadata.")])
    if path in ("spec.nodeName", "spec.serviceAccountName"):
        return str(spec.get(path.removeprefix("spec."), ""))
    if path in ("status.podIP", "status.podIPs", "status.hostIP", "status.hostIPs"):
        return address_of(pod)
    raise UnknownField(f"fieldRef {path!r} is not supported")


def resource_value(container: Mapping[str, Any], resource: str, divisor: str, allocatable: Mapping[str, str]) -> str:
    """Value of a resourceFieldRef, rounded up to whole divisors; without a limit, what the node has.

    Args:
        resource: Such as limits.memory.
        divisor: Quantity; "" or "0" mean 1.

    Raises:
        UnknownField: No such resource, or a quantity that is none.
    """
    kind, _, name = resource.partition(".")
    if kind not in ("limits", "requests") or not name:
        raise UnknownField(f"resourceFieldRef {resource!r} is not supported")
    wanted = container.get("resources") or {}
    text = (wanted.get(kind) or {}).get(name)
    if text is None:
        text = allocatable.get(name, "0") if kind == "limits" else "0"
    by = parse_quantity(divisor or "1") or Decimal(1)
    return str(math.ceil(parse_quantity(text) / by))


def parse_quantity(text: str) -> Decimal:
    """A Kubernetes quantity such as 500m or 1.5Gi as a number.

    Raises:
        UnknownField: The text is no quantity.
    """
    match = _QUANTITY.fullmatch(str(text).strip())
    if match is None or match[2] not in _SUFFIXES:
        raise UnknownField(f"{text!r} is not a quantity")
    return Decimal(match[1]) * _SUFFIXES[match[2]]
