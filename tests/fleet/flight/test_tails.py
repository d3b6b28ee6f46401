"""A live tail sees what any node took in: from the lake node that holds the dataset, which follows the logs."""

import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from support.events import batch
from support.flight import LakeNode, StatedOwners, remote_lake
from support.waiting import wait_until

from tailrace.events import Batch, Overloaded
from tailrace.fleet.flight import tails
from tailrace.fleet.flight.messages import AskTail, TailAnswer
from tailrace.fleet.flight.remote_lake import RemoteLake
from tailrace.fleet.flight.tails import RemoteTails, TailFeeds


class Watcher:
    """What a follower was given."""

    def __init__(self, lake: RemoteLake, dataset: str = "d") -> None:
        self.begun = threading.Event()
        self.batches: list[Batch] = []
        self.missed: list[tuple[int, str]] = []
        self.stop = RemoteTails(lake.tail).follow(dataset, self.begun.set, self._put, self._miss)
        assert self.begun.wait(10)

    def _put(self, batches: Sequence[Batch]) -> None:
        self.batches += batches

    def _miss(self, count: int, reason: str) -> None:
        self.missed.append((count, reason))

    @property
    def events(self) -> list[bytes]:
        return [line for each in self.batches for line in each.events.splitlines()]


@pytest.fixture
def node(tmp_path: Path) -> Iterator[LakeNode]:
    node = LakeNode(tmp_path / "lake")
    node.lake.create("d")
    yield node
    node.close()


@pytest.fixture
def owners(node: LakeNode) -> StatedOwners:
    return StatedOwners(node.peer)


@pytest.fixture
def lake(node: LakeNode, owners: StatedOwners, tmp_path: Path) -> Iterator[RemoteLake]:
    with remote_lake(owners, tmp_path / "lake") as lake:
        yield lake


def publish(node: LakeNode, *values: int, dataset: str = "d") -> None:
    node.server.feeds.publish([(n, batch([{"n": n}], dataset, labels={"from": "a node"})) for n in values])


def test_batches_come_as_they_are_in_order_and_once(node: LakeNode, lake: RemoteLake) -> None:
    watcher = Watcher(lake)
    for number in range(20):
        publish(node, number, number + 100)
    publish(node, 7, dataset="other")

    wait_until(lambda: len(watcher.batches) == 40)
    watcher.stop()
    assert watcher.events == [b'{"n":%d}' % n for number in range(20) for n in (number, number + 100)]
    first, sent = watcher.batches[0], batch([{"n": 0}])
    assert (first.dataset, first.count, first.received_ns, first.labels) == (
        "d",
        1,
        sent.received_ns,
        {"from": "a node"},
    )
    assert first.times.tolist() == sent.times.tolist()
    assert watcher.missed == []


def test_several_nodes_watch_the_same_dataset(node: LakeNode, lake: RemoteLake) -> None:
    watchers = [Watcher(lake) for _ in range(3)]
    publish(node, 1, 2)

    for watcher in watchers:
        wait_until(lambda watcher=watcher: len(watcher.batches) == 2)  # type: ignore[misc]
        watcher.stop()


def test_a_dataset_that_moves_is_followed_and_the_gap_is_told(
    node: LakeNode, owners: StatedOwners, lake: RemoteLake, tmp_path: Path
) -> None:
    watcher = Watcher(lake)
    other = LakeNode(tmp_path / "other", "lake-2")
    other.lake.create("d")
    try:
        owners.of["d"] = other.peer
        wait_until(lambda: watcher.missed == [(0, tails.MOVED)])
        publish(other, 5)
        wait_until(lambda: watcher.events == [b'{"n":5}'])
    finally:
        watcher.stop()
        other.close()


def test_the_own_lake_is_followed_in_the_process(owners: StatedOwners, node: LakeNode, tmp_path: Path) -> None:
    owners.own.add("d")
    with remote_lake(owners, tmp_path / "lake", own=node) as lake:
        watcher = Watcher(lake)
        publish(node, 3)
        wait_until(lambda: watcher.events == [b'{"n":3}'])
        watcher.stop()


# The feeds of one lake


def asked(answer: TailAnswer | None = None, after: int = 0) -> AskTail:
    feed, after = (answer.feed, answer.after) if answer else ("", after)
    return AskTail("d", feed, after, 0)


def test_nothing_is_kept_before_somebody_asks_and_nothing_for_long_after() -> None:
    now_s = 0.0
    feeds = TailFeeds(lambda: now_s)
    feeds.publish([(1, batch([{"n": 1}]))])
    first = feeds.answer(asked())
    assert (first.after, first.batches) == (0, ())
    feeds.publish([(2, batch([{"n": 2}, {"n": 3}]))])
    second = feeds.answer(asked(first))
    assert [each.count for each in second.batches] == [2]

    now_s = tails.LAPSE_S + 1
    feeds.publish([(3, batch([{"n": 4}]))])
    assert feeds.answer(asked(second)).feed != first.feed


def test_who_waits_for_a_dataset_that_is_given_away_is_told_at_once() -> None:
    feeds = TailFeeds()
    first = feeds.answer(asked())
    given = threading.Timer(0.05, feeds.forget, args=(["d"],))
    given.start()

    began_s = time.monotonic()
    assert feeds.answer(AskTail("d", first.feed, first.after, tails.MAX_WAIT_S)).batches == ()
    assert time.monotonic() - began_s < tails.MAX_WAIT_S
    assert feeds.answer(asked(first)).feed != first.feed


def test_what_is_more_than_is_kept_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    one = batch([{"n": 1}, {"n": 2}])
    monkeypatch.setattr(tails, "FEED_BYTES", 2 * len(one.events))
    feeds = TailFeeds()
    first = feeds.answer(asked())
    feeds.publish([(number, one) for number in range(5)])

    found = feeds.answer(asked(first))
    assert (found.missed, [each.count for each in found.batches], found.after) == (6, [2, 2], 10)
    assert feeds.answer(asked(found)).batches == ()


def test_an_answer_has_a_bounded_size_or_one_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    one = batch([{"n": 1}, {"n": 2}])
    monkeypatch.setattr(tails, "ANSWER_BYTES", len(one.events) - 1)
    feeds = TailFeeds()
    found = feeds.answer(asked())
    feeds.publish([(1, one), (2, one)])

    for _ in range(2):
        found = feeds.answer(asked(found))
        assert len(found.batches) == 1
    assert found.after == 4


def test_too_many_datasets_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tails, "MAX_FEEDS", 1)
    feeds = TailFeeds()
    feeds.answer(asked())

    with pytest.raises(Overloaded, match="1 datasets"):
        feeds.answer(AskTail("e", "", 0, 0))
