"""The log in an object store at any mix of puts that fail, answers that are lost, puts that come late, and kills.

A lake is played: it has what was delivered in memory, and what it committed in its tables, with the position.
"""

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from log.kit import Answers, make_batch
from obstore.store import MemoryStore
from support.object_stores import DONE, FAILED, LATE, LOST, FaultyStore, hurried
from support.rounds import rounds

from tailrace.events import Batch, TailraceError
from tailrace.log import LogSettings, ObjectLog, Subscription

FATES = st.sampled_from([DONE, DONE, DONE, FAILED, LOST, LATE])
PATIENCE_S = st.sampled_from([1e-6, 0.004])  # for one put, or a few
APPEND, COMMIT, ARRIVE = "append", "commit", "arrive"
ACTIONS = st.lists(st.sampled_from([APPEND, APPEND, APPEND, COMMIT, ARRIVE]), max_size=8)


@pytest.fixture(scope="module", autouse=True)
def _hurried() -> Iterator[None]:
    with hurried():
        yield


class PlayedLake:
    """Numbers with their positions: in memory, which a kill loses, and in tables, which stay."""

    def __init__(self) -> None:
        self.committed = 0  # position
        self.tables: list[int] = []
        self.memory: list[tuple[int, int]] = []

    def accept(self, group: list[tuple[int, Batch]]) -> None:
        for position, batch in group:
            if position > self.committed:
                assert not self.memory or position > self.memory[-1][0]
                self.memory.append((position, batch.labels["n"]))

    def commit(self) -> int:
        for position, number in self.memory:
            self.tables.append(number)
            self.committed = position
        self.memory = []
        return self.committed


class Process:
    """A process with the log open over a store; a lake replays it at the start."""

    def __init__(self, memory: MemoryStore, lake: PlayedLake, fates: list[str], *, patience_s: float = 0.004) -> None:
        self.lake = lake
        self.store = FaultyStore(memory)
        lake.memory = []
        self.log = ObjectLog.open(
            self.store,
            LogSettings(group_ms=0, put_timeout_s=patience_s),
            subscription=Subscription(lake.accept, floor=lake.committed),
        )
        lake.accept(list(self.log.read(lake.committed + 1)))
        coming = iter(fates)
        self.store.fate = lambda: next(coming, DONE)

    def append(self, number: int) -> bool | None:
        """Return whether a batch was acknowledged, None when it was refused at once."""
        answers = Answers()
        try:
            self.log.append(make_batch("ab"[number % 2], n=number), answers)
        except TailraceError:
            return None
        ((position, _),) = answers.wait(1)
        return position is not None

    def kill(self) -> None:
        """End the process: nothing that it does from now on reaches the store."""
        self.store.is_dead = True
        self.log.close()


@settings(max_examples=rounds(40), suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(ACTIONS, st.lists(FATES, max_size=12), PATIENCE_S), min_size=1, max_size=4))
def test_what_was_acknowledged_is_there_once_and_nothing_is_doubled(
    lives: list[tuple[list[str], list[str], float]],
) -> None:
    memory, lake = MemoryStore(), PlayedLake()
    acknowledged: list[int] = []
    numbers = iter(range(10_000))
    ended: list[Process] = []

    for actions, fates, patience_s in lives:
        process = Process(memory, lake, fates, patience_s=patience_s)
        for action in actions:
            if action == APPEND:
                number = next(numbers)
                if process.append(number):
                    acknowledged.append(number)
            elif action == COMMIT:
                process.log.release(lake.commit())
            else:
                for each in (*ended, process):  # what a killed process sent may still be on its way
                    each.store.arrive_late()
        process.kill()
        ended.append(process)
    for each in ended:
        each.store.arrive_late()
    last = Process(memory, lake, [])
    lake.commit()
    last.log.close()

    assert len(lake.tables) == len(set(lake.tables)), "doubled"
    assert set(acknowledged) <= set(lake.tables), "lost"
    assert not last.log.damage


@settings(max_examples=rounds(30), suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(FATES, max_size=20), st.integers(1, 8))
def test_what_was_refused_is_not_there_once_the_log_accepts_again(fates: list[str], appends: int) -> None:
    memory, lake = MemoryStore(), PlayedLake()
    process = Process(memory, lake, fates, patience_s=1e-6)
    acknowledged = [number for number in range(appends) if process.append(number)]
    process.store.fate = lambda: DONE
    while process.log.fault:
        process.append(-1)
    process.store.arrive_late()
    if process.append(1000):
        acknowledged.append(1000)
    process.log.close()

    last = Process(memory, PlayedLake(), [])
    last.log.close()
    assert [number for _, number in last.lake.memory if number >= 0] == acknowledged


@settings(max_examples=rounds(30), suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(st.integers(0, 2), FATES), max_size=14))
def test_of_processes_with_one_identity_those_that_were_overtaken_lose_nothing_that_they_acknowledged(
    steps: list[tuple[int, str]],
) -> None:
    memory = MemoryStore()
    processes: dict[int, Process] = {}
    acknowledged: set[int] = set()
    for number, (which, fate) in enumerate(steps):
        if which not in processes:
            processes[which] = Process(memory, PlayedLake(), [])
        coming = iter([fate])
        processes[which].store.fate = lambda coming=coming: next(coming, DONE)  # type: ignore[misc]
        if processes[which].append(number):
            acknowledged.add(number)
    for process in processes.values():
        process.kill()
        process.store.arrive_late()
    last = Process(memory, PlayedLake(), [])
    last.log.close()

    found = [number for _, number in last.lake.memory]
    assert len(found) == len(set(found))
    assert acknowledged <= set(found)
