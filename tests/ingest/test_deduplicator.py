"""What of events with ids is stored: failures give the id free, what memory does not hold is asked of the dataset."""

import asyncio
from collections.abc import Awaitable, Collection

import numpy as np
import pytest

from tailrace.events import DiskFull, ParsedBatch, Receipt
from tailrace.ingest.deduplicator import Deduplicator
from tailrace.query import StoredValue

SECOND_NS = 1_000_000_000


class Log:
    """A dataset: what was stored, and whether storing waits or fails."""

    def __init__(self) -> None:
        self.stored: list[StoredValue] = []
        self.lines: list[bytes] = []
        self.reads: list[int] = []  # how many ids each read was for; 0 for the newest
        self.now_ns = 0
        self.may_go = asyncio.Event()
        self.may_go.set()
        self.failure: Exception | None = None

    async def ingest(self, parsed: ParsedBatch) -> Receipt:
        await self.may_go.wait()
        if self.failure is not None:
            raise self.failure
        lines = parsed.events.splitlines()
        assert len(lines) == parsed.count == len(parsed.times)
        self.lines += lines
        self.stored += [StoredValue(line.decode(), self.now_ns) for line in lines]
        return Receipt(parsed.count, parsed.rejections, parsed.processed_bytes, 1)

    async def read(self, dataset: str, field: str, since_ns: int, among: Collection[str]) -> list[StoredValue]:
        self.reads.append(len(among))
        await asyncio.sleep(0)
        recent = [each for each in self.stored if each.received_ns >= since_ns]
        return [each for each in recent if each.value in among] if among else recent[-self.most :]

    most = 1_000_000

    def send(
        self, once: Deduplicator, *ids: str, now_s: float = 0, generation: int = 1, field: str = "id"
    ) -> Awaitable[Receipt]:
        self.now_ns = int(now_s * SECOND_NS)
        events = "".join(f"{each}\n" for each in ids).encode()
        parsed = ParsedBatch(events, np.arange(len(ids), dtype=np.int64), len(ids), len(events))
        return once.ingest(
            parsed,
            ids,
            self.ingest,
            dataset="d",
            field=field,
            generation=generation,
            window_ns=10 * SECOND_NS,
            received_ns=self.now_ns,
        )


def texts(log: Log) -> list[str]:
    return [line.decode() for line in log.lines]


async def turns(count: int = 10) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def test_a_second_request_waits_until_the_first_is_durable() -> None:
    async def run() -> None:
        log = Log()
        once = Deduplicator(log.read)
        log.may_go.clear()
        first = asyncio.ensure_future(log.send(once, "a", "b"))
        second = asyncio.ensure_future(log.send(once, "b", "c"))
        await turns()
        assert not first.done()
        assert not second.done()
        log.may_go.set()
        assert (await first).stored == 2
        assert (await second).stored == 1
        assert texts(log) == ["a", "b", "c"]

    asyncio.run(run())


def test_a_failure_gives_the_id_free() -> None:
    async def run() -> None:
        log = Log()
        once = Deduplicator(log.read)
        log.may_go.clear()
        log.failure = DiskFull("full")
        first = asyncio.ensure_future(log.send(once, "a"))
        second = asyncio.ensure_future(log.send(once, "a"))
        await turns()
        log.may_go.set()
        with pytest.raises(DiskFull):
            await first
        log.failure = None
        results = await asyncio.gather(second, return_exceptions=True)
        assert texts(log) == (["a"] if isinstance(results[0], Receipt) else [])
        await log.send(once, "a")
        assert texts(log) == ["a"]

    asyncio.run(run())


def test_a_client_that_hangs_up_leaves_nothing_half_done() -> None:
    async def run() -> None:
        log = Log()
        once = Deduplicator(log.read)
        log.may_go.clear()
        first = asyncio.ensure_future(log.send(once, "a"))
        await turns()
        first.cancel()
        await turns()
        log.may_go.set()
        assert (await log.send(once, "a")).stored == 0
        assert texts(log) == ["a"]

    asyncio.run(run())


def test_the_dataset_is_read_once_and_again_after_a_failure() -> None:
    async def run() -> None:
        log = Log()
        log.stored = [StoredValue("old", -5 * SECOND_NS), StoredValue("gone", -11 * SECOND_NS)]
        once = Deduplicator(log.read)
        failing = Deduplicator(fail)
        with pytest.raises(DiskFull):
            await log.send(failing, "a")
        with pytest.raises(DiskFull):
            await log.send(failing, "a")
        await asyncio.gather(*(log.send(once, "old", "gone", str(number)) for number in range(5)))
        assert log.reads == [0]
        assert sorted(texts(log)) == ["0", "1", "2", "3", "4", "gone"]

    async def fail(dataset: str, field: str, since_ns: int, among: Collection[str]) -> list[StoredValue]:
        raise DiskFull("unreadable")

    asyncio.run(run())


def test_an_id_ends_with_its_window() -> None:
    async def run() -> None:
        log = Log()
        once = Deduplicator(log.read)
        for now_s, stored in ((0, 1), (10, 0), (10.001, 1), (15, 0), (20.001, 0), (20.002, 1)):
            assert (await log.send(once, "a", now_s=now_s)).stored == stored, now_s

    asyncio.run(run())


def test_the_receipt_names_the_events_that_are_repeated() -> None:
    async def run() -> None:
        log = Log()
        once = Deduplicator(log.read)
        assert (await log.send(once, "a", "b", "c")).repeated == ()
        receipt = await log.send(once, "new", "b", "new", "c", "")
        assert (receipt.stored, receipt.repeated) == (2, (1, 2, 3))
        assert texts(log) == ["a", "b", "c", "new", ""]

    asyncio.run(run())


def test_ids_of_two_fields_are_apart() -> None:
    async def run() -> None:
        log = Log()
        once = Deduplicator(log.read)
        assert (await log.send(once, "a")).stored == 1
        log.stored.clear()
        assert (await log.send(once, "a", field="other")).stored == 1
        assert (await log.send(once, "a", field="other")).stored == 0

    asyncio.run(run())


def test_what_memory_does_not_hold_is_asked_of_the_dataset() -> None:
    async def run() -> None:
        log = Log()
        log.most = 5
        once = Deduplicator(log.read, max_remembered=5)
        for number in range(9):
            await log.send(once, str(number), now_s=number / 10)
        for number in range(9):
            assert (await log.send(once, str(number), "new" + str(number), now_s=1)).stored == 1
        assert len(log.reads) > 1
        restarted = Deduplicator(log.read, max_remembered=5)
        assert (await log.send(restarted, *map(str, range(9)), now_s=1)).stored == 0
        # Past the window nothing older counts, and nothing is asked for any more.
        await log.send(restarted, "x", now_s=100)
        asked = len(log.reads)
        await log.send(restarted, "y", now_s=101)
        assert len(log.reads) == asked

    asyncio.run(run())


def test_another_dataset_of_the_name_starts_anew() -> None:
    async def run() -> None:
        log = Log()
        once = Deduplicator(log.read)
        await log.send(once, "a")
        log.stored.clear()
        assert (await log.send(once, "a", generation=2)).stored == 1

    asyncio.run(run())
