"""Events as a test sends them, and as it expects them back."""

import json
from collections.abc import Iterable
from typing import Any

import numpy as np
from hypothesis import strategies as st

from tailrace.events import Batch

RECEIVED_NS = 1_790_000_000_000_000_000
FIRST_TIME_NS = 1_780_000_000_000_000_000

Flat = dict[str, Any]


def batch(events: Iterable[dict[str, Any]], dataset: str = "d", *, first_ns: int = FIRST_TIME_NS, **more: Any) -> Batch:
    """Return a batch of events one millisecond apart."""
    lines = [json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode() + b"\n" for event in events]
    times = first_ns + np.arange(len(lines), dtype=np.int64) * 1_000_000
    more = {"received_ns": RECEIVED_NS, **more}
    return Batch(dataset, b"".join(lines), times, len(lines), **more)


def flat(event: dict[str, Any]) -> Flat:
    """Return an event's values by dotted path: nulls left out, arrays and empty objects whole, `_time` aside.

    Floats are told from integers by their type, as `==` would not.
    """
    fields: Flat = {}

    def walk(value: dict[str, Any], path: str) -> None:
        for key, inner in value.items():
            here = f"{path}{key}"
            if isinstance(inner, dict) and inner:
                walk(inner, here + ".")
            else:
                fields[here] = inner

    walk({key: value for key, value in event.items() if key != "_time"}, "")
    return {path: typed(value) for path, value in fields.items() if value is not None}


def typed(value: Any) -> Any:
    """Return the value with the type of each number beside it, so that 1, 1.0 and True differ."""
    match value:
        case bool() | int() | float():
            return (type(value).__name__, value)
        case list():
            return [typed(inner) for inner in value]
        case dict():
            return {key: typed(inner) for key, inner in value.items()}
        case _:
            return value


SPECIAL_NUMBERS = (2**63 - 1, -(2**63), 2**63, 2**64, 10**30, -(10**25), 0, -1, 2**53 + 1, 0.1, 1.0, -0.0, 1e22, 5e-324)
SPECIAL_KEYS = (
    "a",
    "A",
    "b",
    "a.b",
    "a b",
    "",
    ".",
    "a.",
    "é",
    "_rest",
    "_day",
    "x#integer",
    "x",
    "'",
    '"',
    "\\",
    "\n",
    "$",
    "/",
    "~",
)

keys = st.sampled_from(SPECIAL_KEYS) | st.text(st.characters(codec="utf-8"), max_size=6)
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(SPECIAL_NUMBERS)
    | st.text(st.characters(codec="utf-8"), max_size=12)
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4), max_leaves=12
)
objects = st.dictionaries(keys.filter(lambda key: not key.startswith("_")), values, max_size=6)
few_keys = st.sampled_from(["a", "b", "c"])
conflicting = st.dictionaries(
    few_keys,
    st.recursive(
        scalars,
        lambda inner: st.dictionaries(few_keys, inner, max_size=3) | st.lists(inner, max_size=2),
        max_leaves=6,
    ),
    max_size=3,
)
"""Objects of few keys, so that a path has many types."""
