"""kopf, kept alive: in a thread and an event loop of its own, and started again whenever it ends.

kopf ends as a whole when one of its watches is answered with a status it does not expect (410, 404 and 400 among them), with an ERROR
event that is no 410, or with half a line; and when it ends it cancels every task of its loop that was born after it, whoever made it.
Neither may end the operator: the loop is kopf's own, and a new life lists everything again.

It also hears what kopf does not tell its handlers, when a watch has begun, by making kopf's HTTP session itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any

import aiohttp
import kopf

from gastown.kube import paths
from gastown.kube.configuration import Configuration, ConfigurationError
from gastown.runtime.kopf_feed import KopfFeed, quieten
from gastown.runtime.log import say

logger = logging.getLogger(__name__)

FIRST_BACKOFF_SECONDS = 1.0
LONGEST_BACKOFF_SECONDS = 15.0
# A life this long was a good one: the next end counts as the first.
GOOD_LIFE_SECONDS = 60.0
STOP_SECONDS = 3.0
# Bookmarks come every minute on a quiet stream.
SILENCE_SECONDS = 90.0
REQUEST_SECONDS = 30.0
CONNECT_SECONDS = 10.0


class EndlessBackoffs:
    """Waits between kopf's attempts at one request: kopf gives up, and ends, where an iteration does."""

    def __init__(self, roll: Callable[[], float], longest_seconds: float = 5.0) -> None:
        self._roll = roll
        self._longest_seconds = longest_seconds

    def __iter__(self) -> Iterator[float]:
        wait = 0.25
        while True:
            yield wait * (1.0 - 0.5 * self._roll())
            wait = min(2 * wait, self._longest_seconds)


class KopfEngine:
    """Runs kopf for its feeds.

    Args:
        configuration: kopf speaks to the same server as the same identity as we do.
        registry: The one that the feeds put their handlers into.
        feeds: Told when their watches begin and end.
        namespaces: Those the feeds are of.
        silence_seconds: A watch without a line for so long is opened anew.
        roll: Random numbers in [0, 1) that spread retries.
    """

    def __init__(
        self,
        configuration: Configuration,
        registry: kopf.OperatorRegistry,
        feeds: Sequence[KopfFeed],
        namespaces: Sequence[str],
        *,
        silence_seconds: float = SILENCE_SECONDS,
        roll: Callable[[], float] = random.random,
    ) -> None:
        self._configuration = configuration
        self._registry = registry
        self._feeds = tuple(feeds)
        self._namespaces = tuple(namespaces)
        self._silence_seconds = silence_seconds
        self._roll = roll
        # What kopf asks for -> whose it is.
        self._collections = {paths.collection(feed.kind, name): (feed, name) for feed in feeds for name in namespaces}
        self._logins: list[float] = []
        self._stop = asyncio.Event()
        kopf.on.login(registry=registry)(self._log_in)
        kopf.on.cleanup(registry=registry)(self._clean_up)

    async def run(self) -> None:
        """Keep kopf running until cancelled."""
        loop, failures = asyncio.get_running_loop(), 0
        # kopf looks once, at its start, for the kinds it is to watch: they have to answer by then.
        for feed in self._feeds:
            await feed.pulse.wait_synced()
        while True:
            started = loop.time()
            problem = await self._live()
            for feed in self._feeds:
                feed.watches_ended()
            failures = 1 if loop.time() - started > GOOD_LIFE_SECONDS else failures + 1
            wait = min(FIRST_BACKOFF_SECONDS * 2.0 ** min(failures - 1, 20), LONGEST_BACKOFF_SECONDS) * (1.0 - 0.5 * self._roll())
            say(logger, logging.WARNING, "kopf_ended", problem=problem, failures=failures, retry_seconds=round(wait, 2))
            await asyncio.sleep(wait)

    async def _live(self) -> str:
        """One life of kopf; why it ended."""
        life = _Life(self._kopf)
        life.start()
        try:
            return await asyncio.shield(life.ended)  # else a cancellation of ours would look like the end of kopf
        finally:
            await life.stop()

    async def _kopf(self, stop: asyncio.Event) -> None:
        settings = kopf.OperatorSettings()
        quieten(settings)
        settings.networking.error_backoffs = EndlessBackoffs(self._roll)
        settings.networking.request_timeout = REQUEST_SECONDS
        settings.networking.connect_timeout = CONNECT_SECONDS
        settings.watching.inactivity_timeout = self._silence_seconds
        self._logins, self._stop = [], stop
        await kopf.operator(registry=self._registry, settings=settings, namespaces=self._namespaces, standalone=True, stop_flag=stop)

    async def _log_in(self, **_: Any) -> kopf.AiohttpSession:
        """Asked for at kopf's start, and again after each 401."""
        loop = asyncio.get_running_loop()
        self._logins = [at for at in self._logins if loop.time() - at < GOOD_LIFE_SECONDS] + [loop.time()]
        if (failures := len(self._logins) - 1) > 0:  # kopf itself would ask again at once
            await asyncio.sleep(min(0.25 * 2.0 ** min(failures, 20), LONGEST_BACKOFF_SECONDS))
        context = self._configuration.ssl_context()
        connector = aiohttp.TCPConnector(limit=0, ssl=context if context is not None else True, keepalive_timeout=60)
        session = aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar(), middlewares=[self._pass_on])
        return kopf.AiohttpSession(server=self._configuration.server, aiohttp_session=session)

    async def _clean_up(self, **_: Any) -> None:
        self._stop.set()  # after a failure nobody else sets it, and kopf 1.45 waits 5 s for its own waiter on it

    async def _pass_on(
        self, request: aiohttp.ClientRequest, handler: Callable[[aiohttp.ClientRequest], Awaitable[aiohttp.ClientResponse]]
    ) -> aiohttp.ClientResponse:
        """Every request of kopf's: with the token as it is now; and the feeds hear how their watches fare."""
        try:
            token = self._configuration.bearer_token()
        except ConfigurationError as error:  # the volume is being swapped: the same to a retry
            raise aiohttp.ClientConnectionError(str(error)) from error
        if token:
            request.headers["Authorization"] = f"Bearer {token}"
        feed, namespace = self._collections.get(request.url.path, (None, ""))
        if feed is None or request.url.query.get("watch") != "true":
            return await handler(request)
        feed.watch_is(namespace, is_open=False)
        answer = await handler(request)
        feed.watch_is(namespace, is_open=answer.status == 200)
        return answer


