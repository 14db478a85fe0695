"""The waiting line: bounded, and one at a time for each client."""

import asyncio

import pytest

from forwardauth.waiting import LineFullError, WaitingLine


async def hold(line: WaitingLine, client: bytes, check: bytes, gate: asyncio.Event, order: list[bytes]) -> None:
    async with line.turn(client, check):
        order.append(check)
        await gate.wait()


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_one_client_takes_its_turns_in_order_and_another_goes_beside_it() -> None:
    line, gate, order = WaitingLine(), asyncio.Event(), list[bytes]()
    tasks = [asyncio.ensure_future(hold(line, b"a", check, gate, order)) for check in (b"1", b"2", b"3")]
    tasks.append(asyncio.ensure_future(hold(line, b"b", b"4", gate, order)))
    await settle()
    assert order == [b"1", b"4"]
    gate.set()
    await asyncio.gather(*tasks)
    assert order == [b"1", b"4", b"2", b"3"]


async def test_the_line_and_each_client_in_it_are_bounded_by_checks_not_by_requests() -> None:
    line, gate = WaitingLine(checks=3, per_client=2), asyncio.Event()
    places = [(b"a", b"1"), (b"a", b"1"), (b"a", b"2"), (b"b", b"3"), (b"b", b"3")]
    tasks = [asyncio.ensure_future(hold(line, client, check, gate, [])) for client, check in places]
    await settle()
    assert len(line) == 3
    for client, check in ((b"a", b"5"), (b"c", b"6")):
        with pytest.raises(LineFullError):
            await hold(line, client, check, gate, [])
    gate.set()
    await asyncio.gather(*tasks)
    assert len(line) == 0
    await hold(line, b"c", b"6", gate, [])


async def test_who_gives_up_leaves_no_place_behind() -> None:
    line, gate = WaitingLine(), asyncio.Event()
    tasks = [asyncio.ensure_future(hold(line, b"a", check, gate, [])) for check in (b"1", b"2")]
    await settle()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert len(line) == 0
    gate.set()
    await hold(line, b"a", b"1", gate, [])
