"""A subscription: batches go one way, acknowledged positions the other, also before a log is open for it."""

from pathlib import Path

from log.kit import discard, make_batch, open_log, positions, segment_files
from support.append import append_now

from tailrace.log import Subscription


def test_what_is_acknowledged_is_released(tmp_path: Path) -> None:
    subscription = Subscription(discard)
    with open_log(tmp_path, segment_bytes=1, subscription=subscription) as log:
        for _ in range(4):
            append_now(log, make_batch())
        subscription.acknowledge(2)
        assert positions(log) == [3, 4]


def test_what_was_acknowledged_before_the_log_is_open_is_released_then(tmp_path: Path) -> None:
    with open_log(tmp_path, segment_bytes=1) as log:
        for _ in range(4):
            append_now(log, make_batch())
    assert len(segment_files(tmp_path)) == 4

    subscription = Subscription(discard, floor=3)
    subscription.acknowledge(3)
    subscription.acknowledge(1)
    with open_log(tmp_path, subscription=subscription) as log:
        assert positions(log) == [4]
    assert len(segment_files(tmp_path)) == 1
