"""Any events come back equal over HTTP: at once, after kill -9, and committed."""

import json
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.events import Flat, conflicting, flat, objects, typed
from support.rounds import rounds

if TYPE_CHECKING:
    from conftest import MakeServer, Server

EXAMPLES = 25
FIRST_MS = 1_780_000_000_000
SYSTEM = ("_time", "_sysTime", "_rest")

bodies = st.sampled_from(["array", "ndjson"])


def stored(server: "Server", dataset: str) -> list[Flat]:
    """Return the events of a dataset in order of time, put together from the columns and the rest of SELECT *."""
    events = []
    for row in server.sql(f'SELECT * FROM "{dataset}" ORDER BY _time'):
        columns = {name: typed(value) for name, value in row.items() if name not in SYSTEM and value is not None}
        rest = flat(row["_rest"] or {})
        assert all(columns[name] == rest[name] for name in columns.keys() & rest.keys())
        events.append(columns | rest)
    return events


def test_any_events_come_back_equal_hot_replayed_and_committed(make_server: "MakeServer") -> None:
    server = make_server("--commit-age-s=3600")
    server.start()
    wanted: dict[str, list[Flat]] = {}

    @given(st.lists(objects | conflicting, min_size=1, max_size=8), bodies)
    @settings(max_examples=rounds(EXAMPLES), suppress_health_check=list(HealthCheck))
    def comes_back(events: list[dict[str, Any]], shape: str) -> None:
        dataset = server.create(f"d{len(wanted)}")
        sent = [{"_time": FIRST_MS + number, **event} for number, event in enumerate(events)]
        body = json.dumps(sent) if shape == "array" else "\n".join(json.dumps(each) for each in sent)
        answer = server.ingest(dataset, body)
        assert answer.json()["ingested"] == len(events), answer.text
        wanted[dataset] = [flat(event) for event in events]
        assert stored(server, dataset) == wanted[dataset]

    comes_back()

    server.kill()
    server.start()
    for dataset, events in wanted.items():
        assert stored(server, dataset) == events

    assert server.stop() == 0
    server.start()
    assert server.ingest("demo", [{}]).json()["walLength"] == 1
    for dataset, events in wanted.items():
        assert stored(server, dataset) == events
