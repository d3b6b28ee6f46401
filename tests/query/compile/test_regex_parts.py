"""How a regular expression is taken apart for redact."""

import time

import pytest

from tailrace.query.compile.regex_parts import spelled


@pytest.mark.parametrize("rest", [r"\Q" * 20_000, r"\Q\E" * 20_000, "[" * 20_000 + "]", r"[[:alpha:]]" * 5_000])
def test_a_long_regex_takes_a_time_in_proportion(rest: str) -> None:
    began_s = time.process_time()
    spelled("(a)" + rest)
    assert time.process_time() - began_s < 1