class _Life:
    """One thread with one loop with one kopf in it.

    Attributes:
        ended: In the loop that made this: why kopf ended.
    """

    def __init__(self, run: Callable[[asyncio.Event], Any]) -> None:
        self._run = run
        self._home = asyncio.get_running_loop()
        self.ended: asyncio.Future[str] = self._home.create_future()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._stop: asyncio.Event | None = None
        self._is_stopped = False
        # A daemon: whatever kopf waits for, it never keeps the process from ending.
        self._thread = threading.Thread(target=self._work, name="kopf", daemon=True)

    def start(self) -> None:
        self._thread.start()

    async def stop(self) -> None:
        """End it, if it has not ended by itself; it holds nothing that could be lost."""
        self._is_stopped = True  # before the look: a thread that has not come to its loop yet finds this there
        if self._loop is not None and not self.ended.done():
            self._call(self._loop, self._cancel)
            await asyncio.wait([self.ended], timeout=STOP_SECONDS)

    def _work(self) -> None:
        problem = "it was told to stop"
        try:
            asyncio.run(self._main())
        except asyncio.CancelledError:
            pass
        except BaseException as failure:  # noqa: BLE001 - whatever it is, the next life begins anew
            problem = f"{type(failure).__name__}: {failure}"
        else:
            problem = "it ended by itself"
        self._call(self._home, lambda: self._end(problem))

    async def _main(self) -> None:
        self._loop, self._task, self._stop = asyncio.get_running_loop(), asyncio.current_task(), asyncio.Event()
        if not self._is_stopped:
            await self._run(self._stop)

    def _end(self, problem: str) -> None:
        if not self.ended.done():
            self.ended.set_result(problem)

    def _cancel(self) -> None:
        assert self._task is not None
        assert self._stop is not None
        self._stop.set()  # else kopf takes the cancellation for a crash and plans to kill its thread in ten minutes
        self._task.cancel()

    @staticmethod
    def _call(loop: asyncio.AbstractEventLoop, action: Callable[[], object]) -> None:
        with contextlib.suppress(RuntimeError):  # that loop is closed: nobody is left to be told
            loop.call_soon_threadsafe(action)
