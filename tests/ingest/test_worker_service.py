"""What a worker knows of datasets, and what it passes on."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from tailrace.ingest.worker_service import KnownDataset, KnownDatasets, PassedOn, _Uncommitted


class Revision:
    number = 0


class Main:
    """Answers about datasets, and may be held up."""

    def __init__(self, revision: Revision) -> None:
        self.revision = revision
        self.known = {"a": KnownDataset(1, "", "org")}
        self.asked: list[str] = []
        self.held = asyncio.Event()
        self.held.set()

    async def ask(self, name: str) -> tuple[int, KnownDataset | None]:
        self.asked.append(name)
        answer = self.revision.number, self.known.get(name)
        await self.held.wait()
        return answer


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def awaited() -> None:
        await test()

    asyncio.run(awaited())


def test_a_dataset_is_asked_for_once_and_known_until_the_revision_changes() -> None:
    async def test() -> None:
        revision = Revision()
        main = Main(revision)
        datasets = KnownDatasets(revision, main.ask)
        for _ in range(3):
            with pytest.raises(PassedOn):
                datasets.get("a")
        await settle()
        assert datasets.get("a") == main.known["a"]
        assert datasets.organisation("a") == "org"
        assert main.asked == ["a"]
        revision.number = 1
        main.known["a"] = KnownDataset(2, "", "other")
        with pytest.raises(PassedOn):
            datasets.get("a")
        await settle()
        assert datasets.get("a") == main.known["a"]

    run(test)


def test_an_answer_from_before_a_change_is_not_kept() -> None:
    async def test() -> None:
        revision = Revision()
        main = Main(revision)
        datasets = KnownDatasets(revision, main.ask)
        main.held.clear()
        with pytest.raises(PassedOn):
            datasets.get("a")
        await settle()
        revision.number = 1
        del main.known["a"]
        with pytest.raises(PassedOn):
            datasets.get("a")
        main.held.set()
        await settle()
        with pytest.raises(PassedOn):
            datasets.get("a")

    run(test)


def test_a_dataset_may_be_asked_for_in_a_thread() -> None:
    async def test() -> None:
        revision = Revision()
        main = Main(revision)
        datasets = KnownDatasets(revision, main.ask)
        with pytest.raises(PassedOn):
            await asyncio.to_thread(datasets.get, "a")
        await settle()
        assert await asyncio.to_thread(datasets.get, "a") == main.known["a"]

    run(test)


def test_events_are_uncommitted_until_their_position_is_released() -> None:
    kept = _Uncommitted()
    for position in range(1, 11):
        kept.add("a" if position % 2 else "b", 600, position)
    assert kept.counts == {"a": 3000, "b": 3000}
    kept.release(4)
    assert kept.counts == {"a": 1800, "b": 1800}
    for position in range(11, 31):
        kept.add("c", 1, position)
    kept.release(29)
    assert kept.counts["c"] == 20  # they are released together
    kept.release(30)
    assert kept.counts == {}
