"""What a start imports: not what few servers need, and all that a thread needs which must live."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.process

WORK = """
import sys, time
from pathlib import Path
import tailrace.server.serve
import numpy as np
from tailrace.events import Batch
from tailrace.lake import Lake, LakeSettings, MaintenanceSettings
from tailrace.log import LocalLog

where = Path(sys.argv[1])
lake = Lake.open(where / "lake", LakeSettings(maintenance=MaintenanceSettings(compact_files=2)))
lake.create("d")

looked_for = []
class Finder:
    def find_spec(name, path=None, target=None):
        looked_for.append(name)

sys.meta_path.insert(0, Finder)
log = LocalLog.open(where / "log", subscription=lake.subscription)
lake.replayed()
lines = [
    b'{"a":1,"b":{"c":["x",2.5]},"t":"2026-01-01T00:00:00Z","B":true}',
    b'{"a":"text","b":7,"":{},"deep":{"deep":{}},"n":123456789012345678901234567890}',
    b'{"a":null,"\\u00e9":"\\ud83d\\ude00","x":[{"y":1},[]]}',
]
durable = []
for line in lines:
    log.append(Batch("d", line + b"\\n", np.array([time.time_ns()]), 1, time.time_ns()), lambda *it: durable.append(it))
    while len(durable) < 1:
        time.sleep(0.01)
    durable.clear()
    lake.snapshot("d")
    lake.commit_now("d")
lake.compact("d")
lake.sweep("d")
lake.trim("d", time.time_ns())
lake.close()
log.close()
print(*looked_for)
"""


def test_the_threads_of_log_and_lake_import_nothing(tmp_path: Path) -> None:
    # An import fails where no file descriptor is left, and would take its thread along.
    done = subprocess.run([sys.executable, "-c", WORK, str(tmp_path)], capture_output=True, text=True, check=False)

    assert done.stderr == ""
    assert done.stdout.split() == []


RARE = {"alembic", "httpx", "mako", "pydantic", "rich", "tailrace.api.openapi"}


def test_a_start_does_not_import_what_few_servers_need() -> None:
    code = f"import sys, tailrace.cli.serve, tailrace.server.serve; print(*sorted({RARE} & set(sys.modules)))"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.split() == []


ENGINES = {"deltalake", "duckdb", "pyarrow", "sqlalchemy", "sqlglot", "starlette"}


@pytest.mark.parametrize(
    "command", [["config"], ["config", "--reference"], ["--help"], ["dataset", "--help"], ["ingest", "--help"]]
)
def test_a_short_command_imports_neither_database_nor_query_engine(command: list[str], tmp_path: Path) -> None:
    code = f"""
import sys
sys.argv = ["tailrace", *{command}]
from tailrace.cli import main
try:
    main()
finally:
    print(*sorted({ENGINES} & set(sys.modules)), file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)

    assert done.stdout
    assert done.stderr.split() == []
