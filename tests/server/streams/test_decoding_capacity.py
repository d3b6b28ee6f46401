"""What is decoded of the messages of a port waits while there is too much of it."""

import asyncio

from tailrace.server.streams.store import DecodingCapacity


def test_no_more_is_held_than_there_is_and_what_is_larger_goes_alone() -> None:
    async def run() -> None:
        capacity = DecodingCapacity(100)
        held: list[int] = []

        async def decode(size: int) -> None:
            async with capacity.hold(size):
                held.append(size)
                assert sum(held) <= 100 or held == [500]
                await asyncio.sleep(0)
                held.remove(size)

        await asyncio.gather(*(decode(size) for size in (60, 60, 30, 500, 10, 100, 40, 40)))
        assert held == []

    asyncio.run(run())
