"""Patterns with stars."""

import time
from fnmatch import fnmatchcase

from hypothesis import given
from hypothesis import strategies as st

from tailrace.query.wildcards import wildcard


@given(st.text("ab*", max_size=8), st.text("ab\n", max_size=10))
def test_a_star_stands_for_any_characters(pattern: str, text: str) -> None:
    assert (wildcard(pattern.split("*")).fullmatch(text) is not None) == fnmatchcase(text, pattern)


def test_other_characters_stand_for_themselves() -> None:
    assert wildcard(["a.[b]?", ""]).fullmatch("a.[b]?c")
    assert not wildcard(["a.[b]?", ""]).fullmatch("axbc")


def test_many_stars_take_no_longer_than_the_text() -> None:
    began_s = time.process_time()
    assert not wildcard([*["a"] * 20, "b"]).fullmatch("a" * 10_000)
    assert time.process_time() - began_s < 1
