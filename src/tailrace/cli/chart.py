"""A small bar chart of a number over time, for a terminal."""

from collections.abc import Sequence

HEIGHT = 4  # lines of bars
EIGHTHS = " ▁▂▃▄▅▆▇█"
MAX_BUCKETS = 100_000  # with more the gaps between are not worth the time
MIN_WIDTH = 20


def chart(buckets: Sequence[tuple[int, float]], size_ns: int, width: int) -> list[str]:
    """Return lines of a chart of (start in Unix nanoseconds, value) pairs, `width` characters wide at most.

    A bucket that is missing counts as 0, and neighbours share a bar, as their sum, where there are too many. Returns
    nothing where there is nothing to draw: fewer than two buckets, or a value below 0.
    """
    starts = [start for start, _ in buckets]
    if not starts or size_ns <= 0 or width < MIN_WIDTH or any(value < 0 for _, value in buckets):
        return []
    first = min(starts)
    count = (max(starts) - first) // size_ns + 1
    if not 2 <= count <= MAX_BUCKETS:
        return []
    values = [0.0] * count
    for start, value in buckets:
        values[(start - first) // size_ns] += value
    room = width - len(_number(sum(values))) - 1
    share = -(-count // room)  # buckets to a bar
    bars = [sum(values[n : n + share]) for n in range(0, count, share)]
    highest = max(bars)
    label = _number(highest)
    if not highest:
        return []
    wide = max(1, min(3, room // len(bars)))
    lines = []
    for level in reversed(range(HEIGHT)):
        cells = (_cell(bar / highest * HEIGHT - level) * wide for bar in bars)
        edge = label if level == HEIGHT - 1 else "0".rjust(len(label)) if level == 0 else " " * len(label)
        lines.append(f"{edge} {''.join(cells)}".rstrip())
    return lines


def _cell(filled: float) -> str:
    """Return a character of which a share is filled, from below."""
    if filled <= 0:
        return " "
    return EIGHTHS[min(8, max(1, round(filled * 8)))]


def _number(value: float) -> str:
    return f"{value:.0f}" if value == int(value) else f"{value:.3g}"
