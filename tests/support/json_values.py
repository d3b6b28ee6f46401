"""Strategies of hypothesis for JSON: objects whose names and texts are hard for a parser."""

from collections.abc import Collection
from typing import Any

from hypothesis import strategies as st

_SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**200), 2**200)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=30)
    | st.sampled_from(['"', "\\", "\\\\", '\\"', "}\n{", "},{", "[{", "],", "\u2028", "\x00", "é" * 150, "x" * 500])
)


def json_objects(*, without: Collection[str]) -> st.SearchStrategy[dict[str, Any]]:
    """Return objects of any depth in which no name is one of `without`."""
    names = st.text(max_size=12).filter(lambda name: name not in without)
    values = st.recursive(
        _SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4), max_leaves=10
    )
    return st.dictionaries(names, values, max_size=6)
