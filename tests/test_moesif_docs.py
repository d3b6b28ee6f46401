"""docs/moesif.md and what docs/data.md says of current states: commands run as printed, numbers are the code's."""

import re
from typing import TYPE_CHECKING

import duckdb
from deltalake import DeltaTable
from support.moesif import Application
from support.pages import DOCS, needs_jq, run_commands
from support.waiting import wait_until

from tailrace.protocols import moesif, moesif_events

if TYPE_CHECKING:
    from conftest import MakeServer

PAGE = (DOCS / "moesif.md").read_text()


@needs_jq
def test_the_commands_run_as_printed(make_server: "MakeServer") -> None:
    server = make_server().start()
    answers = run_commands(PAGE, server)

    assert answers[0] == {"accepted": 1, "rejected": [{"index": 1, "reason": "request is required"}]}
    assert answers[1:3] == [{"accepted": 1, "rejected": []}] * 2
    assert [list(row.values()) for row in answers[3]["rows"]] == [[200, "free", 3]]


def test_the_numbers_are_those_of_the_code() -> None:
    assert f"({moesif.SMALL_BATCH_BYTES // 1024} KiB)" in PAGE
    assert f"at most {moesif.MAX_REQUEST_BYTES // 1024**2} MiB" in PAGE
    assert f"past {moesif_events.MAX_EVENT_BYTES // 1024**2} MiB" in PAGE
    assert f"{moesif_events.TRUNCATED_BODY_BYTES // 1024} KiB is cut" in PAGE.replace("\n", " ")
    assert f"last {moesif.MoesifOptions().window_s / 3600:g} hours" in PAGE


def test_every_route_is_named() -> None:
    for route in moesif.PROTOCOL.routes:
        path = re.sub("^/collector", "", route.path)
        if path not in ("/v1/traces/v1/traces", "/v1/logs/v1/logs"):
            assert path.removesuffix("/batch") in PAGE


def test_the_filter_for_current_states_is_right(make_server: "MakeServer") -> None:
    running = make_server("--commit-age-s=0.1").start()
    application = Application(running)
    table = running.data / "lake" / f"{application.dataset}-users"
    for number in range(3):
        body = [{"user_id": "u", "n": number}, {"user_id": "v", "n": -number}]
        assert application.post("/v1/users/batch", body).status_code == 201
    wait_until(lambda: DeltaTable(table).to_pyarrow_table().num_rows == 6)
    [current] = re.findall(r"```sql\n(FROM states .*?)\n```", (DOCS / "data.md").read_text())

    states = duckdb.read_parquet(DeltaTable(table).file_uris(), union_by_name=True, hive_partitioning=True)
    newest = duckdb.sql(current)
    assert newest is not None
    found = newest.order("_id").project("_id, n, _revision").fetchall()
    assert states.aggregate("count(*)").fetchall() == [(6,)]
    assert found == [("u", 2, 3), ("v", -2, 3)]
