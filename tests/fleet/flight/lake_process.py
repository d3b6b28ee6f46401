"""A lake node as a process of its own: `lake_process.py DIRECTORY golden|large`.

It has the golden data, half of it in files, or a dataset with many hot rows.

It prints its port, and ends with its standard input.
"""

import sys
from pathlib import Path

TESTS = Path(__file__).parents[2]
sys.path[:0] = [str(TESTS), str(TESTS.parent / "src")]

from query.golden_kit import as_batch, datasets  # noqa: E402
from support.flight import LakeNode  # noqa: E402

from tailrace.events.sizes import GIB  # noqa: E402
from tailrace.lake import LakeSettings  # noqa: E402

IN_MEMORY = LakeSettings(commit_age_s=1e9, commit_bytes=GIB, max_uncommitted_bytes=2 * GIB)
LARGE_ROWS, LARGE_TEXT = 50_000, b"x" * 1_000


def main() -> None:
    """Serve until the standard input ends."""
    node = LakeNode(Path(sys.argv[1]), settings=IN_MEMORY)
    if sys.argv[2] == "large":
        node.lake.create("large")
        line = b'{"_time":"2026-03-02T00:00:00Z","text":"%s"}' % LARGE_TEXT
        node.lake.accept(1, as_batch("large", [line] * LARGE_ROWS))
    else:
        add_golden_data(node)
    print(node.server.port, flush=True)
    sys.stdin.read()
    node.close()


def add_golden_data(node: LakeNode) -> None:
    """Give the lake all golden events, and have it commit the first half of each dataset."""
    position = 0
    for name, lines in datasets().items():
        node.lake.create(name)
        half = len(lines) // 2
        for is_first, part in ((True, lines[:half]), (False, lines[half:])):
            if part:
                position += 1
                node.lake.accept(position, as_batch(name, part))
            if is_first:
                node.lake.commit_now(name)


main()
