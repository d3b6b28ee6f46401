"""Events that cannot be shredded stay readable, and shredding goes on."""

import errno
import sys
import threading
from collections.abc import Sequence

import pyarrow as pa
import pytest
from support.events import batch
from support.lakes import numbers
from support.waiting import wait_until

from tailrace.events import Batch, DatasetUnavailable
from tailrace.lake import Lake


def test_what_cannot_be_shredded_is_kept_whole(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ValueError("a bug")

    monkeypatch.setattr("tailrace.lake.shred.Shredder.shred", fail)
    lake.accept(1, batch([{"n": 1}]))

    [part] = lake.snapshot("d").hot

    assert part.rows["_rest"].to_pylist() == ['{"n":1}']
    assert lake.shred_failures == 1


def test_shredding_goes_on_once_there_are_descriptors_again(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    shredder = lake._state.datasets["d"].shredder
    shred, scarce = shredder.shred, threading.Event()
    scarce.set()

    def shred_if_possible(batches: Sequence[Batch]) -> pa.Table:
        if scarce.is_set():
            raise OSError(errno.EMFILE, "Too many open files")
        return shred(batches)

    monkeypatch.setattr(shredder, "shred", shred_if_possible)
    lake.accept(1, batch([{"n": 1}]))
    with pytest.raises(DatasetUnavailable, match="Too many open files"):
        lake.snapshot("d")
    assert "Too many open files" in lake.failure
    scarce.clear()

    wait_until(lambda: not lake.failure)
    assert numbers(lake.snapshot("d")) == [1]
    assert lake.shred_failures == 0


def test_a_dataset_that_is_dropped_while_it_cannot_be_shredded_leaves_nothing_behind(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(batches: Sequence[Batch]) -> pa.Table:
        raise MemoryError

    monkeypatch.setattr(lake._state.datasets["d"].shredder, "shred", fail)
    lake.create("other")
    lake.accept(1, batch([{"n": 1}]))
    wait_until(lambda: bool(lake.failure))
    lake.drop("d")
    wait_until(lambda: not lake.failure)
    assert lake.uncommitted_bytes == 0

    lake.accept(2, batch([{"n": 2}], "other"))
    assert numbers(lake.snapshot("other")) == [2]


def test_nothing_holds_the_bytes_of_a_batch_once_it_is_shredded(lake: Lake) -> None:
    sent = batch([{"n": 1, "text": "x" * 100}])
    references = sys.getrefcount(sent.events)
    lake.accept(1, Batch("d", sent.events, sent.times, sent.count, sent.received_ns))

    assert numbers(lake.snapshot("d")) == [1]

    wait_until(lambda: sys.getrefcount(sent.events) == references)
