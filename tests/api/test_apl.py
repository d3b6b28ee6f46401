"""APL over HTTP: formats, parameters, limits, rights, refusals; each answer is decoded strictly."""

import contextlib
import csv
import io
import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support import answers, http
from support.moesif import Application, call
from support.waiting import wait_until

if TYPE_CHECKING:
    from conftest import Server

RANGE = {"startTime": "2026-03-05T00:00:00Z", "endTime": "2026-03-06T00:00:00Z"}
EVENTS: list[dict[str, Any]] = [
    {
        "_time": f"2026-03-05T10:{n:02}:00Z",
        "n": n,
        "method": ["GET", "POST"][n % 2],
        "mixed": n if n % 3 else str(n),
        "http": {"status": 200 + n},
    }
    for n in range(14)
]


@pytest.fixture
def logs(server: "Server", dataset: str) -> str:
    assert server.ingest(dataset, EVENTS).json()["ingested"] == 14
    return dataset


def post(server: "Server", apl: str, form: str = "tabular", token: str = "", **body: Any) -> httpx.Response:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    body = {"apl": apl, **RANGE, **body}
    return server.client.post("/v1/datasets/_apl", params={"format": form}, json=body, headers=headers)


def tabular(server: "Server", apl: str, **more: Any) -> answers.Tabular:
    answer = post(server, apl, **more)
    assert answer.status_code == 200, answer.text
    return answers.tabular(answer.content)


def rows(server: "Server", apl: str, **more: Any) -> list[dict[str, Any]]:
    return tabular(server, apl, **more).tables[0].rows()


def test_events_come_newest_first_with_fields_sorted_by_name(server: "Server", logs: str) -> None:
    answer = tabular(server, f"['{logs}'] | limit 3")

    [table] = answer.tables
    assert [(field.name, field.type) for field in table.fields] == [
        ("_sysTime", "datetime"),
        ("_time", "datetime"),
        ("http.status", "integer"),
        ("method", "string"),
        ("mixed", "integer|string"),
        ("n", "integer"),
    ]
    assert [(row["n"], row["mixed"]) for row in table.rows()] == [(13, 13), (12, "12"), (11, 11)]
    assert [source.name for source in table.sources] == [logs]
    assert answer.dataset_names == [logs]
    assert (answer.status.rows_examined, answer.status.rows_matched) == (14, 14)
    assert answer.status.messages == []


def test_a_time_bin_brings_buckets_and_totals(server: "Server", logs: str) -> None:
    answer = tabular(server, f"['{logs}'] | summarize count() by bin(_time, 5m), method")

    table, totals = answer.tables
    assert table.buckets == answers.Bucket("_time", 300_000_000_000)
    assert [group.name for group in table.groups] == ["_time", "method"]
    assert totals.name == "_totals"
    assert totals.rows() == [{"method": "GET", "count_": 7}, {"method": "POST", "count_": 7}]
    assert answer.status.num_groups == 6


def test_totals_can_be_left_out(server: "Server", logs: str) -> None:
    body = {"apl": f"['{logs}'] | summarize count() by bin(_time, 5m)", **RANGE}
    answer = server.client.post("/v1/datasets/_apl", params={"format": "tabular", "totals": "False"}, json=body)

    assert len(answers.tabular(answer.content).tables) == 1


def test_a_plain_summarize_is_one_table(server: "Server", logs: str) -> None:
    answer = tabular(server, f"['{logs}'] | summarize topk(method, 1)")

    [table] = answer.tables
    assert table.fields[0].agg == answers.Agg("topk", ["method"], [1])
    assert table.columns == [[[{"key": "GET", "count": 7, "error": 0}]]]


def test_rows_may_come_as_arrays(server: "Server", logs: str) -> None:
    answer = post(server, f"['{logs}'] | project n, method | limit 1", "tabular-rows")

    assert answers.tabular_rows(answer.content).tables[0].rows_ == [[13, "POST"]]


def test_legacy_is_the_format_without_a_parameter(server: "Server", logs: str) -> None:
    body = {"apl": f"['{logs}'] | limit 2", **RANGE}
    answer = answers.legacy(server.client.post("/v1/datasets/_apl", json=body).content)

    assert [match.data["n"] for match in answer.matches] == [13, 12]
    assert answer.matches[0].time == "2026-03-05T10:13:00Z"
    assert answer.matches[0].row_id == answer.status.max_cursor


