"""Idempotency keys in memory and in their file: none is lost that the log does not have."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.events import RECEIVED_NS, batch

from tailrace.events import Batch
from tailrace.events.idempotency import BatchKey, IdempotencySettings
from tailrace.ingest import idempotency_keys
from tailrace.ingest.idempotency_keys import RECORD_BYTES, IdempotencyKeys, RememberedKey

S = 1_000_000_000


def sent(*numbers: int, received_ns: int = RECEIVED_NS) -> Batch:
    """Return a batch with the keys of some numbers, of which each has as many events."""
    keys = tuple(BatchKey(number.to_bytes(16), b"f" * 16, number) for number in numbers)
    events = batch([{"n": 1}])
    return Batch("d", events.events, events.times, 1, received_ns, keys=keys)


def opened(path: Path, now_ns: int = RECEIVED_NS, *, max_keys: int = 1000) -> IdempotencyKeys:
    """Return the store of a file, whose window is of a hundred seconds."""
    return IdempotencyKeys.open(path, IdempotencySettings(window_s=100, max_keys=max_keys), now_ns=now_ns)


def known(store: IdempotencyKeys, *numbers: int, now_ns: int = RECEIVED_NS) -> list[int]:
    """Return which of the numbers have their key known."""
    return [number for number in numbers if store.find(number.to_bytes(16), now_ns) is not None]


def test_a_key_is_known_within_the_window(tmp_path: Path) -> None:
    store = opened(tmp_path / "keys")
    store.begin()
    store.observe([(7, sent(3))])
    assert store.find((3).to_bytes(16), RECEIVED_NS + 100 * S) == RememberedKey(b"f" * 16, 3, RECEIVED_NS, 7)
    assert store.find((3).to_bytes(16), RECEIVED_NS + 100 * S + 1) is None


def test_the_oldest_keys_are_forgotten_first(tmp_path: Path) -> None:
    store = opened(tmp_path / "keys", max_keys=3)
    store.begin()
    store.observe((number, sent(number)) for number in range(1, 6))
    assert known(store, 1, 2, 3, 4, 5) == [3, 4, 5]
    store.observe([(6, sent(6, received_ns=RECEIVED_NS + 101 * S))])
    assert known(store, 3, 4, 5, 6) == [6]


def test_keys_are_there_after_a_restart_as_far_as_they_are_in_the_window(tmp_path: Path) -> None:
    store = opened(tmp_path / "keys")
    assert not store.is_used
    store.begin()
    store.observe([(1, sent(1, received_ns=RECEIVED_NS - 50 * S)), (2, sent(2, 3))])
    store.flush()
    store.observe([(4, sent(4))])  # the log has it still

    again = opened(tmp_path / "keys")
    assert again.is_used
    assert again.replay_from == 3
    assert known(again, 1, 2, 3, 4) == [1, 2, 3]
    assert known(opened(tmp_path / "keys", RECEIVED_NS + 60 * S), 1, 2, 3) == [2, 3]


def test_what_is_delivered_again_changes_nothing(tmp_path: Path) -> None:
    store = opened(tmp_path / "keys")
    store.begin()
    store.observe([(2, sent(1))])
    store.flush()
    size = (tmp_path / "keys").stat().st_size
    store.observe([(2, sent(1)), (1, sent(1))])
    store.flush()
    assert (tmp_path / "keys").stat().st_size == size


def test_a_failed_write_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(descriptor: int) -> None:
        raise OSError("the disk fails")

    store = opened(tmp_path / "keys")
    store.begin()
    store.observe([(1, sent(1))])
    for call in ("fdatasync", "fsync"):  # of the file, and of the one that is written then in its place
        with monkeypatch.context() as patch:
            patch.setattr(os, call, fail)
            with pytest.raises(OSError, match="the disk fails"):
                store.flush()
    store.observe([(2, sent(2))])
    store.flush()
    assert known(opened(tmp_path / "keys"), 1, 2) == [1, 2]


def test_a_file_that_is_gone_is_written_anew(tmp_path: Path) -> None:
    store = opened(tmp_path / "keys")
    store.begin()
    store.observe([(1, sent(1))])
    (tmp_path / "keys").unlink()

    with pytest.raises(FileNotFoundError):
        store.flush()
    store.flush()
    assert known(opened(tmp_path / "keys"), 1) == [1]


def test_a_file_with_much_that_is_forgotten_is_written_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idempotency_keys, "COMPACTED_RECORDS", 10)
    store = opened(tmp_path / "keys", max_keys=2)
    store.begin()
    for position in range(1, 41):
        store.observe([(position, sent(position))])
        store.flush()
        assert (tmp_path / "keys").stat().st_size <= 8 + 13 * RECORD_BYTES
    assert known(opened(tmp_path / "keys", max_keys=2), 38, 39, 40) == [39, 40]


def test_a_file_of_something_else_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "keys").write_bytes(b"something else")
    store = opened(tmp_path / "keys")
    assert "no keys that can be read" in caplog.text
    assert store.replay_from == 0
    store.observe([(1, sent(1))])
    store.flush()
    assert known(opened(tmp_path / "keys"), 1) == [1]


@given(
    groups=st.lists(st.integers(1, 4), min_size=1, max_size=6),
    damage=st.none() | st.tuples(st.integers(0, 10_000), st.integers(1, 255)),
    cut=st.integers(0, 200),
)
def test_what_a_damaged_file_lacks_is_read_again_from_the_log(
    tmp_path_factory: pytest.TempPathFactory, groups: list[int], damage: tuple[int, int] | None, cut: int
) -> None:
    path = tmp_path_factory.mktemp("keys") / "keys"
    store = opened(path)
    store.begin()
    log: list[tuple[int, Batch]] = []
    for count in groups:
        first = len(log) + 1
        log += [(position, sent(position)) for position in range(first, first + count)]
        store.observe(log[first - 1 :])
        store.flush()
    content = bytearray(path.read_bytes())
    del content[max(0, len(content) - cut) :]
    if damage is not None and content:
        content[damage[0] % len(content)] ^= damage[1]
    path.write_bytes(content)

    again = opened(path)
    again.observe(each for each in log if each[0] >= again.replay_from)
    numbers = range(1, len(log) + 1)
    assert known(again, *numbers) == list(numbers)
    again.observe([(len(log) + 1, sent(len(log) + 1))])
    again.flush()
    assert known(opened(path), *numbers, len(log) + 1) == [*numbers, len(log) + 1]
