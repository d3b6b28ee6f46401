"""Trim, vacuum and deletion by APL over HTTP: what is deleted is gone for good, and everything else stays."""

import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from support import http
from support.waiting import wait_until

if TYPE_CHECKING:
    from conftest import MakeServer, Server

DELETE = "/v2/datasets/_apl/delete"
TIMES = [f"2026-03-0{day}T12:00:00Z" for day in range(1, 6)]


def fill(server: "Server", dataset: str) -> None:
    """Send events 0 to 49, ten a day on five days; every fifth is an error, and one has a field of its own."""
    events: list[dict[str, Any]] = [
        {"_time": TIMES[n // 10], "n": n, "level": "error" if n % 5 == 0 else "info"} for n in range(50)
    ]
    events[7]["rare"] = {"deep": [1, "x"]}
    assert server.ingest(dataset, events).json()["ingested"] == 50


def numbers(server: "Server", dataset: str) -> list[int]:
    return [row["n"] for row in server.sql(f'SELECT n FROM "{dataset}" ORDER BY n')]


def ask(server: "Server", apl: str, *, commit: bool, **more: Any) -> dict[str, Any]:
    answer = server.client.post(DELETE, json={"apl": apl, "commit": commit, **more})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_a_dry_run_counts_and_deletes_nothing(server: "Server", dataset: str) -> None:
    fill(server, dataset)

    assert ask(server, f"['{dataset}'] | where level == 'error' and _time < datetime(2026-03-03)", commit=False) == {
        "dryRun": True,
        "rowsMatched": 4,
        "rowsDeleted": 0,
        "blocksMatched": 2,
        "firstMatchedEvent": "2026-03-01T12:00:00Z",
        "lastMatchedEvent": "2026-03-02T12:00:00Z",
    }
    assert numbers(server, dataset) == list(range(50))


def test_what_matches_is_deleted_whether_it_was_in_a_file_or_in_the_log_only(server: "Server", dataset: str) -> None:
    fill(server, dataset)
    ask(server, f"['{dataset}'] | where false", commit=False)  # which commits them
    server.ingest(dataset, [{"_time": TIMES[0], "n": 100, "level": "error"}, {"_time": TIMES[0], "n": 101}])

    found = ask(server, f"['{dataset}'] | where level == 'error'", commit=True)

    assert (found["dryRun"], found["rowsMatched"], found["rowsDeleted"]) == (False, 11, 11)
    assert numbers(server, dataset) == [n for n in range(50) if n % 5] + [101]
    assert ask(server, f"['{dataset}'] | where level == 'error'", commit=True)["rowsMatched"] == 0


@pytest.mark.parametrize(
    ("tail", "left"),
    [
        ("where rare.deep[1] == 'x'", [n for n in range(50) if n != 7]),
        ("where isnull(level)", list(range(50))),
        ("where n in (49, 48) or (n * 2 == 6)", [n for n in range(48) if n != 3]),
        ("extend m = n % 10 | where m == 1 | where n > 20", [n for n in range(50) if n not in (21, 31, 41)]),
        ("search 'error'", [n for n in range(50) if n % 5]),
        ("where true", []),
        ("where n == 10 | where n == 20", list(range(50))),
        ("where n in ((['{0}'] | where level == 'error' | project n))", [n for n in range(50) if n % 5]),
    ],
    ids=["rest", "null", "arithmetic", "extend", "search", "all", "none", "sub-query"],
)
def test_any_predicate_deletes_just_what_it_matches(server: "Server", dataset: str, tail: str, left: list[int]) -> None:
    fill(server, dataset)

    found = ask(server, f"['{dataset}'] | {tail.format(dataset)}", commit=True)

    assert numbers(server, dataset) == left
    assert found["rowsDeleted"] == 50 - len(left)


def test_a_range_of_time_bounds_it_with_its_end_left_out(server: "Server", dataset: str) -> None:
    fill(server, dataset)

    found = ask(server, f"['{dataset}'] | where true", commit=True, startTime=TIMES[1], endTime=TIMES[3])

    assert found["rowsDeleted"] == 20
    assert found["blocksMatched"] == 2
    assert numbers(server, dataset) == [*range(10), *range(30, 50)]


@pytest.mark.parametrize(
    ("apl", "said"),
    [
        ("['{0}']", "where true"),
        ("['{0}'] | summarize count() by n", "where, search, extend"),
        ("['{0}'] | where n == 1 | take 1", "where, search, extend"),
        ("union ['{0}'], demo | where true", "the name of one dataset"),
        ("let x = ['{0}']; x | where true", "is a let"),
        ("['{0}'] | where nofunction(n)", "unknown function"),
        ("['{0}'] | where n ==", "line 1, column"),
    ],
)
def test_a_query_that_does_not_only_filter_is_400_and_deletes_nothing(
    server: "Server", dataset: str, apl: str, said: str
) -> None:
    fill(server, dataset)

    answer = server.client.post(DELETE, json={"apl": apl.format(dataset), "commit": True})

    assert answer.status_code == 400
    assert said in answer.json()["message"]
    assert len(numbers(server, dataset)) == 50


def test_a_missing_dataset_is_404(server: "Server") -> None:
    for method, path, body in (
        ("POST", DELETE, {"apl": "['no-such'] | where true", "commit": True}),
        ("POST", "/v1/datasets/no-such/trim", {"maxDuration": "1h"}),
        ("POST", "/v2/datasets/no-such/trim", {"maxDuration": "1h"}),
        ("POST", "/v2/datasets/no-such/vacuum", None),
    ):
        assert server.client.request(method, path, json=body).status_code == 404, path


def test_a_field_of_the_name_that_rows_are_numbered_by_is_409(server: "Server", dataset: str) -> None:
    server.ingest(dataset, [{"file_row_number": 7, "n": 1}, {"n": 2}])

    answer = server.client.post(DELETE, json={"apl": f"['{dataset}'] | where n == 2", "commit": True})

    assert answer.status_code == 409
    assert numbers(server, dataset) == [1, 2]


def test_trim_deletes_what_is_older_and_v1_says_how_many(server: "Server", dataset: str) -> None:
    fill(server, dataset)
    now = datetime.now(UTC)
    server.ingest(
        dataset,
        [
            {"_time": (now - timedelta(hours=3)).isoformat(), "n": 100},
            {"_time": (now - timedelta(minutes=1)).isoformat(), "n": 101},
        ],
    )

    first = server.client.post(f"/v1/datasets/{dataset}/trim", json={"maxDuration": "4h0m0s"})
    second = server.client.post(f"/v2/datasets/{dataset}/trim", json={"maxDuration": "1h0m0s"})
    third = server.client.post(f"/v1/datasets/{dataset}/trim", json={"maxDuration": "1h"})

    assert (first.status_code, first.json()) == (200, {"numDeleted": 50})
    assert (second.status_code, second.content) == (204, b"")
    assert third.json() == {"numDeleted": 0}
    assert numbers(server, dataset) == [101]


@pytest.mark.parametrize("body", [{}, {"maxDuration": ""}, {"maxDuration": "soon"}, {"maxDuration": 5}])
def test_a_trim_without_a_duration_is_400(server: "Server", dataset: str, body: dict[str, Any]) -> None:
    fill(server, dataset)

    for version in ("v1", "v2"):
        assert server.client.post(f"/{version}/datasets/{dataset}/trim", json=body).status_code == 400
    assert len(numbers(server, dataset)) == 50


def test_vacuum_merges_files_and_no_answer_changes(server: "Server", dataset: str) -> None:
    for n in range(3):
        server.ingest(dataset, [{"_time": TIMES[0], "n": n}])
        ask(server, f"['{dataset}'] | where false", commit=False)  # which commits

    done = server.client.post(f"/v2/datasets/{dataset}/vacuum")

    assert (done.status_code, done.json()) == (200, {"filesBefore": 3, "filesAfter": 1, "filesRemoved": 0})
    assert numbers(server, dataset) == [0, 1, 2]


def test_each_needs_its_own_capability(server: "Server", dataset: str) -> None:
    fill(server, dataset)
    delete = (DELETE, {"apl": f"['{dataset}'] | where true", "commit": True})
    trim = (f"/v2/datasets/{dataset}/trim", {"maxDuration": "1h"})
    vacuum = (f"/v2/datasets/{dataset}/vacuum", None)
    for rights, allowed in (
        ({"ingest": ["create"], "query": ["read"]}, ()),
        ({"vacuum": ["update"]}, (vacuum,)),
        ({"trim": ["update"]}, (trim,)),
        ({"data": ["delete"]}, (delete,)),
    ):
        made = server.client.post("/v2/tokens", json={"name": "t", "datasetCapabilities": {dataset: rights}}).json()
        for each in (delete, trim, vacuum):
            path, body = each
            headers = {"Authorization": f"Bearer {made['token']}"}
            answer = http.post(server.url + path, json=body, headers=headers)
            assert (answer.status_code == 403) is (each not in allowed), answer.text


def test_reading_another_dataset_in_a_condition_needs_the_right_to_query_it(server: "Server", dataset: str) -> None:
    fill(server, dataset)
    rights = {"datasetCapabilities": {dataset: {"data": ["delete"]}}}
    token = server.client.post("/v2/tokens", json={"name": "t", **rights}).json()["token"]
    for other in (dataset, "demo"):
        answer = http.post(
            server.url + DELETE,
            json={"apl": f"['{dataset}'] | where n in ((['{other}'] | project n))", "commit": True},
            headers={"Authorization": f"Bearer {token}"},
        )
        assert answer.status_code == 403, other
    assert len(numbers(server, dataset)) == 50


def test_events_that_arrive_meanwhile_are_kept_and_none_is_doubled(server: "Server", dataset: str) -> None:
    stop = threading.Event()
    sent: list[int] = []

    def send() -> None:
        while not stop.is_set():
            n = 1000 + 2 * len(sent)
            assert server.ingest(dataset, [{"n": n, "keep": True}, {"n": n + 1, "keep": False}]).status_code == 200
            sent.append(n)

    sender = threading.Thread(target=send)
    sender.start()
    try:
        wait_until(lambda: len(sent) > 3)
        deleted = [ask(server, f"['{dataset}'] | where keep == false", commit=True)["rowsDeleted"] for _ in range(5)]
    finally:
        stop.set()
        sender.join()
    deleted.append(ask(server, f"['{dataset}'] | where keep == false", commit=True)["rowsDeleted"])

    assert numbers(server, dataset) == sent
    assert sum(deleted) == len(sent)


def test_what_was_deleted_does_not_return_after_a_kill(make_server: "MakeServer") -> None:
    server = make_server().start()
    fill(server, "demo")
    assert ask(server, "demo | where level == 'error'", commit=True)["rowsDeleted"] == 10
    server.ingest("demo", [{"_time": TIMES[0], "n": 100, "level": "error"}])
    server.client.post("/v1/datasets/demo/trim", json={"maxDuration": "1h"})
    server.ingest("demo", [{"n": 101, "level": "error"}])
    assert numbers(server, "demo") == [101]

    server.kill()
    server.start()

    assert numbers(server, "demo") == [101]
    assert ask(server, "demo | where true", commit=True)["rowsDeleted"] == 1
    server.kill()
    server.start()
    assert numbers(server, "demo") == []


def test_a_dataset_of_current_states_is_neither_trimmed_nor_deleted_from(server: "Server") -> None:
    key = server.client.post(
        "/tailrace/v1/keys", json={"protocol": "moesif", "name": "maintained-app", "dataset": "maintained-app"}
    ).json()["key"]
    headers = {"X-Moesif-Application-Id": key}
    sent = http.post(f"{server.url}/v1/users", json={"user_id": "u1"}, headers=headers)
    assert sent.status_code == 201, sent.text

    trim = server.client.post("/v2/datasets/maintained-app-users/trim", json={"maxDuration": "1s"})
    delete = server.client.post(DELETE, json={"apl": "['maintained-app-users'] | where true", "commit": True})

    assert (trim.status_code, delete.status_code) == (409, 409)
    assert len(server.sql('SELECT * FROM "maintained-app-users"')) == 1


def test_a_virtual_field_can_be_a_condition_of_a_deletion(server: "Server", dataset: str) -> None:
    fill(server, dataset)
    made = server.client.post("/v2/vfields", json={"dataset": dataset, "name": "late", "expression": "n >= 45"})
    assert made.status_code == 200

    assert ask(server, f"['{dataset}'] | where late", commit=True)["rowsDeleted"] == 5
    assert numbers(server, dataset) == list(range(45))


def test_rows_of_a_large_file_are_told_by_their_place_in_it(server: "Server", dataset: str) -> None:
    lines = "\n".join(f'{{"_time":"{TIMES[0]}","n":{n}}}' for n in range(99_999))
    for first in (0, 1, 2):  # more rows together than a row group or a vector has
        body = lines.replace('"n":', f'"part":{first},"n":')
        assert server.ingest(dataset, body, "application/x-ndjson").status_code == 200

    found = ask(server, f"['{dataset}'] | where part == 1 and n % 2 == 0 or n == 99998", commit=True)

    assert found["rowsDeleted"] == 50_000 + 2
    [left] = server.sql(f'SELECT count(*) AS rows, sum(n) AS total FROM "{dataset}"')
    kept = [n for n in range(99_999) for part in range(3) if not (part == 1 and n % 2 == 0) and n != 99_998]
    assert left == {"rows": len(kept), "total": sum(kept)}