def test_an_accept_header_chooses_a_plain_format(server: "Server", logs: str) -> None:
    body = {"apl": f"['{logs}'] | project n, method | limit 2", **RANGE}

    def get(accept: str) -> httpx.Response:
        answer = server.client.post("/v1/datasets/_apl", json=body, headers={"Accept": accept})
        assert answer.headers["content-type"] == accept
        return answer

    assert [json.loads(line) for line in get("application/x-ndjson").text.splitlines()] == [
        {"n": 13, "method": "POST"},
        {"n": 12, "method": "GET"},
    ]
    assert list(csv.reader(io.StringIO(get("text/csv").text))) == [["n", "method"], ["13", "POST"], ["12", "GET"]]
    parquet = io.BytesIO(get("application/vnd.apache.parquet").content)
    assert pq.read_table(parquet).to_pylist() == [{"n": 13, "method": "POST"}, {"n": 12, "method": "GET"}]
    with pa.ipc.open_stream(get("application/vnd.apache.arrow.stream").content) as reader:
        assert reader.read_all().to_pylist() == [{"n": 13, "method": "POST"}, {"n": 12, "method": "GET"}]


def test_a_clause_that_is_always_true_is_told_by_one_message(server: "Server", logs: str) -> None:
    [message] = tabular(server, f"['{logs}'] | where true").status.messages

    assert message.msg == "where clause always evaluates to TRUE, which will include all data"
    assert message.code == "apl_whereclausealwaysevaluatestoTRUEwhichwillincludealldata_1"


def test_a_missing_end_is_told(server: "Server", logs: str) -> None:
    [message] = tabular(server, f"['{logs}'] | count", endTime=None).status.messages

    assert (message.priority, message.code) == ("warn", "apl_implicitendtimeofnowapplied_1")


@pytest.mark.parametrize(
    ("times", "count"),
    [
        ({}, 14),
        ({"startTime": "2026-03-05T10:05:00Z"}, 9),
        ({"endTime": "2026-03-05T10:05:00Z"}, 5),
        ({"startTime": "2026-03-05T12:05:00+02:00", "endTime": "2026-03-05T10:06:00+00:00Z"}, 1),
        ({"startTime": "0001-01-01T00:00:00Z", "endTime": "0001-01-01T00:00:00Z"}, 14),
        ({"startTime": "now-1s", "endTime": "now"}, 0),
        ({"startTime": None, "endTime": ""}, 14),
    ],
)
def test_a_range_is_half_open(server: "Server", logs: str, times: dict[str, str], count: int) -> None:
    [row] = rows(server, f"['{logs}'] | count", **times)

    assert list(row.values()) == [count]


def test_the_members_of_a_request(server: "Server", logs: str) -> None:
    query = f"['{logs}'] | project n"

    assert [row["n"] for row in rows(server, query, defaultLimit=2)] == [13, 12]
    assert [row["n"] for row in rows(server, f"{query} | limit 3", maxRows=2)] == [13, 12]
    assert [row["n"] for row in rows(server, f"{query} | limit 1", maxRows=2)] == [13]
    assert [row["n"] for row in rows(server, f"{query} | summarize count() by n | order by n asc", maxRows=2)] == [0, 1]
    assert [row["n"] for row in rows(server, query, defaultOrder=[{"field": "n", "desc": False}])][:2] == [0, 1]
    assert rows(server, f"{query} | where n == wanted", variables={"wanted": 7}) == [{"n": 7}]
    unknown = {"libraries": ["x"], "queryOptions": {"disableCache": True}, "queryRegion": "eu", "whatever": 1}
    assert len(rows(server, query, **unknown)) == 14
    bins = tabular(server, f"['{logs}'] | summarize count() by bin_auto(_time)", maxBinAutoGroups=3, **RANGE).tables[0]
    assert 1 <= len(bins.rows()) <= 4


def test_an_answer_is_given_again_unless_it_is_asked_for_anew(server: "Server", logs: str) -> None:
    def cache_status(headers: dict[str, str] | None = None, **params: str) -> int:
        body = {"apl": f"['{logs}'] | summarize count() by method", **RANGE}
        params["format"] = "tabular"
        answer = server.client.post("/v1/datasets/_apl", params=params, json=body, headers=headers)
        return answers.tabular(answer.content).status.cache_status

    assert cache_status() == 1
    wait_until(lambda: cache_status() == 4)  # a commit in between makes it another set of files
    assert cache_status({"cache-control": "no-cache"}) == 1
    assert cache_status(nocache="True") == 1
    assert cache_status({"authorization": f"Bearer {server.api_token(logs, query=True)}"}) == 1


