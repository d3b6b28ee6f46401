"""Axiom's Python client as it was with structured queries and both formats of answers, unmodified."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from conftest import Server

PACKAGES = Path(sys.prefix) / "clients" / "axiom-py-0.10"
SCRIPT = Path(__file__).parent / "py" / "query_legacy.py"
EVENTS = [
    {"_time": f"2026-03-05T10:{n:02}:00Z", "n": n, "method": ["GET", "POST"][n % 2], "tags": ["a", n]}
    for n in range(14)
]


@pytest.fixture(scope="module", autouse=True)
def _installed() -> None:
    assert PACKAGES.is_dir(), f"install requirements/axiom-py-0.10.txt to {PACKAGES} first, as 'make test' does"


def ask(server: "Server", dataset: str, how: str) -> Any:
    assert server.ingest(dataset, EVENTS).json()["ingested"] == 14
    task = {"url": server.url, "token": server.api_token(dataset, query=True), "dataset": dataset, "how": how}
    done = subprocess.run(
        [sys.executable, "-S", str(SCRIPT)],
        input=json.dumps(task),
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(PACKAGES)},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_structured_query_for_matches(server: "Server", dataset: str) -> None:
    answer = ask(server, dataset, "matches")

    assert [match["data"]["n"] for match in answer["matches"]] == [13, 12, 11]
    assert answer["matches"][0]["data"]["tags"] == ["a", 13]
    assert answer["status"]["rowsMatched"] == 3
    assert answer["savedQueryID"]


def test_a_structured_query_for_groups(server: "Server", dataset: str) -> None:
    answer = ask(server, dataset, "groups")

    totals = {total["group"]["method"]: total["aggregations"] for total in answer["buckets"]["totals"]}
    assert totals == {
        "GET": [{"op": "event_count", "value": 7}],
        "POST": [{"op": "event_count", "value": 7}],
    }
    assert answer["matches"] == []


def test_apl_in_the_legacy_format(server: "Server", dataset: str) -> None:
    answer = ask(server, dataset, "legacy")

    assert [match["data"]["n"] for match in answer["matches"]] == [13, 12, 11]
    assert answer["status"]["messages"] == []


def test_apl_in_the_legacy_format_with_groups(server: "Server", dataset: str) -> None:
    answer = ask(server, dataset, "summarized")

    assert [total["aggregations"][0]["value"] for total in answer["buckets"]["totals"]] == [7, 7]


def test_apl_in_the_tabular_format(server: "Server", dataset: str) -> None:
    answer = ask(server, dataset, "tabular")

    assert [(event["n"], event["method"], event["tags"]) for event in answer["events"]] == [
        (13, "POST", ["a", 13]),
        (12, "GET", ["a", 12]),
        (11, "POST", ["a", 11]),
    ]
