"""The bar chart of a number over time."""

import pytest

from tailrace.cli.chart import HEIGHT, chart

MINUTE_NS = 60_000_000_000


def test_a_bar_is_as_high_as_its_value() -> None:
    lines = chart([(0, 4.0), (MINUTE_NS, 1.0), (3 * MINUTE_NS, 2.0)], MINUTE_NS, 40)

    assert lines == [
        "4 ███",
        "  ███",
        "  ███      ███",
        "0 ██████   ███",
    ]


def test_groups_of_a_bucket_are_summed() -> None:
    assert chart([(0, 1.0), (0, 2.0), (MINUTE_NS, 3.0)], MINUTE_NS, 40)[0] == "3 ██████"


@pytest.mark.parametrize("count", [2, 79, 80, 1000, 12_345])
def test_it_is_never_wider_than_told(count: int) -> None:
    lines = chart([(n * MINUTE_NS, float(n)) for n in range(count)], MINUTE_NS, 80)

    assert len(lines) == HEIGHT
    assert all(len(line) <= 80 for line in lines)


@pytest.mark.parametrize(
    "buckets",
    [[], [(0, 1.0)], [(0, 1.0), (MINUTE_NS, -1.0)], [(0, 0.0), (MINUTE_NS, 0.0)], [(0, 1.0), (10**18, 1.0)]],
)
def test_what_cannot_be_drawn_is_not(buckets: list[tuple[int, float]]) -> None:
    assert chart(buckets, MINUTE_NS, 80) == []
