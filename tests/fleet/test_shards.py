"""Shards: the same in every process, spread evenly, and moved no more than needed."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from tailrace.fleet.shards import SHARDS, lease_name, rightful_node, shard_of, shard_of_lease

NODES = st.sets(st.from_regex(r"[a-z0-9-]{1,40}", fullmatch=True), min_size=1, max_size=8)


def test_a_datasets_shard_never_changes() -> None:
    assert [shard_of(name) for name in ("logs", "traces", "über", "")] == SHARDS_THEN


SHARDS_THEN = [1, 3, 19, 52]


def test_datasets_are_spread_over_all_shards() -> None:
    counts = Counter(shard_of(f"dataset-{number}") for number in range(100 * SHARDS))
    assert len(counts) == SHARDS
    assert max(counts.values()) < 150


@given(st.integers(0, SHARDS - 1))
def test_a_lease_is_named_for_its_shard(shard: int) -> None:
    assert shard_of_lease(lease_name(shard)) == shard


def test_other_leases_are_no_shards() -> None:
    assert [shard_of_lease(name) for name in ("leader", "shard-", "shard-64", "shard-x", "07")] == [None] * 5


def test_shards_are_spread_over_nodes() -> None:
    nodes = [f"lake-{number}" for number in range(4)]
    counts = Counter(rightful_node(shard, nodes) for shard in range(SHARDS))
    assert set(counts) == set(nodes)
    assert max(counts.values()) <= 2 * SHARDS / 4


def test_without_a_node_a_shard_is_nobodys() -> None:
    assert rightful_node(0, []) is None


@given(NODES, st.from_regex(r"[a-z0-9-]{1,40}", fullmatch=True))
def test_one_node_more_takes_shards_and_moves_none_between_others(nodes: set[str], more: str) -> None:
    for shard in range(SHARDS):
        before, after = rightful_node(shard, nodes), rightful_node(shard, {*nodes, more})
        assert after in (before, more)
