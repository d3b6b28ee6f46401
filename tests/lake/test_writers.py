"""Several writers: positions count in each writer's log, and each batch of each is in its table once."""

import tempfile
from functools import partial
from itertools import count
from pathlib import Path

import pytest
from deltalake import DeltaTable
from hypothesis import given, settings
from hypothesis import strategies as st
from support.events import batch
from support.lakes import NEVER, numbers
from support.rounds import rounds
from support.waiting import wait_until

from tailrace.events import Batch, DatasetUnavailable
from tailrace.lake import Lake
from tailrace.lake.catalog import load_dropped
from tailrace.log import FIRST_WRITER

WRITERS = (FIRST_WRITER, "w1", "w2")

Logs = dict[str, list[tuple[int, Batch]]]


def replay(lake: Lake, logs: Logs) -> None:
    for writer, log in logs.items():
        lake.accept_all([each for each in log if each[0] > lake.committed_position(writer)], writer)


def test_a_table_carries_the_position_of_each_writer(lake: Lake) -> None:
    lake.accept(7, batch([{"n": 1}]))
    lake.accept(3, batch([{"n": 2}]), "w1")
    lake.commit_now()
    lake.accept(4, batch([{"n": 3}]), "w1")
    lake.accept(1, batch([{"n": 4}]), "w2")
    lake.commit_now()
    lake.accept(8, batch([{"n": 5}]))

    table = DeltaTable(lake.root / "d")
    stored = [table.transaction_version(f"tailrace-log{suffix}") for suffix in ("", "/w1", "/w2")]
    assert stored == [7, 4, 1]
    assert [lake.committed_position(writer) for writer in WRITERS] == [7, 4, 1]
    assert [lake.highest_position(writer) for writer in WRITERS] == [7, 4, 1]
    assert numbers(lake.snapshot("d")) == [1, 2, 3, 4, 5]


def test_a_position_of_one_writer_says_nothing_of_another(tmp_path: Path) -> None:
    logs: Logs = {FIRST_WRITER: [(9, batch([{"n": 1}]))], "w1": [(5, batch([{"n": 2}]))]}
    lake = Lake.open(tmp_path, NEVER)
    lake.create("d")
    lake.accept_all(logs[FIRST_WRITER])
    lake.commit_now()
    lake.close(commit=False)

    lake = Lake.open(tmp_path, NEVER)
    replay(lake, logs)
    lake.commit_now()
    lake.accept_all(logs["w1"], "w1")  # once more, as after a commit whose answer was lost

    assert numbers(lake.snapshot("d")) == [1, 2]
    lake.close()


def test_the_log_of_each_writer_is_told_what_is_in_the_tables(lake: Lake) -> None:
    told: list[tuple[str, int]] = []

    def tell(writer: str, position: int) -> None:
        told.append((writer, position))

    for writer in ("w1", "w2"):
        lake.subscribe(writer).bind(partial(tell, writer))
    lake.create("e")
    lake.accept(2, batch([{"n": 1}], "d"), "w1")
    lake.accept(3, batch([{"n": 2}], "e"), "w1")
    lake.accept(1, batch([{"n": 3}], "d"), "w2")
    lake.commit_now("d")

    assert told == [("w2", 1)]  # the log of w1 still has what is to be read again for `e`
    lake.commit_now("e")
    assert told == [("w2", 1), ("w1", 3)]


def test_a_writer_is_told_apart_by_the_floor_of_its_log(tmp_path: Path) -> None:
    lake = Lake.open(tmp_path, NEVER)
    lake.create("d")
    lake.accept(6, batch([{}]), "w1")
    lake.commit_now()
    lake.close()

    lake = Lake.open(tmp_path, NEVER)
    assert [lake.subscribe(writer).floor for writer in WRITERS] == [0, 6, 0]
    lake.close()


def test_a_dropped_dataset_and_a_new_one_of_its_name_are_told_apart_in_each_log(tmp_path: Path) -> None:
    old: Logs = {FIRST_WRITER: [(4, batch([{"n": 1}]))], "w1": [(2, batch([{"n": 2}]))]}
    lake = Lake.open(tmp_path, NEVER)
    lake.create("d")
    lake.replayed()
    replay(lake, old)
    lake.drop("d")
    assert load_dropped(lake.catalog.files) == {"d": {FIRST_WRITER: 4, "w1": 2}}
    lake.create("d")
    new: Logs = {"w1": [(3, batch([{"n": 3}]))], "w2": [(1, batch([{"n": 4}]))]}
    replay(lake, new)
    lake.close(commit=False)

    lake = Lake.open(tmp_path, NEVER)
    for logs in (old, new):
        for writer, log in logs.items():
            lake.accept_all(log, writer)
    assert numbers(lake.snapshot("d")) == [3, 4]
    lake.close()


def test_a_dataset_that_could_not_be_opened_gets_its_batches_of_every_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tailrace.lake.replay.REOPEN_RETRY_S", 0.02)
    lake = Lake.open(tmp_path, NEVER)
    lake.create("bad")
    lake.close()
    info = tmp_path / "bad" / "_tailrace" / "dataset.json"
    whole = info.read_bytes()
    info.write_bytes(b"x")
    logs: Logs = {
        FIRST_WRITER: [(1, batch([{"n": 1}], "bad")), (2, batch([{"n": 2}], "bad"))],
        "w1": [(1, batch([{"n": 3}], "bad"))],
    }
    lake = Lake.open(tmp_path, NEVER)
    replay(lake, logs)
    with pytest.raises(DatasetUnavailable):
        lake.check("bad")
    assert [lake.committed_position(writer) for writer in logs] == [0, 0]
    info.write_bytes(whole)

    def read(writer: str, first: int) -> list[tuple[int, Batch]]:
        return [each for each in logs[writer] if each[0] >= first]

    lake.replayed({writer: partial(read, writer) for writer in logs})

    wait_until(lambda: lake.has("bad"))
    assert numbers(lake.snapshot("bad")) == [1, 2, 3]
    lake.close()


# Of each step: the writer, how many batches it delivers, and what comes after that.
STEPS = st.lists(
    st.tuples(st.sampled_from(WRITERS), st.integers(1, 3), st.sampled_from(["", "shred", "commit", "restart"])),
    max_size=12,
)


@pytest.mark.rounds
@settings(max_examples=rounds(25), deadline=None)
@given(STEPS)
def test_whatever_is_committed_when_it_stops_each_batch_is_in_its_table_once(
    steps: list[tuple[str, int, str]],
) -> None:
    logs: Logs = {writer: [] for writer in WRITERS}
    numbered = count(1)
    with tempfile.TemporaryDirectory() as directory:
        lake = Lake.open(Path(directory), NEVER)
        lake.create("d")
        for writer, batches, then in steps:
            for _ in range(batches):
                logs[writer].append((len(logs[writer]) + 1, batch([{"n": next(numbered)}])))
            lake.accept_all(logs[writer][-batches:], writer)
            if then == "shred":
                lake.snapshot("d")
            elif then == "commit":
                lake.commit_now()
            elif then == "restart":
                lake.close(commit=False)
                lake = Lake.open(Path(directory), NEVER)
                replay(lake, logs)
        found = numbers(lake.snapshot("d"))
        lake.close(commit=False)

    assert found == list(range(1, next(numbered)))
