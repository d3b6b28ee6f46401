"""What was dropped holds up neither the log nor who ingests."""

import errno
from pathlib import Path

import pytest
from support.events import batch
from support.lakes import NEVER, numbers

from tailrace.lake import Lake
from tailrace.lake.catalog import load_dropped
from tailrace.log import FIRST_WRITER


def test_the_log_does_not_wait_for_what_was_dropped(tmp_path: Path) -> None:
    lake = Lake.open(tmp_path, NEVER)
    lake.create("d")
    lake.replayed()
    lake.accept(1, batch([{}]))
    lake.drop("d")
    lake.accept(2, batch([{}]))  # was on its way
    assert lake.committed_position() == 2
    lake.close()

    lake = Lake.open(tmp_path, NEVER)
    lake.accept_all([(1, batch([{}])), (2, batch([{}]))])
    assert lake.committed_position() == 2
    lake.close()


def test_what_a_drop_could_not_store_holds_the_log_until_it_can(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    lake.replayed()
    lake.accept(1, batch([{}]))
    told: list[int] = []
    lake.subscription.bind(told.append)
    with monkeypatch.context() as patched:

        def full(root: Path, dropped: dict[str, int]) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        patched.setattr("tailrace.lake.catalog.store_dropped", full)
        lake.drop("d")
        lake.accept(2, batch([{}]))  # was on its way
        lake.commit_now()
        assert told == []
    lake.commit_now()

    assert told == [2]
    assert load_dropped(lake.catalog.files) == {"d": {FIRST_WRITER: 2}}


def test_a_batch_of_a_dropped_dataset_costs_none_beside_it_whatever_the_disk_does(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake.replayed()
    lake.create("gone")
    lake.drop("gone")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("tailrace.lake.catalog.store_dropped", full)
    lake.accept_all([(1, batch([{}], "gone")), (2, batch([{"n": 2}]))])

    assert numbers(lake.snapshot("d")) == [2]
