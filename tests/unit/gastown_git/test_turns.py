"""Pushes and packing keep out of each other's way, and never for ever."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from gastown_git.server.turns import Turns

RIG, OTHER = Path("/data/rig.git"), Path("/data/other.git")


def test_packing_waits_for_the_pushes_under_way_and_pushes_for_the_packing() -> None:
    async def act() -> list[str]:
        turns, told = Turns(), []
        pushed = asyncio.Event()

        async def first_push() -> None:
            async with turns.push(RIG):
                await pushed.wait()
                told.append("first push")

        async def packing() -> None:
            async with turns.packing(RIG) as has_turn:
                told.append(f"packing {has_turn}")

        async def second_push() -> None:
            async with turns.push(RIG):
                told.append("second push")

        async with asyncio.TaskGroup() as group:
            for work in (first_push, packing, second_push):
                group.create_task(work())
                await asyncio.sleep(0)
            async with turns.push(OTHER):
                told.append("push elsewhere")
            pushed.set()
        return told

    assert asyncio.run(act()) == ["push elsewhere", "first push", "packing True", "second push"]


def test_a_push_that_does_not_end_puts_packing_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gastown_git.server.turns.WAIT_SECONDS", 0.01)

    async def act() -> bool:
        turns = Turns()
        async with turns.push(RIG), turns.packing(RIG) as has_turn:
            return has_turn

    assert asyncio.run(act()) is False


def test_packing_that_does_not_end_lets_a_push_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gastown_git.server.turns.WAIT_SECONDS", 0.01)

    async def act() -> bool:
        turns = Turns()
        async with turns.packing(RIG), turns.push(RIG):
            return True

    assert asyncio.run(act()) is True
