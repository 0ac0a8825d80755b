"""Sends one tree as a tar to whoever has a signed link for it: the init step of a gate Job, which holds no token."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path

from aiohttp import web

from gastown_git.errors import GitopsError
from gastown_git.layout import repository_path
from gastown_git.ref_names import is_label, is_object_id
from gastown_git.repository import Repository
from gastown_git.server.counters import Counters
from gastown_git.signed_url import is_signed
from gastown_git.tree_archive import iterate_tar

_BATCH_BYTES = 1 << 20

logger = logging.getLogger("gastown.repo_server")


async def send_tree(request: web.Request, data: Path, key: bytes, now: float, counters: Counters) -> web.StreamResponse:
    """Answer a request for `/<namespace>/<rig>.git/tree/<tree>.tar?exp=&sig=`.

    The link is checked before anything else is looked at, so that nobody learns without one which rigs and trees exist.
    """
    namespace, rig, tree = (request.match_info[name] for name in ("namespace", "rig", "tree"))
    well_formed = is_label(namespace) and is_label(rig) and is_object_id(tree)
    if not well_formed or not is_signed(key, namespace, rig, tree, request.query.get("exp", ""), request.query.get("sig", ""), now):
        raise web.HTTPForbidden(text="the link is not genuine or has expired; the refinery makes a new one with the next gate run\n")
    try:
        repository = await asyncio.to_thread(Repository.open, repository_path(data, namespace, rig))
        found = await asyncio.to_thread(repository.is_tree, tree)
    except GitopsError:
        found = False
    if not found:
        raise web.HTTPNotFound(text=f"no tree {tree} in {namespace}/{rig}\n")
    response = web.StreamResponse(headers={"Content-Type": "application/x-tar", "Cache-Control": "no-store"})
    response.enable_chunked_encoding()
    await response.prepare(request)
    pieces = iterate_tar(repository, tree)
    try:
        while batch := await asyncio.to_thread(_next_batch, pieces):
            await response.write(batch)
            counters.add("gastown_repo_sent_bytes_total", len(batch), service="tree")
    except GitopsError as error:
        logger.error("tree_incomplete", extra={"repository": f"{namespace}/{rig}", "tree": tree, "reason": str(error)})
        if request.transport is not None:
            request.transport.abort()  # a proper end would pass for the whole archive
        return response
    await response.write_eof()
    return response


def _next_batch(pieces: Iterator[bytes]) -> bytes:
    """Join pieces up to about 1 MiB: one change of thread for many small files."""
    batch = bytearray()
    for piece in pieces:
        batch += piece
        if len(batch) >= _BATCH_BYTES:
            break
    return bytes(batch)
