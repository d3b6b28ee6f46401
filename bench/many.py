"""What queries over many small datasets, and with long lists, cost: CPU time from the query to its table.

python -m bench.many    the best of three of each
"""

import json
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from tailrace.events import Batch
from tailrace.lake import Lake, LakeSettings, table_root
from tailrace.query import AplRequest, DuckDB, QueryLimits, run_apl

DATASETS = 104
EVENTS = 507  # of each, with a field of its own name
ROUNDS = 3
FIRST_NS = 1_700_000_000_000_000_000
_WHOLES = ", ".join(map(str, range(45_000)))

QUESTIONS = {
    "search": 'search "error"',
    "search | count": 'search "error" | count',
    "search, nothing found": 'search "nowhere"',
    "union of all": "union ds*",
    "union, filtered": 'union ds* | where level == "error"',
    "in 45,000 numbers": f"ds0 | where f0 in ({_WHOLES})",
    "in 45,000 numbers | count": f"ds0 | where f0 in ({_WHOLES}) | count",
    "double in 45,000 numbers": f"ds0 | where ms in ({_WHOLES}) | count",
}


def batch(number: int) -> Batch:
    """Return the events of one dataset, a millisecond apart, after those of the dataset before."""
    lines = [
        json.dumps(
            {
                "level": "info" if n % 9 else "error", "msg": f"request {n} of {number}", f"f{number}": n,
                "path": f"/a/{n % 7}", "ms": n * 1.5,
            }
        ).encode() + b"\n"
        for n in range(EVENTS)
    ]  # fmt: skip
    times = FIRST_NS + (number * EVENTS + np.arange(EVENTS, dtype=np.int64)) * 1_000_000
    return Batch(f"ds{number}", b"".join(lines), times, EVENTS, FIRST_NS)


def main() -> None:
    """Print the CPU time of each question."""
    with tempfile.TemporaryDirectory(prefix="tailrace-bench-") as directory:
        root = Path(directory)
        lake = Lake.open(root / "lake", LakeSettings())
        engine = DuckDB(table_root(root / "lake"), root / "temporary", QueryLimits())
        for number in range(DATASETS):
            lake.create(f"ds{number}")
            lake.accept(number + 1, batch(number))
        for name, apl in QUESTIONS.items():
            times = []
            for _ in range(ROUNDS):
                began = time.process_time()
                run_apl(lake, engine, AplRequest(apl=apl), check=lambda dataset: None)
                times.append((time.process_time() - began) * 1e3)
            print(f"{name:<28}{min(times):>8,.0f} ms")
        lake.close()
        engine.close()


if __name__ == "__main__":
    main()
    sys.stdout.flush()
    os._exit(0)
