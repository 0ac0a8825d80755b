"""Who writes first."""

from __future__ import annotations

import asyncio

from gastown.runtime.write_slots import Priority, WriteSlots


async def _order(slots: WriteSlots, wanted: list[Priority]) -> list[Priority]:
    """The order in which writers that arrived in the given order got the only slot."""
    served: list[Priority] = []
    busy = asyncio.Event()

    async def first() -> None:
        async with slots.slot(Priority.STATUS):
            await busy.wait()

    async def writer(priority: Priority) -> None:
        async with slots.slot(priority):
            served.append(priority)
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as group:
        group.create_task(first())
        await asyncio.sleep(0)
        for priority in wanted:
            group.create_task(writer(priority))
            await asyncio.sleep(0)
        assert slots.waiting == len(wanted)
        busy.set()
    return served


def test_bindings_go_before_creates_before_statuses_before_roll_ups_before_events() -> None:
    wanted = [Priority.EVENT, Priority.ROLL_UP, Priority.STATUS, Priority.CREATE, Priority.STATUS, Priority.BINDING, Priority.CREATE]
    assert asyncio.run(_order(WriteSlots(1), wanted)) == sorted(wanted)


async def _most_at_once(writers: int) -> int:
    slots, now, most = WriteSlots(4), 0, 0

    async def writer(number: int) -> None:
        nonlocal now, most
        async with slots.slot(Priority(number % 4)):
            now += 1
            most = max(most, now)
            await asyncio.sleep(0.001 * (number % 3))
            now -= 1

    async with asyncio.timeout(10):
        await asyncio.gather(*(writer(number) for number in range(writers)))
    return most


def test_never_more_than_four_write_at_once() -> None:
    assert asyncio.run(_most_at_once(40)) == 4


async def _cancel_the_next_in_line() -> None:
    slots = WriteSlots(1)
    order: list[str] = []

    async def writer(name: str) -> None:
        async with slots.slot(Priority.STATUS):
            order.append(name)

    await slots._acquire(Priority.STATUS)
    doomed, heir = asyncio.create_task(writer("doomed")), asyncio.create_task(writer("heir"))
    await asyncio.sleep(0)
    slots._release()  # the slot is the doomed one's, but it has not run yet
    doomed.cancel()
    async with asyncio.timeout(5):
        await heir
        await writer("last")
    assert order == ["heir", "last"]


def test_a_writer_cancelled_as_its_turn_comes_passes_the_slot_on() -> None:
    asyncio.run(_cancel_the_next_in_line())