def test_stray_parameters_are_passed_over(server: "Server", logs: str) -> None:
    params = {
        "format": "tabular",
        "nocache": "True",
        "streaming-duration": "auto",
        "apl-source": "console",
        "dataset_name": "x",
        "limit": "z",
        "request": "",
    }
    answer = server.client.post("/v1/datasets/_apl", params=params, json={"apl": f"['{logs}'] | count", **RANGE})

    assert answers.tabular(answer.content).tables[0].columns == [[14]]


def test_a_cursor_pages_from_the_body_and_from_the_query_string(server: "Server", logs: str) -> None:
    query = f"['{logs}'] | project n | limit 5"
    first = tabular(server, query)
    body = {"apl": query, **RANGE}

    second = tabular(server, query, cursor=first.status.min_cursor)
    params = {"format": "tabular", "cursor": str(first.status.min_cursor)}
    same = answers.tabular(server.client.post("/v1/datasets/_apl", params=params, json=body).content)

    assert [row["n"] for row in second.tables[0].rows()] == [8, 7, 6, 5, 4]
    assert same.tables[0].rows() == second.tables[0].rows()


def test_a_cursor_field_is_the_last_column(server: "Server", logs: str) -> None:
    [row] = rows(server, f"['{logs}'] | project n | limit 1", includeCursorField=True)

    assert list(row) == ["n", "_cursor"]
    again = rows(server, f"['{logs}'] | project n | limit 1", cursor=row["_cursor"], includeCursor=True)
    assert again == [{"n": 13}]


@pytest.mark.parametrize(
    ("apl", "line", "column", "met"),
    [
        ("['{logs}'] | whre n", 1, None, "did you mean 'where'"),
        ("['{logs}']\n| where n ==", 2, 13, "expected"),
        ("['{logs}'] | extend x = nosuch(n)", 1, None, "nosuch"),
    ],
)
def test_an_error_has_its_place(server: "Server", logs: str, apl: str, line: int, column: int | None, met: str) -> None:
    answer = post(server, apl.replace("{logs}", logs))

    assert answer.status_code == 400
    error = answer.json()
    assert set(error) == {"code", "message", "detail"}
    assert set(error["detail"]) == {"errorType", "compileErrorCode", "line", "column", "message"}
    assert error["detail"]["line"] == line
    assert column in (None, error["detail"]["column"])
    assert f"line {line}, column {error['detail']['column']}" in error["message"]
    assert met in error["message"]
    assert error["detail"]["errorType"] in (1, 2, 3, 4)
    assert error["detail"]["compileErrorCode"] in (1, 2, 16, 17, 32, 33, 34)


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"defaultLimit": 1_000_001}, "defaultLimit"),
        ({"maxRows": -1}, "maxRows"),
        ({"maxBinAutoGroups": 10_001}, "maxBinAutoGroups"),
        ({"startTime": "yesterday"}, "startTime"),
        ({"endTime": "now~1h"}, "endTime"),
        ({"startTime": "2026-03-07T00:00:00Z"}, "after endTime"),
        ({"variables": {"x": [1]}}, "variables"),
        ({"apl": 7}, "apl"),
        ({"cursor": "nonsense"}, "cursor"),
    ],
)
def test_a_member_that_cannot_be_is_refused_by_its_name(
    server: "Server", logs: str, body: dict[str, Any], told: str
) -> None:
    answer = server.client.post("/v1/datasets/_apl", json={"apl": f"['{logs}'] | count", **RANGE, **body})

    assert answer.status_code == 400
    assert told in answer.json()["message"]


@pytest.mark.parametrize("params", [{"format": "xml"}, {"saveAsKind": "cake"}])
def test_a_parameter_that_cannot_be_is_refused(server: "Server", params: dict[str, str]) -> None:
    answer = server.client.post("/v1/datasets/_apl", params=params, json={"apl": "print 1"})

    assert answer.status_code == 400
    assert next(iter(params.values())) in answer.json()["message"]


def test_a_dataset_that_is_not_there_is_404(server: "Server") -> None:
    answer = post(server, "['nothing-of-this-name']")

    assert answer.status_code == 404
    assert "not found" in answer.json()["message"]


