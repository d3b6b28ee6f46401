"""What monitors remember, in a database of either kind."""

import math

import pytest

from tailrace.monitors import HistoryEntry, MonitorStore, delete_records
from tailrace.monitors import store as module
from tailrace.monitors.evaluation import MonitorState
from tailrace.storage.database import Database


@pytest.fixture
def store(database: Database) -> MonitorStore:
    made = MonitorStore(database)
    made.make_due("m", "o")
    return made


def finish(store: MonitorStore, at_ns: int, *entries: HistoryEntry, error: str = "") -> None:
    before = store.status("m")
    assert before is not None
    assert store.finish(before, at_ns=at_ns, next_ns=at_ns + 60, state=MonitorState(), error=error, entries=entries)


def test_a_run_is_stored_with_what_it_came_to(store: MonitorStore) -> None:
    assert store.due_times() == {"m": 0}

    finish(store, 2**62, HistoryEntry(at_ns=2**62, kind="error", text="a\0b"), error="a\0b")

    run = store.status("m")
    assert run is not None
    assert (run.organisation, run.last_ns, run.next_ns, run.error) == ("o", 2**62, 2**62 + 60, "a\ufffdb")
    assert store.due_times() == {"m": 2**62 + 60}
    assert [entry.text for entry in store.history("m")] == ["a\0b"]


def test_a_value_that_is_no_number_is_stored(store: MonitorStore) -> None:
    finish(store, 1, *(HistoryEntry(at_ns=1, kind="open", text="", value=value) for value in (math.nan, math.inf, 0.1)))

    first, *others = [entry.value for entry in store.history("m")]
    assert first is not None
    assert math.isnan(first)
    assert others == [math.inf, 0.1]


def test_history_is_found_by_time_and_kind(store: MonitorStore) -> None:
    for at_ns in (1, 2, 3):
        finish(
            store,
            at_ns,
            HistoryEntry(at_ns=at_ns, kind="open", text=str(at_ns)),
            HistoryEntry(at_ns=at_ns, kind="error", text="e"),
        )

    found = store.history("m", start_ns=2, end_ns=2**80, kinds=("open",))
    assert [entry.text for entry in found] == ["2", "3"]
    assert store.history("m", start_ns=-(2**80), end_ns=0) == []


def test_the_oldest_entries_give_way(store: MonitorStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_HISTORY", 2)
    monkeypatch.setattr(module, "PRUNED_BY", 1)
    for at_ns in (1, 2, 3, 4):
        finish(store, at_ns, HistoryEntry(at_ns=at_ns, kind="open", text=str(at_ns)))

    assert [entry.at_ns for entry in store.history("m")] == [3, 4]


def test_nothing_is_left_of_a_monitor_that_is_gone(store: MonitorStore, database: Database) -> None:
    before = store.status("m")
    assert before is not None
    finish(store, 1, HistoryEntry(at_ns=1, kind="open", text=""))

    with database.changing() as connection:
        delete_records(connection, "m")

    assert (store.status("m"), store.history("m"), store.due_times(), store.next_pending_ns()) == (None, [], {}, None)
    assert not store.finish(before, at_ns=1, next_ns=2, state=MonitorState())
