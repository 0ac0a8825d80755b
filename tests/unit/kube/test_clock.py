"""Now is what the API server's clock says, whatever this machine's clock says or is set to."""

from __future__ import annotations

import asyncio
import datetime as dt
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gastown.api.kinds import BEAD
from gastown.kube.aio import Client
from gastown.kube.clock import ServerClock
from gastown.kube.configuration import Configuration
from support.build import NOON
from support.scripted_server import ScriptedServer, answer

DAY = 86400.0


class World:
    """A server and a machine, each with its clock."""

    def __init__(self, skew: float) -> None:
        self.passed = 1000.0
        self.server_set_by = 0.0
        self.skew = skew
        self.clock = ServerClock(lambda: self.server() + self.skew, lambda: self.passed)

    def server(self) -> float:
        return NOON + self.passed + self.server_set_by

    def ask(self, seconds_there: float, seconds_back: float) -> None:
        sent = self.passed
        self.passed += seconds_there
        date = format_datetime(dt.datetime.fromtimestamp(int(self.server()), dt.UTC), usegmt=True)
        self.passed += seconds_back
        self.clock.heard(date, sent)


WAYS = st.tuples(st.floats(0, 30), st.floats(0, 30), st.floats(0, 600), st.sampled_from([0.0, 0.0, 0.0, 600.0, -600.0, DAY, -DAY]))


@given(skew=st.sampled_from([0.0, 600.0, -600.0, DAY, -DAY]), ways=st.lists(WAYS, min_size=1, max_size=12))
def test_a_skewed_machine_with_a_clock_that_jumps_knows_the_servers_time(
    skew: float, ways: list[tuple[float, float, float, float]]
) -> None:
    world = World(skew)
    for there, back, pause, jump in ways:
        world.ask(there, back)
        assert -1.0 - back - 0.01 <= world.clock.now() - world.server() <= 0.01, "never ahead, and late by no more than the way back"
        world.skew += jump  # somebody sets the machine's clock
        world.passed += pause
        assert -1.0 - back - 0.01 <= world.clock.now() - world.server() <= 0.01


def test_quick_answers_make_it_precise() -> None:
    world = World(600.0)
    world.ask(5.0, 9.0)
    for _ in range(40):
        world.passed += 0.3
        world.ask(0.01, 0.01)
    assert abs(world.clock.now() - world.server()) < 0.15


@pytest.mark.parametrize("jump", [DAY, -DAY, 600.0, -600.0, 5.0, -5.0])
def test_a_server_whose_clock_is_set_is_followed_with_its_next_answer(jump: float) -> None:
    world = World(0.0)
    world.ask(0.01, 0.01)
    world.server_set_by = jump
    world.ask(0.01, 0.01)
    assert abs(world.clock.now() - world.server()) < 1.1


def test_until_an_answer_came_the_machines_clock_must_do() -> None:
    world = World(600.0)
    assert world.clock.now() == world.server() + 600.0
    for odd in (None, "", "yesterday", "Tue, 31 Foo 2026 25:00:00 GMT"):
        world.clock.heard(odd, world.passed)
    assert world.clock.now() == world.server() + 600.0


def test_a_client_tells_the_time_of_its_server() -> None:
    async def inside() -> float:
        async with Client(Configuration(server=server.url), user_agent="test") as client:
            await client.list_all(BEAD, "town")
            return client.clock.now()

    with ScriptedServer() as server:
        server.then(answer(200, {"metadata": {"resourceVersion": "5"}, "items": []}, {"Date": "Sun, 15 Jun 2025 12:00:00 GMT"}))
        assert abs(asyncio.run(inside()) - dt.datetime(2025, 6, 15, 12, tzinfo=dt.UTC).timestamp()) < 30
