"""Axiom's JavaScript client, unmodified, under Node.js: what it sends comes back, event by event."""

from typing import TYPE_CHECKING, Any

import pytest
from support.node import needs_node, run_node, run_program

if TYPE_CHECKING:
    from conftest import Server


pytestmark = needs_node

EVENTS: list[dict[str, Any]] = [
    {"_time": f"2026-03-05T10:11:{n:02}.5Z", "n": n, "path": f"/{n}", "http": {"status": 200 + n}, "tags": ["a", n]}
    for n in range(20)
]


def run(server: "Server", dataset: str, how: str, **more: Any) -> dict[str, Any]:
    """Return what the client answered; it must have met no error."""
    task = {"url": server.url, "token": server.api_token(dataset), "dataset": dataset, "how": how, **more}
    answer: dict[str, Any] = run_program("ingest.mjs", task)
    assert answer["errors"] == []
    return answer


def read_back(server: "Server", dataset: str) -> list[dict[str, Any]]:
    rows = server.sql(f'SELECT _time, n, path, "http.status" AS s, tags FROM "{dataset}" ORDER BY n')
    return [{key: row[key] for key in ("_time", "n", "path", "tags")} | {"http": {"status": row["s"]}} for row in rows]


def test_ingest_and_flush(server: "Server", dataset: str) -> None:
    run(server, dataset, "batched", events=EVENTS)

    assert read_back(server, dataset) == EVENTS


def test_the_documented_program_runs_as_printed(server: "Server", dataset: str) -> None:
    printed = "axiom.ingest('DATASET_NAME', [{ foo: 'bar' }]);\nawait axiom.flush();"
    made = "import { Axiom } from '@axiomhq/js';\n"
    made += f"const axiom = new Axiom({{ token: '{server.token}', url: '{server.url}' }});"
    program = f"{made}\n{printed.replace('DATASET_NAME', dataset)}"

    run_node("--input-type=module", "-e", program)

    assert server.sql(f'SELECT foo FROM "{dataset}"') == [{"foo": "bar"}]


def test_ingest_without_batching(server: "Server", dataset: str) -> None:
    status = run(server, dataset, "direct", events=EVENTS)["status"]

    assert (status["ingested"], status["failed"], status["failures"]) == (20, 0, [])
    assert read_back(server, dataset) == EVENTS


def test_ingest_by_the_edge_route(server: "Server", dataset: str) -> None:
    run(server, dataset, "direct", events=EVENTS, edgeUrl=server.url)

    assert read_back(server, dataset) == EVENTS


def test_ingest_raw_csv(server: "Server", dataset: str) -> None:
    csv = 'at,user,note\n2026-03-05T10:11:12Z,ann,"a, b"\n2026-03-05T10:11:13Z,bob,\n'

    status = run(server, dataset, "raw", csv=csv, options={"timestampField": "at"})["status"]

    assert (status["ingested"], status["failed"], status["processedBytes"]) == (2, 0, len(csv))
    assert server.sql(f'SELECT _time, "user", note FROM "{dataset}" ORDER BY _time') == [
        {"_time": "2026-03-05T10:11:12Z", "user": "ann", "note": "a, b"},
        {"_time": "2026-03-05T10:11:13Z", "user": "bob", "note": ""},
    ]


def ask(server: "Server", dataset: str, query: Any, **more: Any) -> dict[str, Any]:
    """Return what the client answers to a query over the events."""
    assert server.ingest(dataset, EVENTS).json()["ingested"] == len(EVENTS)
    token = server.api_token(dataset, query=True)
    task = {"url": server.url, "token": token, "dataset": dataset, "query": query, **more}
    answer: dict[str, Any] = run_program("query.mjs", task)
    return answer


@pytest.mark.parametrize("edge", [False, True])
def test_query(server: "Server", dataset: str, edge: bool) -> None:
    more = {"edgeUrl": server.url} if edge else {}
    answer = ask(server, dataset, f"['{dataset}'] | where n >= 17", **more)

    [events] = answer["events"]
    assert [(event["n"], event["path"], event["http.status"], event["tags"]) for event in events] == [
        (n, f"/{n}", 200 + n, ["a", n]) for n in (19, 18, 17)
    ]
    assert answer["status"]["rowsExamined"] == 20


def test_query_without_rows_and_without_a_match(server: "Server", dataset: str) -> None:
    assert ask(server, dataset, f"['{dataset}'] | where n > 100")["events"] == [[]]
    assert ask(server, dataset, "print 1")["events"] == [[{"print_0": 1}]]


def test_query_by_pages(server: "Server", dataset: str) -> None:
    query = f"['{dataset}'] | project n | limit 15"
    first = ask(server, dataset, query)
    task = {"options": {"cursor": first["status"]["minCursor"]}}
    server.client.post("/v1/datasets/_apl", json={"apl": query})

    assert [event["n"] for event in first["events"][0]] == list(range(19, 4, -1))
    second = ask(server, dataset, query, **task)  # which sends the events once more
    assert {event["n"] for event in second["events"][0]} <= set(range(13))


def test_query_in_the_legacy_format(server: "Server", dataset: str) -> None:
    answer = ask(server, dataset, f"['{dataset}'] | limit 2", options={"format": "legacy"})

    assert [match["data"]["n"] for match in answer["matches"]] == [19, 18]


def test_query_legacy(server: "Server", dataset: str) -> None:
    query = {
        "startTime": "2026-03-05T00:00:00Z",
        "endTime": "2026-03-06T00:00:00Z",
        "resolution": "auto",
        "filter": {"op": "<", "field": "n", "value": 5},
        "aggregations": [{"op": "sum", "field": "n", "alias": "total"}],
        "groupBy": ["tags"],
    }
    answer = ask(server, dataset, query, how="legacy", options={"streamingDuration": "60s", "noCache": True})

    assert sorted(total["aggregations"][0]["value"] for total in answer["buckets"]["totals"]) == [0, 1, 2, 3, 4]
    assert answer["status"]["rowsMatched"] == 5


def test_monitors(server: "Server", dataset: str) -> None:
    query = f"['{dataset}'] | summarize count() by bin(_time, 5m)"
    monitor = {
        "name": "by the client",
        "type": "Threshold",
        "aplQuery": query,
        "operator": "AboveOrEqual",
        "threshold": 1.5,
        "intervalMinutes": 5,
        "rangeMinutes": 10,
        "notifierIds": [],
        "disabled": True,
    }
    changes = {"name": "changed", "operator": "Below", "notifierIDs": []}
    task = {"url": server.url, "token": server.token, "monitor": monitor, "changes": changes}
    answer = run_program("monitors.mjs", task)

    made, changed = answer["made"], answer["changed"]
    assert {name: made[name] for name in monitor} == monitor
    assert answer["got"] == made
    assert changed == {**made, "name": "changed", "operator": "Below", "updatedAt": changed["updatedAt"]}
    assert answer["listed"] == changed
    assert answer["deleted"] == 204
    assert "not found" in answer["gone"].lower()
