"""Deletion of the objects of a writer that is gone."""

from datetime import UTC, datetime, timedelta

from log.kit import make_batch
from support.append import append_now
from support.object_stores import FaultyStore

from tailrace.log import LogSettings, ObjectLog, delete_released
from tailrace.log.object_cursor import objects_of
from tailrace.log.object_names import CLAIM_KEPT


def test_what_is_released_is_deleted_but_for_the_newest_and_claims_that_are_new() -> None:
    store = FaultyStore()
    with ObjectLog.open(store, LogSettings(group_ms=0), writer="w1") as log:
        positions = [append_now(log, make_batch()) for _ in range(4)]

    def firsts() -> list[int]:
        return [each.first_position for each in objects_of(store, "w1")]

    assert firsts() == [1, *positions]
    assert delete_released(store, "w1", positions[0] - 1) == 0
    assert delete_released(store, "w1", positions[1]) == 2
    assert firsts() == [1, *positions[2:]]
    later = datetime.now(UTC) + CLAIM_KEPT + timedelta(hours=1)
    assert delete_released(store, "w1", 10**9, now=later) == 2
    assert firsts() == positions[-1:]
    with ObjectLog.open(store, LogSettings(group_ms=0), writer="w1") as log:
        assert append_now(log, make_batch()) == positions[-1] + 2
