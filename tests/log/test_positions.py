"""Positions in the logs of several writers."""

from hypothesis import given
from hypothesis import strategies as st

from tailrace.log import covers, furthest

POSITIONS = st.dictionaries(st.sampled_from(["", "a", "b"]), st.integers(0, 3))


@given(POSITIONS, POSITIONS)
def test_the_furthest_of_several_is_the_least_that_covers_them(one: dict[str, int], other: dict[str, int]) -> None:
    both = furthest([one, other])

    assert covers(both, one)
    assert covers(both, other)
    assert all(position in (one.get(writer), other.get(writer)) for writer, position in both.items())


def test_a_writer_that_is_missing_has_come_nowhere() -> None:
    assert covers({"a": 1}, {"b": 0})
    assert not covers({"a": 1}, {"b": 1})
