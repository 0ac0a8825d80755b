"""One push, from its command list to the settled old tips: judged before git sees it, git's own wall behind the judgement."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path

from aiohttp import web

from gastown_git.errors import GitopsError
from gastown_git.server.access import Identity, find_refusals, own_prefixes
from gastown_git.server.counters import Counters
from gastown_git.server.old_tips import keep_old_tips, release_contained_tips
from gastown_git.server.receive_pack import RESULT_TYPE, MalformedPush, PushHead, parse_push, refuse
from gastown_git.server.requests import backend_environment, plain_body
from gastown_git.stale_locks import PACKED_REFS_LOCK, wait_until_free

logger = logging.getLogger("gastown.repo_server")


class Push:
    """A request to receive-pack.

    Args:
        request: To answer.
        identity: Who pushes; may read the repository.
        namespace: Town of the repository.
        rig: Rig of the repository.
        path: Its folder.
        counters: Refusals and kept tips are counted here.
        max_push_bytes: Larger pushes are refused.
        idle_seconds: Longest time the client may send nothing.
    """

    def __init__(
        self,
        request: web.Request,
        identity: Identity,
        namespace: str,
        rig: str,
        path: Path,
        counters: Counters,
        *,
        max_push_bytes: int,
        idle_seconds: float,
    ) -> None:
        self._request = request
        self._identity = identity
        self._namespace, self._rig, self._path = namespace, rig, path
        self._counters = counters
        self._max_push_bytes = max_push_bytes
        self._idle_seconds = idle_seconds
        self._body = plain_body(request)
        self._start = b""
        self._head = PushHead((), frozenset(), 0)
        self._kept: list[str] = []

    async def judge(self) -> web.Response | None:
        """Read the command list and decide; keep the old tips of what may be moved.

        Returns:
            The answer to a push that is refused, or None when git shall have it.
        """
        try:
            self._head = await self._read_head()
        except MalformedPush as error:
            raise web.HTTPBadRequest(text=f"{error}\n") from error
        refusals = self._too_large() or find_refusals(self._identity, self._namespace, self._rig, self._head.updates)
        if not refusals:
            try:
                # git gives up on a lock at once, and the pusher would take that for a refusal; after a crash it may stand for seconds
                await asyncio.to_thread(wait_until_free, self._path, self._locks())
                self._kept = await asyncio.to_thread(keep_old_tips, self._path, self._head.updates)
            except GitopsError as error:
                logger.warning("old_tip_not_kept", extra={"repository": str(self._path), "reason": str(error)})
                refusals = self._all_for("the old tip could not be kept, so nothing was moved; push again")
        self._counters.add("gastown_repo_kept_tips_total", len(self._kept))
        return await self._refusal(refusals) if refusals else None

    def environment(self, service: str) -> dict[str, str]:
        """Environment for git, with the second wall: every ref is hidden but the pusher's own.

        On this request only. In the advertisement it would hide main too, and a new actor would push the whole history.
        """
        own = own_prefixes(self._identity, self._namespace, self._rig)
        hidden = [("receive.hideRefs", "refs/"), *(("receive.hideRefs", f"!{prefix}") for prefix in own)]
        return backend_environment(self._request, self._path, service, actor=self._identity.actor, configuration=hidden, body_is_plain=True)

    async def body(self) -> AsyncIterator[bytes]:
        """The request for git: what was read already, then the rest."""
        yield self._start
        async for chunk in self._body:
            yield chunk

    async def settle(self) -> None:
        """After git is done: let go of the old tips that are contained in the new ones."""
        if not self._kept:
            return
        try:
            await asyncio.to_thread(release_contained_tips, self._path, self._head.updates, self._kept)
        except GitopsError as error:
            logger.warning(
                "old_tip_not_released", extra={"repository": str(self._path), "reason": str(error)}
            )  # harmless: one ref too many

    async def _read_head(self) -> PushHead:
        async with asyncio.timeout(self._idle_seconds):
            async for chunk in self._body:
                self._start += chunk
                head = parse_push(self._start)
                if head is not None:
                    return head
        raise MalformedPush("push", "ends inside its list of refs", remedy="push again")

    def _locks(self) -> list[str]:
        """Files that git will want to create for this push."""
        is_deleting = any(update.is_deletion for update in self._head.updates)
        return [*(f"{update.ref}.lock" for update in self._head.updates), *([PACKED_REFS_LOCK] if is_deleting else [])]

    def _too_large(self) -> list[tuple[str, str]]:
        if (self._request.content_length or 0) <= self._max_push_bytes:
            return []
        limit = f"{self._max_push_bytes / (1 << 20):g} MiB"
        return self._all_for(f"the push is larger than {limit}; keep large files out of git, or push in smaller steps")

    def _all_for(self, reason: str) -> list[tuple[str, str]]:
        return [(update.ref, reason) for update in self._head.updates]

    async def _refusal(self, refusals: list[tuple[str, str]]) -> web.Response:
        for ref, reason in refusals:
            extra = {"actor": self._identity.actor, "repository": f"{self._namespace}/{self._rig}", "ref": ref, "reason": reason}
            logger.info("push_refused", extra=extra)
        self._counters.add("gastown_repo_refused_refs_total", len(refusals))
        async with asyncio.timeout(self._idle_seconds):
            async for _ in self._body:
                pass  # git reads the answer only after it has sent everything
        body = refuse(refusals, self._head.capabilities)
        return web.Response(body=body, content_type=RESULT_TYPE, headers={"Cache-Control": "no-cache"})
