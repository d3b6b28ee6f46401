"""Answers that wait while more is in memory than tables take in, and what ends their waiting."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec import Struct
from support.events import batch

from tailrace.ingest.answer_hold import LEAST_BYTES, AnswerHold, Committing
from tailrace.lake import Lake, LakeSettings
from tailrace.lake.dataset_state import BATCH_OVERHEAD_BYTES
from tailrace.lake.table import DatasetTable

SIZE = LEAST_BYTES
EVENTS = [{"n": n} for n in range(10_000)]  # more than the bound
LONG_S = 1e6


class Memory(Struct):
    """A lake's memory as a test wants it."""

    excess_bytes: int = 1
    commits: int = 0


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lake]:
    """Yield a lake with the datasets `d` and `other`, and little memory."""
    lake = Lake.open(tmp_path, LakeSettings(max_uncommitted_bytes=4 * SIZE, commit_age_s=1e9))
    lake.create("d")
    lake.create("other")
    yield lake
    lake.close(commit=False)


@pytest.fixture
def may_commit(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Without it, commits take as long as the test."""
    may_commit = threading.Event()
    commit = DatasetTable.commit

    def late(*arguments: Any, **options: Any) -> None:
        may_commit.wait()
        commit(*arguments, **options)

    with monkeypatch.context() as patched:
        patched.setattr(DatasetTable, "commit", late)
        yield may_commit
        may_commit.set()


def hold_of(
    lake: Committing, max_wait_s: float = LONG_S, is_stopping: Callable[[], bool] = lambda: False
) -> AnswerHold:
    return AnswerHold(lake, max_wait_s=max_wait_s, is_stopping=is_stopping)


def answer(hold: AnswerHold, gone: asyncio.Event | None = None, size: int = SIZE) -> "asyncio.Task[None]":
    async def until_gone() -> None:
        await (gone or asyncio.Event()).wait()

    return asyncio.create_task(hold.wait(size, until_gone()))


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(test, 60))


def test_an_answer_waits_until_what_is_too_much_is_committed(may_commit: threading.Event, lake: Lake) -> None:
    async def test() -> None:
        hold = hold_of(lake)
        assert not hold.is_due(SIZE)
        lake.accept(1, batch(EVENTS))
        assert hold.is_due(SIZE)
        answers = [answer(hold) for _ in range(3)]
        rows = await asyncio.to_thread(lambda: [part.rows.num_rows for part in lake.snapshot("d").hot])
        assert (sum(rows), hold.waiting) == (len(EVENTS), 3)

        may_commit.set()
        await asyncio.gather(*answers)

        assert lake.uncommitted_bytes == 0
        assert (hold.waiting, hold.held, hold.held_s > 0) == (0, 3, True)

    run(test())


def test_the_answers_to_small_requests_wait_for_nothing() -> None:
    assert not hold_of(Memory()).is_due(LEAST_BYTES - 1)
    assert not hold_of(Memory(), max_wait_s=0).is_due(LEAST_BYTES)


def test_answers_go_in_order_as_far_as_there_is_space_for_what_their_clients_send_next() -> None:
    async def test() -> None:
        memory = Memory()
        hold = hold_of(memory)
        first, second, third = (answer(hold, size=10) for _ in range(3))
        await asyncio.sleep(0)
        memory.excess_bytes = -5
        await first
        assert hold.waiting == 2
        memory.excess_bytes = 1
        assert not second.done()
        memory.excess_bytes = -15
        await asyncio.gather(second, third)

    run(test())


def test_the_wait_ends_when_the_client_hangs_up_and_when_it_is_cancelled() -> None:
    async def test() -> None:
        hold, gone = hold_of(Memory()), asyncio.Event()
        left, cancelled = answer(hold, gone), answer(hold)
        await asyncio.sleep(0)
        gone.set()
        await left
        cancelled.cancel()
        await asyncio.wait({cancelled})
        assert (hold.waiting, hold.held) == (0, 2)

    run(test())


def test_the_wait_ends_with_the_server() -> None:
    async def test() -> None:
        stopping = asyncio.Event()
        hold = hold_of(Memory(), is_stopping=stopping.is_set)
        waiting = answer(hold)
        await asyncio.sleep(0)
        stopping.set()
        await waiting
        assert not hold.is_due(SIZE)

    run(test())


def test_none_waits_any_more_where_nothing_was_committed_in_time_until_something_is(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def test() -> None:
        memory = Memory()
        hold = hold_of(memory, max_wait_s=0.02)
        await asyncio.gather(answer(hold), answer(hold))
        assert not hold.is_due(SIZE)
        memory.commits = 1
        assert hold.is_due(SIZE)

    run(test())
    assert [record.message.partition(":")[0] for record in caplog.records] == [
        "nothing was committed in uncommitted_wait_s = 0.02 s"
    ]


def test_an_answer_waits_no_longer_than_its_time_where_commits_go_on() -> None:
    async def test() -> None:
        memory = Memory()
        hold = hold_of(memory, max_wait_s=0.02)
        waiting = answer(hold)
        await asyncio.sleep(0)
        memory.commits = 1
        await waiting
        assert hold.is_due(SIZE)

    run(test())


def test_what_many_datasets_have_in_memory_together_is_bounded(tmp_path: Path) -> None:
    bound, clients, rounds, datasets = 16 * SIZE, 4, 12, 8
    events = [{"text": "x" * 90} for _ in range(SIZE // 100)]
    lake = Lake.open(tmp_path, LakeSettings(max_uncommitted_bytes=bound, commit_age_s=1e9))
    for number in range(datasets):
        lake.create(f"d{number}")
    most = 0

    async def client(hold: AnswerHold, numbers: range) -> None:
        nonlocal most
        for number in numbers:
            lake.accept(number, batch(events, f"d{number % datasets}"))
            most = max(most, lake.uncommitted_bytes)
            if hold.is_due(SIZE):
                await answer(hold)
            await asyncio.sleep(0)

    async def test() -> None:
        hold = hold_of(lake)
        await asyncio.gather(
            *(client(hold, range(first + 1, clients * rounds + 1, clients)) for first in range(clients))
        )
        assert hold.held > 0

    run(test())
    assert most <= bound + clients * (SIZE + BATCH_OVERHEAD_BYTES)
    lake.commit_now()
    rows = sum(file.rows for number in range(datasets) for file in lake.snapshot(f"d{number}").files)
    assert rows == len(events) * clients * rounds
    lake.close()


def test_none_waits_for_a_dataset_that_cannot_be_committed_but_for_others(
    may_commit: threading.Event, lake: Lake, tmp_path: Path
) -> None:
    async def test() -> None:
        hold = hold_of(lake)
        (tmp_path / "d").rename(tmp_path / "away")
        lake.accept(1, batch(EVENTS))
        await answer(hold)
        assert lake.commit_failures > 0
        assert lake.uncommitted_bytes > 4 * SIZE
        assert not hold.is_due(SIZE)

        lake.accept(2, batch(EVENTS, "other"))
        assert hold.is_due(SIZE)
        waiting = answer(hold)
        may_commit.set()
        await waiting

        assert (lake.uncommitted("d"), lake.uncommitted("other")) == (len(EVENTS), 0)

    run(test())
