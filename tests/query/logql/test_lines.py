"""What stages make of lines."""

import pytest

from tailrace.query.logql.lines import processed
from tailrace.query.logql.tree import Extraction


@pytest.mark.parametrize("line", ["a" * 1_000_000, "=" * 1_000_000, 'a="' + "b" * 1_000_000])
def test_logfmt_of_a_long_line_without_spaces_is_read_at_once(line: str) -> None:
    _, labels = processed(f"first=1 {line} last=2", {}, [Extraction("logfmt")])

    assert labels["first"] == "1"
    assert labels["last"] == "2"
