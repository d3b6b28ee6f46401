"""Readers of live tails get what other processes take in from a source, which is followed while there are any."""

import asyncio
import threading
from collections.abc import Callable, Sequence

from support.events import batch

from tailrace.events import Batch
from tailrace.query import Engine, QueryLimits
from tailrace.tail import Missed, TailLimits, Tails


class Source:
    """Gives what a test says, in a thread."""

    def __init__(self) -> None:
        self.followed: list[str] = []
        self.ended: list[str] = []
        self.begun: Callable[[], None] = lambda: None
        self.put: Callable[[Sequence[Batch]], None] = lambda batches: None
        self.miss: Callable[[int, str], None] = lambda count, reason: None

    def follow(
        self,
        dataset: str,
        begun: Callable[[], None],
        put: Callable[[Sequence[Batch]], None],
        miss: Callable[[int, str], None],
    ) -> Callable[[], None]:
        self.followed.append(dataset)
        self.begun, self.put, self.miss = begun, put, miss
        return lambda: self.ended.append(dataset)


async def in_thread(call: Callable[..., None], *arguments: object) -> None:
    """Call something in another thread, and return once the event loop has done what it wants of it."""
    thread = threading.Thread(target=call, args=arguments)
    thread.start()
    await asyncio.to_thread(thread.join)
    await asyncio.sleep(0)


def no_engine(limits: QueryLimits) -> Engine:
    raise AssertionError


def test_a_dataset_is_followed_from_its_first_reader_to_its_last() -> None:
    async def run() -> None:
        source = Source()
        tails = Tails(TailLimits(), no_engine, source)
        with tails.reader("d", "token") as first:
            with tails.reader("d", "token") as second:
                assert source.followed == ["d"]
                assert not first.begun.is_set()
                await in_thread(source.begun)
                assert first.begun.is_set()
                assert second.begun.is_set()
            with tails.reader("d", "token") as third:
                assert third.begun.is_set()
            assert source.ended == []
        assert (source.followed, source.ended) == (["d"], ["d"])

    asyncio.run(run())


def test_batches_and_gaps_come_to_every_reader_of_the_dataset() -> None:
    async def run() -> None:
        source = Source()
        tails = Tails(TailLimits(), no_engine, source)
        with tails.reader("d", "token") as one, tails.reader("d", "token") as other:
            sent = batch([{"n": 1}])
            await in_thread(source.put, [sent])
            await in_thread(source.miss, 3, "")
            await in_thread(source.miss, 0, "moved")
            for reader in (one, other):
                assert await reader.wait()
                assert reader.take() == [sent]
                assert [reader.take(), reader.take(), reader.take()] == [Missed(3), Missed(0, "moved"), None]

    asyncio.run(run())


def test_what_comes_late_is_for_nobody() -> None:
    async def run() -> None:
        source = Source()
        tails = Tails(TailLimits(), no_engine, source)
        with tails.reader("d", "token"):
            late = source.put
        with tails.reader("d", "token") as reader:
            await in_thread(late, [batch([{"n": 1}])])
            assert reader.take() is None

    asyncio.run(run())


def test_without_a_source_a_reader_has_begun() -> None:
    async def run() -> None:
        with Tails(TailLimits(), no_engine).reader("d", "token") as reader:
            assert reader.begun.is_set()

    asyncio.run(run())


def test_the_end_of_the_server_ends_following() -> None:
    async def run() -> None:
        source = Source()
        tails = Tails(TailLimits(), no_engine, source)
        with tails.reader("d", "token") as reader:
            tails.close()
            assert (source.ended, await reader.ended) == (["d"], "the server is shutting down")

    asyncio.run(run())
