"""What a dataset has received is counted to the byte, over commits, compaction, deletion and restarts."""

from pathlib import Path

import numpy as np

from tailrace.events import Batch
from tailrace.lake import Lake, LakeSettings, MaintenanceSettings, Received

BY_HAND = LakeSettings(commit_age_s=1e9, maintenance=MaintenanceSettings(every_s=1e9))
LINE = b'{"n":1,"text":"as received"}\n'  # 29 bytes


def batch(events: int) -> Batch:
    times = np.arange(events, dtype=np.int64) * 1_000_000_000
    return Batch("d", LINE * events, times, events, 1)


def received(lake: Lake) -> Received:
    return lake.snapshot("d").received


def test_what_was_received_is_kept_with_each_commit(tmp_path: Path) -> None:
    lake = Lake.open(tmp_path, BY_HAND)
    lake.create("d")
    assert received(lake) == Received(0, 0)
    lake.accept(1, batch(10))
    assert received(lake) == Received(10, 290)
    lake.commit_now("d")
    lake.accept(2, batch(5))
    assert received(lake) == Received(15, 435)
    lake.commit_now("d")
    assert received(lake) == Received(15, 435)

    lake.compact("d")
    assert len(lake.snapshot("d").files) == 1
    lake.trim("d", 3_000_000_000)
    assert sum(file.rows for file in lake.snapshot("d").files) == 9
    assert received(lake) == Received(15, 435)
    lake.close()

    lake = Lake.open(tmp_path, BY_HAND)
    assert received(lake) == Received(15, 435)
    # Replayed from the log: they are in the table.
    lake.accept(2, batch(5))
    assert received(lake) == Received(15, 435)
    lake.accept(3, batch(1))
    lake.close()
    lake = Lake.open(tmp_path, BY_HAND)
    assert received(lake) == Received(16, 464)
    lake.drop("d")
    lake.create("d")
    assert received(lake) == Received(0, 0)
    lake.close()
