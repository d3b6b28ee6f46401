"""Escapes that are half of a character become U+FFFD, as any decoder of UTF-16 has it, and nothing else changes."""

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailrace.parsing.surrogates import with_whole_characters

UNITS = ("a", "é", "\\n", '\\"', "\\\\", "\\u0041", "\\ud83d", "\\uDE00", "\\uD83D\\ude00", "\\udcff", "ud83d")


@given(st.lists(st.sampled_from(UNITS)))
def test_any_text_is_read_as_the_standard_library_reads_it_without_halves(units: list[str]) -> None:
    text = f'["{"".join(units)}"]'
    lenient: str = json.loads(text)[0]
    expected = lenient.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    whole = with_whole_characters(text.encode())
    assert json.loads(whole.decode())[0] == expected
    if lenient == expected:
        assert whole == text.encode()


@pytest.mark.parametrize("unit", [b"\\ud83d", b"\\ud83d\\ude00", b"\\n", b"\\\\"])
def test_the_time_is_in_proportion_to_the_text(unit: bytes) -> None:
    def cost_s(count: int) -> float:
        began_s = time.process_time()
        with_whole_characters(b'"' + unit * count + b'\\udcff"')
        return time.process_time() - began_s

    assert min(cost_s(80_000) for _ in range(3)) < 40 * min(cost_s(10_000) for _ in range(3)) + 0.05