@pytest.mark.parametrize(
    "apl",
    [
        "['{secret}'] | count",
        "['{own}'] | join (['{secret}']) on n",
        "union ['{own}'], ['{secret}']",
        "['{own}'] | where n in ((['{secret}'] | project n))",
        "['{own}'] | lookup (['{secret}']) on n",
        "let s = ['{secret}']; s | count",
        "search in (['{secret}']) 'x'",
    ],
)
def test_every_dataset_that_a_query_touches_needs_a_right(server: "Server", logs: str, apl: str) -> None:
    secret = server.create(f"{logs}-secret")
    token = server.api_token(logs, query=True)

    answer = post(server, apl.replace("{own}", logs).replace("{secret}", secret), token=token)

    assert answer.status_code == 403, answer.text
    assert "query:read" in answer.json()["message"]


def test_a_pattern_covers_only_datasets_with_a_right(server: "Server", logs: str) -> None:
    server.ingest(server.create(f"{logs}-other"), EVENTS)

    [row] = rows(server, "union d* | count", token=server.api_token(logs, query=True))
    assert list(row.values()) == [14]


def test_the_edge_route_takes_api_tokens_only(server: "Server", logs: str) -> None:
    def edge(token: str) -> httpx.Response:
        return server.client.post(
            "/v1/query/_apl",
            params={"format": "tabular"},
            json={"apl": f"['{logs}'] | count", **RANGE},
            headers={"Authorization": f"Bearer {token}"},
        )

    assert answers.tabular(edge(server.api_token(logs, query=True)).content).tables[0].columns == [[14]]
    refused = edge(server.token)
    assert refused.status_code == 403
    assert "API token" in refused.json()["message"]


def test_a_saved_query_is_found_by_its_id(server: "Server", logs: str) -> None:
    body = {"apl": f"['{logs}'] | count", **RANGE}
    answer = server.client.post("/v1/datasets/_apl", params={"saveAsKind": "apl", "id": logs}, json=body)

    found = server.client.get(f"/v1/datasets/_history/{answer.headers['x-axiom-history-query-id']}").json()
    assert (found["kind"], found["dataset"], found["query"]["apl"]) == ("apl", logs, body["apl"])
    assert server.client.get("/v1/datasets/_history/none").status_code == 404
    assert "x-axiom-history-query-id" not in post(server, "print 1").headers


def batch(server: "Server", token: str, items: Any, **params: Any) -> httpx.Response:
    headers = {"Authorization": f"Bearer {token}"}
    return server.client.post("/v1/query/batch", params=params, json=items, headers=headers)


def test_a_batch_is_answered_by_an_event_each(server: "Server", logs: str) -> None:
    token = server.api_token(logs, query=True)
    good = [{"queryId": f"q{n}", "aplRequest": {"apl": f"['{logs}'] | where n == {n}", **RANGE}} for n in range(12)]
    bad = [
        {"queryId": "syntax", "aplRequest": {"apl": "|"}},
        {"queryId": "right", "aplRequest": {"apl": "['nothing-of-this-name']"}},
        {"queryId": "other", "mplRequest": {}},
    ]

    answer = batch(server, token, good + bad, maxConcurrency=20)

    assert answer.headers["content-type"].startswith("text/event-stream")
    events = [json.loads(event.removeprefix("data: ")) for event in answer.text.strip().split("\n\n")]
    found = {event["queryId"]: event for event in events}
    assert len(events) == len(found) == 15
    for n in range(12):
        [table] = answers.tabular(json.dumps(found[f"q{n}"]["result"]).encode()).tables
        assert [row["n"] for row in table.rows()] == [n]
    assert found["syntax"]["error"]["detail"]["line"] == 1
    assert [found[name]["status"] for name in ("syntax", "right", "other")] == [400, 403, 400]


@pytest.mark.parametrize(
    ("items", "params"),
    [
        ([], {}),
        ([{"queryId": "a", "aplRequest": {"apl": "print 1"}}] * 2, {}),
        ([{"queryId": "a", "aplRequest": {"apl": "print 1"}}], {"maxConcurrency": 21}),
        ([{"queryId": str(n), "aplRequest": {"apl": "print 1"}} for n in range(101)], {}),
        ({"queryId": "a"}, {}),
    ],
)
def test_a_batch_that_cannot_be_is_refused(server: "Server", dataset: str, items: Any, params: Any) -> None:
    answer = batch(server, server.api_token(dataset, query=True), items, **params)

    assert answer.status_code == 400
    assert answer.json()["message"]


def slow(dataset: str) -> str:
    """Return a query that takes many seconds, if nothing stops it."""
    crossed = " | ".join(["extend k = 1", *[f"join kind=inner (['{dataset}'] | extend k = 1) on k"] * 7])
    return f"['{dataset}'] | {crossed} | summarize count()"


