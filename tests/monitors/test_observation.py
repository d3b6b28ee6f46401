"""Answers of APL with odd values, as monitors see them."""

from pathlib import Path

import numpy as np
from query.kit import Desk

from tailrace.events import Batch
from tailrace.monitors import observation
from tailrace.query import AplRequest, QueryLimits, run_apl
from tailrace.query.apl_result import AplTable

LINES = b'{"n":' + b"9" * 5000 + b',"k":"a"}\n{"n":2,"k":"b"}\n{"n":"text","k":"c"}\n'


def test_a_number_of_very_many_digits_stops_nothing(tmp_path: Path) -> None:
    desk = Desk(tmp_path, QueryLimits())
    try:
        desk.lake.create("logs")
        desk.lake.accept(1, Batch("logs", LINES, np.array([1, 2, 3], dtype=np.int64) * 10**17, 3, 10**18))

        def table(apl: str) -> AplTable:
            return run_apl(desk.lake, desk.engine, AplRequest(apl=apl), check=lambda name: None).tables[0]

        rows = observation.points(table("logs | project k, n"))
        assert [(point.column, point.value) for point in rows] == [("n", 2.0)]
        rows = observation.points(table("logs | summarize slowest = max(1.5s)"))
        assert [(point.column, point.value) for point in rows] == [("slowest", 1.5e9)]  # nanoseconds
        events = observation.matches(table("logs"))
        assert [match.event["k"] for match in events] == ["a", "b", "c"]
        assert events[1].event["n"] == 2
    finally:
        desk.close()
