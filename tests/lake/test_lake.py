"""The lake: batches become rows exactly once, at once, whatever happens in between."""

import shutil
import threading
from pathlib import Path

import pytest
from support.events import batch
from support.lakes import numbers

from tailrace.events import DatasetUnavailable
from tailrace.lake import Lake, LakeSettings


def test_a_snapshot_has_what_was_accepted_before_it(lake: Lake) -> None:
    for position in range(1, 30):
        lake.accept(position, batch([{"n": position}]))

        assert numbers(lake.snapshot("d")) == list(range(1, position + 1))


@pytest.mark.costly
def test_every_row_is_in_a_snapshot_once_while_commits_run(tmp_path: Path) -> None:
    lake = Lake.open(tmp_path / "lake", LakeSettings(commit_bytes=1, commit_age_s=0))
    lake.create("d")
    stop = threading.Event()

    def commit() -> None:
        while not stop.is_set():
            lake.commit_now("d")

    committer = threading.Thread(target=commit)
    committer.start()
    try:
        for position in range(1, 40):
            lake.accept(position, batch([{"n": position}]))
            assert numbers(lake.snapshot("d")) == list(range(1, position + 1))
    finally:
        stop.set()
        committer.join()
        lake.close()


def test_a_table_whose_directory_is_gone_is_unavailable_and_a_fault(lake: Lake, tmp_path: Path) -> None:
    lake.create("other")
    lake.accept(1, batch([{"n": 1}]))
    lake.commit_now("d")
    shutil.rmtree(tmp_path / "d")
    lake.accept(2, batch([{"n": 2}]))
    lake.accept(3, batch([{"n": 3}], dataset="other"))

    with pytest.raises(DatasetUnavailable, match="is gone"):
        lake.snapshot("d")
    assert "is gone" in lake.faults()["d"]
    lake.commit_now()

    assert not (tmp_path / "d").exists()
    assert lake.uncommitted("d") == 1
    assert lake.uncommitted("other") == 0
    assert numbers(lake.snapshot("other")) == [3]
