"""JSON to dataclass and back with the standard library alone, for CLIs and the harness (daemons decode with msgspec)."""

from __future__ import annotations

import dataclasses
import functools
import types
import typing
from typing import Any, TypeVar

T = TypeVar("T")


def from_dict(type_: type[T], data: dict[str, Any]) -> T:
    """Build a dataclass of `gastown.api` from decoded JSON.

    Unknown fields are skipped (a newer server may know more) and null counts as absent.

    Raises:
        TypeError: A field without default is missing; the message names class and field.
    """
    return typing.cast("T", _build(type_, data))


def to_dict(value: Any) -> Any:
    """JSON-ready form of a dataclass without empty fields (as Go's omitempty): "", None, [], {} and objects that hold nothing.

    0 and False are kept: for a counter or a switch they say something.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = ((name, to_dict(getattr(value, name))) for name in _field_names(type(value)))
        return {name: item for name, item in fields if not _is_empty(item)}
    if isinstance(value, (list, tuple)):
        return [to_dict(item) for item in value]
    if isinstance(value, dict):
        return {key: to_dict(item) for key, item in value.items()}
    return value


def merge_patch_between(before: Any, after: Any) -> dict[str, Any]:
    """The JSON merge patch (RFC 7396) that turns one object into another; {} when they are equal.

    Args:
        before: Dataclass or dict as it is now.
        after: Dataclass or dict as it should be. Lists are replaced whole; a key that is gone becomes null.
    """
    return _patch(to_dict(before), to_dict(after))


def _patch(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    patch: dict[str, Any] = {key: None for key in before if key not in after}
    for key, value in after.items():
        old = before.get(key)
        if isinstance(value, dict) and isinstance(old, dict):
            if inner := _patch(old, value):
                patch[key] = inner
        elif key not in before or value != old:
            patch[key] = value
    return patch


def _is_empty(value: Any) -> bool:
    return value is None or (isinstance(value, (str, list, dict)) and not value)


@functools.cache
def _field_names(type_: type) -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(type_))


@functools.cache
def _field_types(type_: type) -> dict[str, Any]:
    return typing.get_type_hints(type_)


def _build(type_: Any, data: Any) -> Any:
    origin = typing.get_origin(type_)
    if origin in (types.UnionType, typing.Union):
        return _build(next(arm for arm in typing.get_args(type_) if arm is not type(None)), data)
    if origin is list:
        (item_type,) = typing.get_args(type_)
        return [_build(item_type, item) for item in data]
    if origin is dict:
        _, item_type = typing.get_args(type_)
        return {key: _build(item_type, item) for key, item in data.items()}
    if dataclasses.is_dataclass(type_) and isinstance(type_, type):
        hints = _field_types(type_)
        return type_(**{name: _build(hints[name], data[name]) for name in _field_names(type_) if data.get(name) is not None})
    return data
