"""Shards: each dataset belongs to one by its name, and each shard by right to one of the live lake nodes."""

import hashlib
from collections.abc import Iterable

SHARDS = 64
_PREFIX = "shard-"


def shard_of(dataset: str) -> int:
    """Return the shard of a dataset: the same in every process, version and year."""
    return _hash(dataset) % SHARDS


def lease_name(shard: int) -> str:
    """Return the name of a shard's lease."""
    return f"{_PREFIX}{shard:02}"


def shard_of_lease(name: str) -> int | None:
    """Return the shard that a lease is for, None for another lease."""
    number = name.removeprefix(_PREFIX)
    return int(number) if name.startswith(_PREFIX) and number.isdecimal() and int(number) < SHARDS else None


def rightful_node(shard: int, nodes: Iterable[str]) -> str | None:
    """Return the node that a shard is for, by rendezvous hashing; None where there is no node.

    One node more takes over its part of the shards only, one less leaves only its own.
    """
    return max(nodes, key=lambda node: (_hash(f"{lease_name(shard)}/{node}"), node), default=None)


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest())
