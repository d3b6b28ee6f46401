"""The datasets of a node's shards come and go with its leases, and so does what it does as the leader."""

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support.append import append_now
from support.events import batch
from support.object_stores import FaultyStore
from support.waiting import wait_until

from tailrace.events.idempotency import BatchKey, IdempotencySettings
from tailrace.fleet.lake_keeper import LakeKeeper
from tailrace.fleet.membership import LEADER
from tailrace.fleet.shards import lease_name, shard_of
from tailrace.ingest.idempotency_keys import IdempotencyKeys
from tailrace.log import LogSettings, ObjectLog, Subscription, deliver_nothing
from tailrace.log.object_cursor import objects_of
from tailrace.server.fleet import keeping
from tailrace.server.fleet.keeping import LogCleaning, NodeKeeper

NAMES = [f"d-{number}" for number in range(20)]


class Lake:
    """Notes what it has, and what was committed."""

    def __init__(self) -> None:
        self.catalog = Catalog()
        self.has: set[str] = set()
        self.committed: list[str] = []

    def names(self) -> list[str]:
        return sorted(self.has)

    def take(self, names: list[str]) -> None:
        self.has.update(names)

    def give(self, names: list[str], *, commit: bool) -> None:
        self.has.difference_update(names)
        self.committed += names if commit else []


class Catalog:
    """All datasets; whoever lists them says which may be tidied up."""

    def names(self, is_own: Any) -> list[str]:
        assert not all(map(is_own, NAMES))
        return NAMES


class Leading:
    """Whether the node leads."""

    def __init__(self) -> None:
        self.is_on = False

    def begin(self) -> None:
        self.is_on = True

    def end(self) -> None:
        self.is_on = False


class Believing:
    """A membership that believes in its leases."""

    def owns(self, dataset: str) -> bool:
        return True


def test_a_node_is_gone_once_others_are_live_and_it_is_not() -> None:
    keeper = NodeKeeper(Leading)
    assert not keeper.is_gone("a")
    for nodes, is_gone in (({}, False), ({"a": None, "b": None}, False), ({"b": None}, True)):
        keeper.membership = SimpleNamespace(fleet=SimpleNamespace(nodes=nodes))  # type: ignore[assignment]
        assert keeper.is_gone("a") is is_gone


def test_a_shards_datasets_are_the_lakes_for_as_long_as_the_node_has_its_lease() -> None:
    lake, leading, forgotten = Lake(), Leading(), list[str]()
    keeper = NodeKeeper(lambda: leading)
    keeper.membership = Believing()  # type: ignore[assignment]
    keeper.lake = LakeKeeper(lake, None, forgotten.extend)  # type: ignore[arg-type]
    first, second = shard_of("d-0"), shard_of("d-1")
    assert not keeper.owns("d-0")

    keeper.begin({lease_name(first): 1, lease_name(second): 1, LEADER: 1})
    assert lake.has == {name for name in NAMES if shard_of(name) in (first, second)}
    assert (keeper.owns("d-0"), keeper.owns("d-1"), leading.is_on) == (True, True, True)

    keeper.end([lease_name(first)])
    assert (keeper.owns("d-0"), keeper.owns("d-1"), leading.is_on) == (False, True, True)
    assert "d-0" in lake.committed
    assert forgotten == lake.committed

    keeper.lose([lease_name(second), LEADER])
    assert lake.has == set()
    assert "d-1" not in lake.committed
    assert not leading.is_on


def test_datasets_are_given_also_where_the_node_does_not_cease_to_lead_in_time() -> None:
    lake = Lake()

    def fail() -> None:
        raise TimeoutError

    leading: Any = SimpleNamespace(begin=lambda: None, end=fail)
    keeper = NodeKeeper(lambda: leading)
    keeper.lake = LakeKeeper(lake, None)  # type: ignore[arg-type]
    leases = {LEADER: 1, lease_name(shard_of("d-0")): 1, lease_name(shard_of("d-1")): 1}
    for leave in (keeper.end, keeper.lose):
        keeper.begin(leases)
        assert lake.has
        with pytest.raises(TimeoutError):
            leave(leases.keys())
        assert lake.has == set()


def test_what_is_in_tables_goes_from_a_nodes_memory_and_log_and_its_keys_into_their_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "TELL_S", 0.01)
    keys = IdempotencyKeys.open(tmp_path / "keys", IdempotencySettings(), now_ns=time.time_ns())
    keys.begin()
    subscription = Subscription(deliver_nothing)
    subscription.precede(keys.observe, keys.flush)
    store, positions, released = FaultyStore(), dict[str, int](), list[int]()
    told: Any = SimpleNamespace(released=lambda: positions)
    node: Any = SimpleNamespace(name="a", leads=False)
    settings = LogSettings(group_ms=1)
    with ObjectLog.open(store, settings, writer="a", subscription=subscription) as log:
        cleaning = LogCleaning(told, node, store, subscription, None)
        cleaning.released = released.append
        for number in range(3):
            key = BatchKey(bytes([number]) * 16, b"f" * 16, 1)
            append_now(log, batch([{"n": number}], received_ns=time.time_ns(), keys=(key,)))
        stored = len(objects_of(store, "a"))
        cleaning.start()

        positions["a"] = last = log.durable_position
        wait_until(lambda: len(objects_of(store, "a")) < stored)
        cleaning.close()

    assert set(released) == {last}
    again = IdempotencyKeys.open(tmp_path / "keys", IdempotencySettings(), now_ns=time.time_ns())
    assert all(again.find(bytes([number]) * 16, time.time_ns()) for number in range(3))