def wait(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not done():
        assert time.monotonic() < deadline
        threading.Event().wait(0.02)


def test_a_token_may_have_so_many_queries_under_way(make_server: Callable[..., "Server"]) -> None:
    server = make_server("--query-concurrency-per-token=1", "--query-timeout-s=20s").start()
    server.create("logs")
    server.ingest("logs", EVENTS)
    with ThreadPoolExecutor(1) as other:
        hanging = httpx.Client(base_url=server.url, headers=dict(server.client.headers), timeout=60, trust_env=False)

        def hang() -> None:
            with contextlib.suppress(httpx.TransportError):  # as the server is killed meanwhile
                while hanging.post("/v1/datasets/_apl", json={"apl": slow("logs")}).status_code == 429:
                    pass  # while the probe below has the turn

        other.submit(hang)
        wait(lambda: post(server, "print 1").status_code == 429)
        refused = post(server, "print 1")
        assert refused.status_code == 429
        assert "query_concurrency_per_token" in refused.json()["message"]
        assert refused.headers["retry-after"]
        another = server.api_token("logs", query=True)
        assert post(server, "print 1", token=another).status_code == 200
        server.kill()  # as a stop would wait for the query


def test_a_flood_of_queries_ends_in_time_and_leaves_ingest_alone(make_server: Callable[..., "Server"]) -> None:
    timeout_s, sent = 2.0, 12
    server = make_server("--query-concurrency=1", "--query-queue=3", f"--query-timeout-s={timeout_s}s").start()
    server.create("logs")
    server.ingest("logs", EVENTS)
    application = Application(server)

    def flood(_: int) -> tuple[httpx.Response, float]:
        began = time.monotonic()
        return post(server, slow("logs")), time.monotonic() - began

    with ThreadPoolExecutor(sent) as threads:
        flooding = [threads.submit(flood, n) for n in range(sent)]
        wait(lambda: sum(one.done() for one in flooding) == sent - 4)
        for n in range(5):
            stored = application.post("/v1/events", call(transaction_id=f"one-{n}"))
            assert stored.status_code == 201, stored.text
            assert n or not all(one.done() for one in flooding)  # the first did not wait for their end
        answers = [one.result() for one in flooding]

    assert all(took_s < 3 * timeout_s for _, took_s in answers)  # of the four that one after the other would take
    full = [answer for answer, _ in answers if "query_queue" in answer.json()["message"]]
    ran = [answer for answer, _ in answers if answer.status_code == 422]  # and one that had just begun, maybe
    assert len(full) == sent - 4
    assert ran
    assert all("query_timeout_s" in answer.json()["message"] for answer in ran)
    assert all(a.status_code == 429 and a.headers["retry-after"] for a, _ in answers if a.status_code != 422)


def test_a_query_past_its_time_names_the_limit(make_server: Callable[..., "Server"]) -> None:
    server = make_server("--query-timeout-s=1s").start()
    server.create("logs")
    server.ingest("logs", EVENTS)

    answer = post(server, slow("logs"))

    assert answer.status_code == 422
    assert "query_timeout_s" in answer.json()["message"]


def test_a_query_stops_when_its_client_hangs_up(make_server: Callable[..., "Server"]) -> None:
    server = make_server("--query-concurrency=1", "--query-timeout-s=100s").start()
    server.create("logs")
    server.ingest("logs", EVENTS)
    headers = dict(server.client.headers)
    client = httpx.Client(base_url=server.url, headers=headers, timeout=1, trust_env=False)
    with client, pytest.raises(httpx.ReadTimeout):
        client.post("/v1/datasets/_apl", json={"apl": slow("logs")})

    assert post(server, "logs | count").status_code == 200


@pytest.mark.parametrize("path", ["/v1/datasets/_apl", "/api/v1/datasets/_apl", "/v1/query/_apl"])
@pytest.mark.parametrize("body", ["", " ", "{}", '{"apl": ""}', '{"apl": " ", "startTime": "now-1h"}'])
def test_no_query_is_422_once_the_token_is_known(server: "Server", dataset: str, path: str, body: str) -> None:
    token = server.api_token(dataset, query=True)
    for secret, status in ((token, 422), ("xaat-wrong", 401)):
        headers = {"Authorization": f"Bearer {secret}", "Content-Type": "application/json"}
        answer = http.post(server.url + path, content=body, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (status, status)


def test_a_body_that_is_no_query_is_400(server: "Server") -> None:
    for body in ("{", "[]", '{"apl": 1}'):
        assert server.client.post("/v1/datasets/_apl", content=body).status_code == 400
