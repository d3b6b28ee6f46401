"""The tables in an object store are what Spark finds there: by the lines of docs/fleet.md, against a Spark server."""

import json
import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from lake.test_object_lake import BY_HAND, MIB
from support.events import batch
from support.s3 import S3Server

from tailrace.lake import Lake
from tailrace.lake.hashes import damage
from tailrace.lake.object_catalog import ObjectCatalog
from tailrace.storage.file_cache import FileCache
from tailrace.storage.object_files import open_s3

PACKAGES = Path(sys.prefix) / "clients" / "spark"
SCRIPT = Path(__file__).parent / "py" / "ask_spark.py"
PAGE = (Path(__file__).parents[2] / "docs" / "fleet.md").read_text()


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.skipif(not PACKAGES.is_dir(), reason="there is no Spark server for this machine")
def test_spark_reads_what_is_committed(s3: S3Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in s3.environment().items():
        monkeypatch.setenv(name, value)
    url = s3.url()
    store = open_s3(url)
    lake = Lake.open(ObjectCatalog(store, FileCache(tmp_path / "cache", store, 64 * MIB, damage)), BY_HAND)
    lake.create("web")
    for number, method in enumerate(("GET", "PUT", "GET"), 1):
        events = [{"http": {"method": method, "status": status}, "n": number} for status in (200, 503, "504")]
        lake.accept(number, batch(events, "web"))
        lake.commit_now("web")
    lake.compact("web")
    lake.accept(4, batch([{"http": {"method": "PATCH", "status": 501}, "late": True}], "web"))
    lake.close()

    [lines] = [part.partition("```")[0] for part in PAGE.split("```python\n") if part.startswith("from pyspark")]
    asked = subprocess.run(
        [sys.executable, str(SCRIPT)],
        input=json.dumps({"lines": lines, "table": f"{url}/web"}),
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": str(PACKAGES)},
    )
    assert asked.returncode == 0, asked.stderr
    columns = ["http.method", "http.status", "http.status#string", "late", "n"]
    expected = pl.read_delta(f"{url}/web", storage_options=s3.environment()).select(columns)
    answer = json.loads(asked.stdout)
    assert answer["shown"] == [["GET", 2], ["PATCH", 1], ["PUT", 1]]
    assert sorted(answer["columns"]) == ["_day", "_rest", "_sysTime", "_time", *columns]
    assert sorted(answer["rows"], key=str) == sorted(map(list, expected.rows()), key=str)
