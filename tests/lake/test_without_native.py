"""A lake where the compiled way cannot be loaded gives the same answers, and a lake with it goes on from there."""

import json
import os
import subprocess
import sys
from pathlib import Path

from support.events import batch
from support.lakes import NEVER, flat_rows, numbers

from tailrace.lake import Lake

EVENTS = [{"n": 1, "o": {"a b": [1.50], "e": {}}}, {"n": 3}]
CODE = """
import sys
from pathlib import Path
from support.events import batch
from support.lakes import NEVER
from tailrace.lake import Lake
from tailrace.lake.exact import ExactShredder
from tailrace.lake.shred import line_shredder

assert isinstance(line_shredder(), ExactShredder)
lake = Lake.open(Path(sys.argv[1]), NEVER)
lake.create("d")
lake.accept(1, batch(__import__("json").loads(sys.argv[2])))
lake.commit_now()
lake.close()
"""


def test_a_lake_works_without_the_native_library_and_later_with_it(process: None, tmp_path: Path) -> None:
    environment = {**os.environ, "TAILRACE_NATIVE": "off", "PYTHONPATH": str(Path(__file__).parents[1])}
    subprocess.run([sys.executable, "-c", CODE, str(tmp_path), json.dumps(EVENTS)], env=environment, check=True)

    lake = Lake.open(tmp_path, NEVER)
    lake.accept(2, batch([{"n": 2, "o": {"a b": 1}}]))
    snapshot = lake.snapshot("d")
    [hot] = snapshot.hot

    assert len(snapshot.files) == 1
    assert numbers(snapshot) == [1, 2, 3]
    assert flat_rows(hot.rows, snapshot.fields) == [{"n": ("int", 2), "o.a b": ("int", 1)}]
    assert snapshot.fields.rest == {"o.a b": {"array", "integer"}, "o.e": {"map"}}
    lake.close()
