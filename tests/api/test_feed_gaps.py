"""The contract of a feed on bad days, against a real API server: whatever its connections meet, the store ends up equal to the server."""

from __future__ import annotations

import asyncio
import dataclasses
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gastown.api.kinds import BEAD
from gastown.kube.configuration import Configuration, TokenFile
from support.becoming import becomes
from support.cluster import Cluster
from support.feeding import PICKY_BEAD, PLAIN, Engine, Fed, Ways, engine, fed
from support.proxy import Proxy, proxy_to

__all__ = ["engine"]
pytestmark = pytest.mark.cluster


@pytest.fixture
def proxy(api_server: Cluster) -> Iterator[Proxy]:
    with proxy_to(api_server.configuration()) as started:
        yield started


@pytest.fixture
def run(engine: Engine, api_server: Cluster, proxy: Proxy, namespace: str) -> Callable[..., None]:
    """Run a coroutine function beside a feed."""
    return lambda act, ways=PLAIN: fed(engine, api_server.configuration(), proxy, namespace, act, ways)


@pytest.mark.parametrize("break_off", ["cut_streams", "tear_streams", "halve_streams"], ids=["between lines", "in a line", "in good order"])
def test_a_watch_that_breaks_off_loses_nothing(run: Any, proxy: Proxy, break_off: str) -> None:
    async def act(it: Fed) -> None:
        await it.make("gp-1")
        await it.holds({"gp-1": 2})
        await it.watches()
        getattr(proxy, break_off)()
        await it.change("gp-1", 0)
        await it.make("gp-2", 1)
        await it.holds({"gp-1": 0, "gp-2": 1})
        await it.change("gp-2", 3)
        await it.holds({"gp-1": 0, "gp-2": 3})

    run(act)


def test_a_watch_whose_other_end_is_gone_without_a_word_is_given_up(run: Any, proxy: Proxy) -> None:
    async def act(it: Fed) -> None:
        await it.make("gp-1")
        await it.holds({"gp-1": 2})
        await it.watches()
        proxy.silence_streams()
        await it.delete("gp-1")
        await it.make("gp-2")
        await it.holds({"gp-2": 2})
        assert it.news("gp-1")[-1] == "deleted"

    run(act, Ways(silence_seconds=3.0))


def error_event(code: int) -> bytes:
    status = f'{{"kind":"Status","status":"Failure","code":{code},"reason":"Told","message":"the test says so"}}'
    return f'{{"type":"ERROR","object":{status}}}\n'.encode()


@dataclass(frozen=True)
class BadAnswer:
    """What a request is answered instead."""

    status: int
    body: bytes | None = None
    retry_after: str = ""

    def tell(self, proxy: Proxy, words: str, times: int) -> None:
        headers = {"Retry-After": self.retry_after} if self.retry_after else {}
        proxy.answer_instead(words, self.status, self.body, headers=headers, times=times)


BAD_ANSWERS = {
    "410 as a status": BadAnswer(410),
    "410 in the stream": BadAnswer(200, error_event(410)),
    "500 in the stream": BadAnswer(200, error_event(500)),
    "an error without a code": BadAnswer(200, b'{"type":"ERROR","object":{"kind":"Status"}}\n'),
    "garbage": BadAnswer(200, b"<html>not today</html>\n"),
    "nothing": BadAnswer(200, b""),
    "400": BadAnswer(400),
    "401": BadAnswer(401),
    "403": BadAnswer(403),
    "404": BadAnswer(404),
    "429": BadAnswer(429, retry_after="1"),
    "500": BadAnswer(500),
    "503 of a proxy": BadAnswer(503, b"<html>busy</html>"),
}


SOAK = {"500 in the stream", "an error without a code", "nothing", "400", "403", "404", "503 of a proxy"}


@pytest.mark.parametrize(
    "bad", [pytest.param(bad, id=name, marks=[pytest.mark.soak] if name in SOAK else []) for name, bad in BAD_ANSWERS.items()]
)
def test_a_feed_comes_back_from_any_answer_to_its_watch_and_keeps_no_ghosts(run: Any, proxy: Proxy, bad: BadAnswer) -> None:
    async def act(it: Fed) -> None:
        await it.make("gp-1")
        await it.holds({"gp-1": 2})
        await it.watches()
        bad.tell(proxy, "watch=", times=2)
        asked = len(proxy.seen)
        proxy.cut_streams()
        await it.delete("gp-1")
        await becomes(lambda: proxy.faults_left == 0, 60, lambda: "the feed does not watch again")
        await it.holds({})  # and nothing new of that kind, which would wake what sleeps
        await it.make("gp-2", 1)
        await it.holds({"gp-2": 1})
        assert it.news("gp-1")[-1] == "deleted"
        assert len(proxy.seen) - asked < 60, "it asked in a tight loop"

    run(act)


@pytest.mark.parametrize("bad", [BadAnswer(401), BadAnswer(429, retry_after="1"), BadAnswer(500), BadAnswer(200, b"<html></html>")])
def test_a_feed_comes_back_from_any_answer_to_its_list(run: Any, proxy: Proxy, bad: BadAnswer) -> None:
    bad.tell(proxy, "/beads?limit=", times=3)

    async def act(it: Fed) -> None:
        await it.make("gp-1")
        await it.holds({"gp-1": 2})
        await it.make("gp-2")
        await it.holds({"gp-1": 2, "gp-2": 2})
        assert len(proxy.seen) < 60

    run(act)


