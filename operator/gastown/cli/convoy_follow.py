"""Follows a convoy live: three watches, one screen. Nothing is asked again while nothing changes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from gastown.api import labels
from gastown.api.codec import from_dict
from gastown.api.convoy import PHASE_CANCELLED, PHASE_FAILED, PHASE_LANDED
from gastown.api.kinds import BEAD, CONVOY, MERGE_REQUEST, Kind
from gastown.api.names import shorten
from gastown.api.text import json_text, plain
from gastown.cli import errors, output
from gastown.cli.convoy_view import HEADINGS, Seen, changes, fitting, heading, rows
from gastown.cli.errors import CommandError
from gastown.cli.place import Place
from gastown.kube.aio import Client
from gastown.kube.errors import Advice, ApiError, Gone

_COALESCE_SECONDS = 0.2
_PAUSE_SECONDS = 1.0
_EXIT_CODES = {PHASE_LANDED: errors.OK, PHASE_FAILED: errors.FAILED, PHASE_CANCELLED: errors.FAILED}


@dataclass(frozen=True, slots=True)
class Selector:
    """Which objects of a kind; "" means all."""

    labels: str = ""
    fields: str = ""


class Follower:
    """Keeps the objects of one convoy as the server has them.

    Attributes:
        objects: By kind and name, as dicts.
        changed: Set by every event.
    """

    def __init__(self, client: Client, namespace: str, convoy: str) -> None:
        self.objects: dict[str, dict[str, dict[str, Any]]] = {CONVOY.name: {}, BEAD.name: {}, MERGE_REQUEST.name: {}}
        self.changed = asyncio.Event()
        self._client = client
        self._namespace = namespace
        self._convoy = convoy

    async def list_all(self) -> list[tuple[Kind, Selector, str]]:
        """Read all once; what to watch from where."""
        by_name = Selector(fields=f"metadata.name={self._convoy}")
        start = await self._list(CONVOY, by_name)
        found = self.objects[CONVOY.name].get(self._convoy)
        if found is None:
            remedy = "see `gt convoy list`"
            about = f"convoy {self._convoy} in namespace {self._namespace}"
            raise CommandError(about, "not found", remedy=remedy, exit_code=errors.NOT_FOUND, reason="NotFound")
        # Beads that a convoy only names carry no label of it.
        is_labelled = not found["spec"].get("beads")
        mine = Selector(labels=f"{labels.CONVOY}={shorten(self._convoy)}") if is_labelled else Selector()
        requests = Selector(fields=f"spec.convoyName={shorten(self._convoy)}") if is_labelled else Selector()
        return [
            (CONVOY, by_name, start),
            (BEAD, mine, await self._list(BEAD, mine)),
            (MERGE_REQUEST, requests, await self._list(MERGE_REQUEST, requests)),
        ]

    async def watch(self, kind: Kind, selector: Selector, version: str) -> None:
        """Keep one kind up to date for ever, through expiry and outage."""
        while True:
            try:
                stream = self._client.watch(
                    kind, self._namespace, version, label_selector=selector.labels, field_selector=selector.fields, raw=True
                )
                async with aclosing(stream) as events:
                    async for event in events:
                        version = event.resource_version or version
                        self._take(kind, event.type, event.object)
            except Gone:
                version = await self._list(kind, selector)
            except ApiError as error:
                if error.advice is not Advice.WAIT:
                    raise
                print(plain(f"watch of {kind.plural}: {error.message}; trying again"), file=sys.stderr)
                await asyncio.sleep(_PAUSE_SECONDS)
                with contextlib.suppress(ApiError):
                    version = await self._list(kind, selector)

    def seen(self) -> Seen | None:
        """All of it as dataclasses; None when the convoy is gone."""
        convoy = self.objects[CONVOY.name].get(self._convoy)
        if convoy is None:
            return None
        beads = {name: from_dict(BEAD.type, item) for name, item in self.objects[BEAD.name].items()}
        requests = {name: from_dict(MERGE_REQUEST.type, item) for name, item in self.objects[MERGE_REQUEST.name].items()}
        return Seen(from_dict(CONVOY.type, convoy), beads, requests)

    async def _list(self, kind: Kind, selector: Selector) -> str:
        listing = await self._client.list_all(
            kind, self._namespace, label_selector=selector.labels, field_selector=selector.fields, raw=True
        )
        self.objects[kind.name] = {str(item["metadata"]["name"]): item for item in listing.items}
        self.changed.set()
        return listing.resource_version

    def _take(self, kind: Kind, type_: str, item: dict[str, Any] | None) -> None:
        if item is None:
            return
        name = str(item["metadata"]["name"])
        if type_ == "DELETED":
            self.objects[kind.name].pop(name, None)
        else:
            self.objects[kind.name][name] = item
        self.changed.set()


def follow(place: Place, convoy: str, *, as_json: bool) -> int:
    """Show a convoy until it is over.

    Returns:
        0 when it landed, 1 when it failed or was cancelled.

    Raises:
        CommandError: There is no such convoy, or it was deleted meanwhile.
        ApiError: Forbidden, or no answer at the start.
    """
    return asyncio.run(_follow(place, convoy, _JsonScreen() if as_json else _Screen()))


async def _follow(place: Place, convoy: str, screen: _Screen | _JsonScreen) -> int:
    async with Client(place.configuration, user_agent="gt") as client:
        follower = Follower(client, place.namespace, convoy)
        watched = await follower.list_all()
        async with _in_background([follower.watch(*what) for what in watched]) as watches:
            while True:
                seen = follower.seen()
                if seen is None:
                    raise CommandError(f"convoy {convoy}", "was deleted", remedy="its beads are still there, see `bd list`")
                screen.show(seen)
                if (code := _EXIT_CODES.get(seen.convoy.status.phase)) is not None:
                    return code
                await _next_change(follower.changed, watches)


async def _next_change(changed: asyncio.Event, watches: list[asyncio.Task[None]]) -> None:
    waiter = asyncio.create_task(changed.wait())
    done, _ = await asyncio.wait([waiter, *watches], return_when=asyncio.FIRST_COMPLETED)
    waiter.cancel()
    for task in done - {waiter}:
        task.result()  # a watch only ends by an error
    await asyncio.sleep(_COALESCE_SECONDS)  # one reconcile changes several objects: show them together
    changed.clear()


@contextlib.asynccontextmanager
async def _in_background(coroutines: list[Any]) -> AsyncIterator[list[asyncio.Task[None]]]:
    tasks = [asyncio.create_task(coroutine) for coroutine in coroutines]
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class _Screen:
    """On a terminal the table, drawn over the last one; elsewhere the table once and then a line per change."""

    def __init__(self) -> None:
        self._drawn = 0
        self._rows: list[tuple[str, ...]] | None = None
        self._heading = ""

    def show(self, seen: Seen) -> None:
        table, head = rows(seen), heading(seen.convoy)
        if sys.stdout.isatty():
            width, height = output.terminal_size()
            shown, hidden = fitting(table, height - head.count("\n") - 3)
            # A line that the terminal wraps would be counted as one and erased as half.
            text = "".join(f"{output.clipped(line, width)}\n" for line in head.splitlines()) + output.table(
                HEADINGS, shown, width=width, color=output.has_color()
            )
            text += f"... and {hidden} more\n" if hidden else ""
            erase = f"\x1b[{self._drawn}F\x1b[J" if self._drawn else ""
            print(erase + text, end="", flush=True)
            self._drawn = text.count("\n")
        elif self._rows is None:
            print(head + output.table(HEADINGS, table), end="", flush=True)
        else:
            now = time.strftime("%H:%M:%S")
            new = [row[1] for row in table if row[1] not in {old[1] for old in self._rows}]
            lines = [f"{now} {name}: created" for name in new] + [f"{now} {line}" for line in changes(self._rows, table)]
            lines += [f"{now} {line}" for line in head.splitlines()] if head != self._heading else []
            print("".join(f"{plain(line)}\n" for line in lines), end="", flush=True)
        self._rows, self._heading = table, head


class _JsonScreen:
    """One line of JSON per change: convoy and rows."""

    def show(self, seen: Seen) -> None:
        members = [dict(zip((name.lower() for name in HEADINGS), row, strict=True)) for row in rows(seen)]
        status = seen.convoy.status
        told = {"kind": "ConvoyProgress", "name": seen.convoy.metadata.name, "phase": status.phase, "progress": status.progress}
        print(json_text(json.dumps({**told, "members": members})), flush=True)
