"""Current states: built on what is durable only, in order, and read again when they are not in memory."""

import asyncio
from collections.abc import Collection
from typing import Any

import msgspec
import pytest
from msgspec import Raw

from tailrace.events import DiskFull, ParsedBatch, Receipt, Rejection
from tailrace.events.idempotency import BatchKey
from tailrace.events.upserts import Upsert
from tailrace.ingest.upserts import UpsertStore
from tailrace.query import CurrentState


class Table:
    """A dataset of current states: every row, and whether storing one waits or fails."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.reads: list[list[str]] = []
        self.appends = 0
        self.may_go = asyncio.Event()
        self.may_go.set()
        self.failure: Exception | None = None

    async def ingest(self, parsed: ParsedBatch, keys: tuple[BatchKey, ...]) -> Receipt:
        await self.may_go.wait()
        if self.failure is not None:
            raise self.failure
        self.appends += 1
        self.rows += [msgspec.json.decode(line) for line in parsed.events.splitlines()]
        return Receipt(parsed.count, (), parsed.processed_bytes, 1)

    async def read(self, dataset: str, ids: Collection[str]) -> dict[str, CurrentState]:
        self.reads.append(sorted(ids))
        await asyncio.sleep(0)
        found = {}
        for row in self.rows:
            if row["id"] in ids:
                members = {name: Raw(msgspec.json.encode(value)) for name, value in row.items()}
                members.pop("id")
                found[row["id"]] = CurrentState(msgspec.json.decode(members.pop("_revision")), members)
        return found

    async def send(self, states: UpsertStore, identity: str, **members: Any) -> list[Rejection]:
        raws = {name: Raw(msgspec.json.encode(value)) for name, value in members.items()}
        return await states.upsert(
            [Upsert(0, identity, raws)],
            lambda before, change: {**before, **change},
            self.ingest,
            dataset="d",
            primary_key="id",
            generation=1,
            received_ns=1,
        )

    def newest(self, identity: str) -> dict[str, Any]:
        return max((row for row in self.rows if row["id"] == identity), key=lambda row: row["_revision"])


def states_of(table: Table, **more: Any) -> UpsertStore:
    return UpsertStore(table.read, max_event_bytes=200, **more)


def test_requests_that_come_together_are_stored_together_and_in_order() -> None:
    async def run() -> None:
        table = Table()
        states = states_of(table)
        await asyncio.gather(*(table.send(states, f"u{n % 2}", last=n) for n in range(20)))
        assert table.appends == 1
        assert table.newest("u0") == {"id": "u0", "_revision": 10, "last": 18}
        assert table.newest("u1") == {"id": "u1", "_revision": 10, "last": 19}
        assert table.reads == [["u0", "u1"]]

    asyncio.run(run())


def test_states_that_are_stored_together_are_remembered_each_by_its_id() -> None:
    async def run() -> None:
        table = Table()
        states = states_of(table)
        await asyncio.gather(*(table.send(states, identity, first=identity) for identity in "abc"))
        assert table.appends == 1
        table.reads.clear()
        await asyncio.gather(*(table.send(states, identity, second=identity) for identity in "cab"))

        assert table.reads == []
        for identity in "abc":
            assert table.newest(identity) == {"id": identity, "_revision": 2, "first": identity, "second": identity}

    asyncio.run(run())


def test_a_failure_leaves_no_trace() -> None:
    async def run() -> None:
        table = Table()
        states = states_of(table)
        await table.send(states, "u", a=1)
        table.may_go.clear()
        table.failure = DiskFull("full")
        failing = [asyncio.ensure_future(table.send(states, "u", b=n)) for n in range(2)]
        await asyncio.sleep(0)
        table.may_go.set()
        for each in failing:
            with pytest.raises(DiskFull):
                await each
        table.failure = None
        await table.send(states, "u", c=3)
        assert table.newest("u") == {"id": "u", "_revision": 2, "a": 1, "c": 3}

    asyncio.run(run())


def test_what_is_not_in_memory_is_read_again() -> None:
    async def run() -> None:
        table = Table()
        states = states_of(table, max_cached_bytes=1000)
        for number in range(20):
            await table.send(states, f"u{number}", n=number)
        for number in range(20):
            await table.send(states, f"u{number}", m=number)
        assert len(table.reads) == 40
        for number in range(20):
            assert table.newest(f"u{number}") == {"id": f"u{number}", "_revision": 2, "n": number, "m": number}

    asyncio.run(run())


def test_a_client_that_hangs_up_takes_no_other_with_it() -> None:
    async def run() -> None:
        table = Table()
        states = states_of(table)
        table.may_go.clear()
        first = asyncio.ensure_future(table.send(states, "u", a=1))
        second = asyncio.ensure_future(table.send(states, "u", b=2))
        await asyncio.sleep(0)
        first.cancel()
        table.may_go.set()
        assert await second == []
        assert table.newest("u") == {"id": "u", "_revision": 2, "a": 1, "b": 2}

    asyncio.run(run())


def test_a_state_that_would_be_too_large_is_refused_alone() -> None:
    async def run() -> None:
        table = Table()
        states = states_of(table)
        results = await asyncio.gather(table.send(states, "u", a="x" * 300), table.send(states, "u", b=1))
        assert [[each.code for each in result] for result in results] == [["event_too_large"], []]
        assert table.newest("u") == {"id": "u", "_revision": 1, "b": 1}

    asyncio.run(run())


def test_a_large_state_is_merged_beside_the_event_loop_in_slices() -> None:
    async def run() -> None:
        sizes: list[int] = []

        async def offload(work: Any, size: int) -> Any:
            sizes.append(size)
            return work()

        table = Table()
        states = UpsertStore(table.read, max_event_bytes=10_000_000, offload=offload)
        await table.send(states, "u", large="x" * 900_000)
        changes = [Upsert(n, "u", {"n": Raw(b"%d" % n)}) for n in range(20)]
        refused = await states.upsert(
            changes,
            lambda before, change: {**before, **change},
            table.ingest,
            dataset="d",
            primary_key="id",
            generation=1,
            received_ns=2,
        )
        assert refused == []
        assert table.newest("u")["n"] == 19
        assert table.newest("u")["_revision"] == 21
        assert len(sizes) >= 5
        assert min(sizes) > 900_000

    asyncio.run(run())


def test_a_state_has_a_bounded_number_of_values() -> None:
    async def run() -> None:
        table = Table()
        states = UpsertStore(table.read, max_event_bytes=10_000_000)
        many = {f"f{number}": number for number in range(10_000)}
        assert await table.send(states, "u", **many) == []
        refused = await table.send(states, "u", one_more=1)
        assert "10001 values" in refused[0].reason
        assert await table.send(states, "u", f7=8) == []

    asyncio.run(run())