def test_what_came_and_went_within_a_gap_is_not_there(run: Any, proxy: Proxy) -> None:
    async def act(it: Fed) -> None:
        await it.make("gp-1")
        await it.holds({"gp-1": 2})
        await it.watches()
        await it.goes_away()
        await it.make("gp-2")
        await it.delete("gp-2")
        await it.delete("gp-1")
        await it.make("gp-1", 4)
        proxy.refuse_watches = 1
        proxy.is_down = False
        await it.holds({"gp-1": 4})
        (now,) = (await it.direct.list_all(BEAD, it.namespace)).items
        bead = it.store.find(it.namespace, "gp-1")
        assert bead is not None
        assert bead.metadata.uid == now.metadata.uid
        assert it.news("gp-2") == [], it.proxy.seen

    run(act)


def test_all_that_vanished_within_a_gap_is_gone_although_nothing_is_left_to_tell(run: Any, proxy: Proxy) -> None:
    async def act(it: Fed) -> None:
        for number in range(3):
            await it.make(f"gp-{number}")
        await it.holds({f"gp-{number}": 2 for number in range(3)})
        await it.watches()
        await it.goes_away()
        for number in range(3):
            await it.delete(f"gp-{number}")
        proxy.refuse_watches = 1
        proxy.is_down = False
        await it.holds({})
        assert [it.news(f"gp-{number}")[-1] for number in range(3)] == ["deleted"] * 3

    run(act)


def test_an_object_that_can_not_be_read_is_named_and_hides_no_other(run: Any, caplog: pytest.LogCaptureFixture) -> None:
    async def act(it: Fed) -> None:
        await it.make("gp-1")
        await it.make("gp-odd", 3)
        await it.holds({"gp-1": 2})
        await it.watches()
        await it.make("gp-2")
        await it.change("gp-1", 4)
        await it.holds({"gp-2": 2})
        await it.change("gp-1", 2)
        await it.holds({"gp-1": 2, "gp-2": 2})
        await becomes(lambda: it.feed.pulse.undecodable >= 2)
        assert it.news("gp-1") == ["added", "deleted", "added"]

    run(act, Ways(kind=PICKY_BEAD))
    named = {getattr(record, "fields", {}).get("name") for record in caplog.records if record.message == "object_left_out"}
    assert named == {"gp-1", "gp-odd"}


def test_a_token_that_rotates_is_followed(run: Any, proxy: Proxy, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("first")
    proxy.token = "first"

    def bearing(given: Configuration) -> Configuration:
        return dataclasses.replace(given, token_file=TokenFile(str(file)))

    async def act(it: Fed) -> None:
        await it.make("gp-1")
        await it.holds({"gp-1": 2})
        await it.watches()
        proxy.token = "second"
        asked = len(proxy.seen)
        proxy.cut_streams()
        await it.delete("gp-1")
        # The old token is worth nothing for a while, as when a clock is late.
        await becomes(lambda: len(proxy.seen) >= asked + 4, 60)
        file.write_text("second!")
        file.write_text("second")
        await it.make("gp-2")
        await it.holds({"gp-2": 2})
        assert len(proxy.seen) - asked < 60

    run(act, Ways(configure=bearing))


@pytest.mark.parametrize("seed", [1, *(pytest.param(seed, marks=pytest.mark.soak) for seed in range(2, 8))])
def test_a_link_that_breaks_all_the_time_costs_nothing_but_time(run: Any, proxy: Proxy, seed: int) -> None:
    dice = random.Random(seed)

    def refuse() -> None:
        proxy.refuse_watches = 1

    def leave_alone() -> None:
        pass

    faults = [proxy.cut_streams, proxy.tear_streams, proxy.halve_streams, refuse, leave_alone]

    async def act(it: Fed) -> None:
        await it.watches()
        expected: dict[str, int] = {}
        for _ in range(60):
            name = f"gp-{dice.randrange(8)}"
            dice.choice(faults)()
            if name not in expected:
                expected[name] = dice.randrange(5)
                await it.make(name, expected[name])
            elif dice.random() < 0.4:
                del expected[name]
                await it.delete(name)
            else:
                expected[name] = dice.randrange(5)
                await it.change(name, expected[name])
        await it.holds(expected)
        await it.make("gp-last")
        await it.holds({**expected, "gp-last": 2})
        versions: dict[tuple[str, str], int] = {}
        for change in it.told:
            if change.after is not None:
                version = int(change.after.metadata.resourceVersion)
                assert version > versions.get(change.key, 0), "listeners were told of an older version"
                versions[change.key] = version

    run(act)


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_five_thousand_objects_come_page_by_page(run: Any) -> None:
    async def act(it: Fed) -> None:
        for start in range(0, 5000, 50):
            await asyncio.gather(*(it.make(f"gp-{number}", number % 5) for number in range(start, start + 50)))
        await becomes(lambda: len(it.store) == 5000, 240)
        await it.watches()
        await it.goes_away()
        await it.delete("gp-17")
        await it.change("gp-18", 0)
        it.proxy.refuse_watches = 1
        it.proxy.is_down = False
        await becomes(lambda: len(it.store) == 4999, 240)
        await it.holds({f"gp-{number}": number % 5 for number in range(5000) if number != 17} | {"gp-18": 0}, timeout_seconds=240)
        assert it.proxy.count("GET", "continue=") > 0

    run(act)
