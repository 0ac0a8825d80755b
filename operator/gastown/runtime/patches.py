"""What of a wanted change is really a change: pure functions over JSON values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def reduced(patch: Mapping[str, Any], seen: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a JSON merge patch (RFC 7396) that changes anything; {} if it changes nothing.

    Absent, null, "", [] and {} count as the same: typed objects do not know which of them the server holds.

    Args:
        patch: null removes, lists are replaced whole.
        seen: What it would be applied to.
    """
    rest: dict[str, Any] = {}
    for key, wanted in patch.items():
        present = seen.get(key)
        if isinstance(wanted, Mapping) and (isinstance(present, Mapping) or _is_empty(present)):
            if inner := reduced(wanted, present or {}):
                rest[key] = inner
        elif wanted != present and not (_is_empty(wanted) and _is_empty(present)):
            rest[key] = wanted
    return rest


def covers(seen: Any, wanted: Any) -> bool:
    """Whether all that is wanted is there already; what else is there does not matter.

    Lists of objects that carry a `type` or `name` (conditions, containers) are compared item by item, as server-side apply merges
    them; other lists as wholes.
    """
    if _is_empty(wanted):
        return _is_empty(seen)
    if isinstance(wanted, Mapping):
        return isinstance(seen, Mapping) and all(covers(seen.get(key), value) for key, value in wanted.items())
    if isinstance(wanted, list) and isinstance(seen, list):
        field = next((name for name in ("type", "name") if wanted and all(_has(item, name) for item in (*wanted, *seen))), None)
        if field is None:
            return seen == wanted
        by_field = {item[field]: item for item in seen}
        return all(item[field] in by_field and covers(by_field[item[field]], item) for item in wanted)
    return bool(seen == wanted)


def _has(item: Any, field: str) -> bool:
    return isinstance(item, Mapping) and field in item


def _is_empty(value: Any) -> bool:
    return value is None or value == "" or value == [] or value == {}
