"""What monitors do on a server that may not call this machine, as their status and history show it."""

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from support.monitors import create_monitor, monitor_status, status_after_a_run
from support.waiting import wait_until

if TYPE_CHECKING:
    from conftest import Server


def test_the_history_of_several_monitors_is_a_table_by_columns(server: "Server", dataset: str) -> None:
    server.ingest(dataset, [{"status": 500}, {"status": 503}])
    alerting, calm = create_monitor(server, dataset), create_monitor(server, dataset, threshold=100)
    status_after_a_run(server, alerting)
    ids = f" {alerting['id']} , {calm['id']},"

    answer = server.client.get("/api/internal/monitors/history", params={"monitorIds": ids})

    assert answer.status_code == 200
    shown = answer.json()
    assert set(shown["data"]) == {alerting["id"], calm["id"]}
    assert {len(columns) for columns in shown["data"].values()} == {len(shown["fields"])}
    assert shown["data"][calm["id"]] == [[]] * len(shown["fields"])
    row = {name: value for name, [value] in zip(shown["fields"], shown["data"][alerting["id"]], strict=True)}
    assert (row["alert_state"], row["matching_value"], row["error"], row["notified"]) == ("open", 2.0, "", False)
    begun, ended = (datetime.fromisoformat(row[f"query.{name}Time"]) for name in ("start", "end"))
    assert (ended - begun, row["_time"]) == (timedelta(minutes=10), row["run_time"])
    assert row["run_id"]


@pytest.mark.parametrize(("ids", "status"), [("mon_none", 404), ("", 400), (",".join(map(str, range(101))), 400)])
def test_the_history_of_no_monitor_is_refused(server: "Server", ids: str, status: int) -> None:
    assert server.client.get("/api/internal/monitors/history", params={"monitorIds": ids}).status_code == status


def test_a_private_address_is_not_called_and_the_history_says_so(server: "Server", dataset: str) -> None:
    hook = {"name": dataset, "properties": {"webhook": {"url": server.url}}}
    notifier = server.client.post("/v2/notifiers", json=hook).json()["id"]
    server.ingest(dataset, [{"status": 500}] * 2)
    made = create_monitor(server, dataset, notifierIds=[notifier])

    wait_until(lambda: len(monitor_status(server, made)["history"]) == 2)
    opened, failed = monitor_status(server, made)["history"]
    assert (opened["kind"], opened["value"], opened["group"]) == ("open", 2, "")
    assert (failed["kind"], failed["notifierId"], failed["attempts"]) == ("failed", notifier, 1)
    assert "127.0.0.1, which is not public (the setting outgoing_private allows it)" in failed["text"]
    assert failed["checkId"] == opened["checkId"]


def test_the_history_is_of_the_time_asked_for(server: "Server", dataset: str) -> None:
    server.ingest(dataset, [{"status": 500}] * 2)
    made = create_monitor(server, dataset)
    wait_until(lambda: bool(monitor_status(server, made)["history"]))
    path, now = f"/v2/monitors/{made['id']}/history", datetime.now(UTC)

    def states(start: datetime, end: datetime) -> list[str]:
        params = {"startTime": start.isoformat(), "endTime": end.isoformat()}
        answer = server.client.get(path, params=params)
        assert answer.status_code == 200, answer.text
        return [each["state"] for each in answer.json()]

    day = timedelta(days=1)
    assert states(now - day, now + day) == ["open"]
    assert states(now - 2 * day, now - day) == states(now + day, now + 2 * day) == []
    assert states(datetime(2, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC)) == ["open"]
    assert server.client.get(f"{path}?startTime=yesterday").status_code == 400


def test_groups_of_a_real_query_alert_each_by_itself(server: "Server", dataset: str) -> None:
    server.ingest(dataset, [{"service": name, "ms": ms} for name, ms in (("a", 50), ("a", 90), ("b", 5), ("c", 70))])
    query = f"['{dataset}'] | summarize avg(ms) by service, bin(_time, 1h)"

    made = create_monitor(server, dataset, aplQuery=query, threshold=60, notifyByGroup=True)

    assert sorted(status_after_a_run(server, made)["open"]) == ["service=a", "service=c"]


def test_the_column_that_is_named_is_looked_at(server: "Server", dataset: str) -> None:
    server.ingest(dataset, [{"ms": 50}])
    query = f"['{dataset}'] | summarize low = min(ms) / 10, high = max(ms)"
    low = create_monitor(server, dataset, aplQuery=query, threshold=20, columnName="low")
    every = create_monitor(server, dataset, aplQuery=query, threshold=20)

    assert status_after_a_run(server, low)["open"] == []
    assert status_after_a_run(server, every)["open"] == [""]


def test_no_data_alerts_where_it_is_asked_for(server: "Server", dataset: str) -> None:
    query = f"['{dataset}'] | summarize avg(ms)"
    made = create_monitor(server, dataset, aplQuery=query, alertOnNoData=True)
    history = status_after_a_run(server, made)["history"]
    assert [(each["kind"], each["text"]) for each in history] == [("open", "The query has no data")]


def test_matching_events_are_in_the_history(server: "Server", dataset: str) -> None:
    server.ingest(dataset, [{"n": 1, "http": {"status": 500}}, {"n": 2, "http": {"status": 200}}])
    query = f"['{dataset}'] | where ['http.status'] >= 500 | project _time, n, http.status"
    made = create_monitor(server, dataset, type="MatchEvent", aplQuery=query, operator=None)
    [entry] = status_after_a_run(server, made)["history"]
    assert entry["kind"] == "open"
    assert '"n":1,"http.status":500' in entry["text"]


def test_an_anomaly_is_found_among_the_days_before(server: "Server", dataset: str) -> None:
    now = datetime.now(UTC)
    past = [{"_time": (now - timedelta(days=day, seconds=20)).isoformat()} for day in (1, 2, 3)]
    server.ingest(dataset, past * 10 + [{"_time": (now - timedelta(seconds=20)).isoformat()}] * 20)
    more = {"type": "AnomalyDetection", "operator": "AboveOrBelow", "compareDays": 3, "rangeMinutes": 10}
    query = f"['{dataset}'] | summarize count()"

    alerting = create_monitor(server, dataset, aplQuery=query, tolerance=50, **more)
    tolerated = create_monitor(server, dataset, aplQuery=query, tolerance=100, **more)

    assert (
        "is above the expected value of 10 by more than 50%"
        in status_after_a_run(server, alerting)["history"][0]["text"]
    )
    assert status_after_a_run(server, tolerated)["history"] == []
    assert monitor_status(server, tolerated)["error"] == ""


def test_an_error_of_a_run_is_in_the_history(server: "Server", dataset: str) -> None:
    gone = server.create(f"{dataset}-gone")
    made = create_monitor(server, gone, disabled=True)
    server.client.delete(f"/v2/datasets/{gone}")
    again = server.client.put(f"/v2/monitors/{made['id']}", json=made | {"disabled": False})
    assert again.status_code == 400
    made = create_monitor(server, dataset, aplQuery=None, mplQuery="metrics:x")
    stands = status_after_a_run(server, made)
    assert [each["kind"] for each in stands["history"]] == ["error"]
    assert "does not run MPL" in stands["error"]
