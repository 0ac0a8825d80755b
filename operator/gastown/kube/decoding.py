"""From the API server's bytes to typed objects, one at a time, so that one odd object never hides the others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, cast

import msgspec

from gastown.api.kinds import Kind
from gastown.kube.errors import ApiError


@dataclass(frozen=True, slots=True)
class Undecodable:
    """An object that does not fit its dataclass: it is left out, told and counted, and the rest goes on."""

    namespace: str
    name: str
    problem: str


@dataclass(frozen=True, slots=True)
class Listing:
    """A complete LIST.

    Attributes:
        items: Objects of the kind's type, or dicts.
        resource_version: A watch from here misses nothing.
    """

    items: list[Any]
    resource_version: str
    undecodable: list[Undecodable]


EventType = Literal["ADDED", "MODIFIED", "DELETED", "BOOKMARK"]


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """One event of a watch.

    Attributes:
        type: BOOKMARK only tells how far the stream has come.
        object: Of the kind's type, or a dict; None for a BOOKMARK and for what could not be decoded.
        resource_version: Where to go on after this event.
    """

    type: EventType
    object: Any
    resource_version: str
    undecodable: Undecodable | None = None


class _Metadata(msgspec.Struct, gc=False):
    name: str = ""
    namespace: str = ""
    resourceVersion: str = ""  # noqa: N815 - its JSON name


class _Sparse(msgspec.Struct):
    metadata: _Metadata = msgspec.field(default_factory=_Metadata)


class _PageMetadata(msgspec.Struct):
    resourceVersion: str = ""  # noqa: N815
    token: str = msgspec.field(name="continue", default="")


class Page(msgspec.Struct):
    """One page of a LIST; the items are still bytes."""

    items: list[msgspec.Raw]
    metadata: _PageMetadata = msgspec.field(default_factory=_PageMetadata)


class Frame(msgspec.Struct):
    """One line of a watch stream; the object is still bytes."""

    type: str
    object: msgspec.Raw


_PAGE = msgspec.json.Decoder(Page)
_FRAME = msgspec.json.Decoder(Frame)
_SPARSE = msgspec.json.Decoder(_Sparse)
_ANY: msgspec.json.Decoder[Any] = msgspec.json.Decoder()


_DECODERS: dict[type[Any], msgspec.json.Decoder[Any]] = {}


def _decoder(type_: type[Any]) -> msgspec.json.Decoder[Any]:
    decoder = _DECODERS.get(type_)
    if decoder is None:
        decoder = _DECODERS[type_] = msgspec.json.Decoder(type_)
    return decoder


def decode(kind: Kind, data: bytes | msgspec.Raw, *, raw: bool = False) -> Any:
    """One object.

    Raises:
        msgspec.MsgspecError: It does not fit; the message names the field.
    """
    return _ANY.decode(data) if raw else _decoder(kind.type).decode(data)


def decode_answer(kind: Kind, data: bytes, verb: str, path: str, *, raw: bool) -> Any:
    """The object in the answer to a request.

    Raises:
        ApiError: It does not fit its dataclass. If the request was a write, it did happen.
    """
    try:
        return decode(kind, data, raw=raw)
    except msgspec.MsgspecError as error:
        raise ApiError(200, "Undecodable", f"the answer is no {kind.name} as we know it: {error}", verb, path) from error


def decode_page(kind: Kind, data: bytes, into: Listing, path: str, *, raw: bool) -> Page:
    """Decode one page of a LIST and add what it holds to a listing.

    Raises:
        ApiError: It is no list at all.
    """
    try:
        page = _PAGE.decode(data)
    except msgspec.MsgspecError as error:
        raise ApiError(200, "Undecodable", f"the answer is no list: {error}", "list", path) from error
    if not page.metadata.token and not page.metadata.resourceVersion.isdigit():
        raise ApiError(200, "Undecodable", "the answer is no list: it has no resourceVersion", "list", path)
    for item in page.items:
        try:
            into.items.append(decode(kind, item, raw=raw))
        except msgspec.MsgspecError as error:
            into.undecodable.append(_undecodable(item, error))
    return page


def decode_frame(data: bytes) -> Frame:
    """Decode the shell of a watch line.

    Raises:
        msgspec.MsgspecError: Cut off in the middle, or no watch line.
    """
    return _FRAME.decode(data)


def decode_event(kind: Kind, frame: Frame, *, raw: bool) -> WatchEvent:
    """The event of a frame that is no ERROR."""
    type_ = cast("EventType", frame.type)
    if frame.type == "BOOKMARK":
        return WatchEvent(type_, None, _SPARSE.decode(frame.object).metadata.resourceVersion)
    try:
        value = decode(kind, frame.object, raw=raw)
    except msgspec.MsgspecError as error:
        return WatchEvent(type_, None, _SPARSE.decode(frame.object).metadata.resourceVersion, _undecodable(frame.object, error))
    version = value["metadata"]["resourceVersion"] if raw else value.metadata.resourceVersion
    return WatchEvent(type_, value, version)


def _undecodable(data: msgspec.Raw, error: msgspec.MsgspecError) -> Undecodable:
    try:
        metadata = _SPARSE.decode(data).metadata
    except msgspec.MsgspecError:
        metadata = _Metadata()
    return Undecodable(metadata.namespace, metadata.name, str(error))
