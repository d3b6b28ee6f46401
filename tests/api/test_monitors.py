"""Monitors over HTTP, and what they do on a server that may not call this machine."""

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from support.waiting import wait_until

if TYPE_CHECKING:
    from conftest import Server


def body_of(dataset: str, **more: Any) -> dict[str, Any]:
    query = f"['{dataset}'] | where status >= 500 | summarize count()"
    rare = {"intervalMinutes": 1440, "rangeMinutes": 10}  # so that no monitor runs more than once beside other tests
    return {"name": dataset, "type": "Threshold", "aplQuery": query, "operator": "Above", "threshold": 1} | rare | more


def create(server: "Server", dataset: str, **more: Any) -> dict[str, Any]:
    answer = server.client.post("/v2/monitors", json=body_of(dataset, **more))
    assert answer.status_code == 200, answer.text
    made: dict[str, Any] = answer.json()
    return made


def standing(server: "Server", monitor: dict[str, Any], **params: str) -> dict[str, Any]:
    answer = server.client.get(f"/tailrace/v1/monitors/{monitor['id']}", params=params)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def after_a_run(server: "Server", monitor: dict[str, Any]) -> dict[str, Any]:
    wait_until(lambda: standing(server, monitor)["lastRun"] is not None)
    return standing(server, monitor)


def test_a_monitor_is_the_same_object_when_made_got_and_listed(server: "Server", dataset: str) -> None:
    made = create(server, dataset, disabled=True, triggerFromNRuns=1)

    assert made["id"].startswith("mon_")
    shown = {name: made[name] for name in made if name not in ("id", "createdAt", "createdBy", "updatedAt")}
    assert shown == {
        "name": dataset,
        "type": "Threshold",
        "description": "",
        "aplQuery": f"['{dataset}'] | where status >= 500 | summarize count()",
        "columnName": "",
        "operator": "Above",
        "threshold": 1.0,
        "intervalMinutes": 1440,
        "rangeMinutes": 10,
        "secondDelay": 0,
        "alertOnNoData": False,
        "resolvable": False,
        "notifyByGroup": False,
        "notifyEveryRun": False,
        "skipResolved": False,
        "disabled": True,
        "compareDays": 0,
        "tolerance": 0.0,
        "triggerFromNRuns": 1,
        "triggerAfterNPositiveResults": 0,
        "notifierIds": [],
    }
    assert server.client.get(f"/v2/monitors/{made['id']}").json() == made
    assert made in server.client.get("/v2/monitors").json()


def test_an_answer_can_be_sent_back_with_a_change(server: "Server", dataset: str) -> None:
    made = create(server, dataset, disabled=True, description="why", disabledUntil="2100-01-01T00:00:00Z")
    path = f"/v2/monitors/{made['id']}"

    changed = server.client.put(path, json={**made, "threshold": 2.5, "type": "MatchEvent", "operator": ""}).json()

    expected = {**made, "threshold": 2.5, "type": "MatchEvent", "updatedAt": changed["updatedAt"]}
    del expected["operator"]
    assert changed == expected == server.client.get(path).json()


def test_a_query_in_mpl_is_kept_and_echoed(server: "Server", dataset: str) -> None:
    made = create(server, dataset, aplQuery=None, mplQuery="metrics:x", disabled=True)
    assert made["aplQuery"] == "metrics:x"
    assert "mplQuery" not in made  # as Axiom answers: its Go client asserts that it is empty
    changed = server.client.put(f"/v2/monitors/{made['id']}", json={**made, "name": "m"})
    assert changed.json() == {**made, "name": "m", "updatedAt": changed.json()["updatedAt"]}


def test_a_monitor_has_one_query(server: "Server", dataset: str) -> None:
    answer = server.client.post("/v2/monitors", json=body_of(dataset, mplQuery="metrics:x"))
    assert answer.status_code == 400
    assert answer.json()["message"] == "aplQuery and mplQuery are mutually exclusive, provide only one"


def test_the_history_of_several_monitors_is_a_table_by_columns(server: "Server", dataset: str) -> None:
    server.ingest(dataset, [{"status": 500}, {"status": 503}])
    alerting, calm = create(server, dataset), create(server, dataset, threshold=100)
    after_a_run(server, alerting)
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


def test_a_monitor_that_is_deleted_is_gone_with_its_history(server: "Server", dataset: str) -> None:
    made = create(server, dataset)
    path = f"/v2/monitors/{made['id']}"

    assert server.client.delete(path).status_code == 204
    for method, under in (("GET", ""), ("DELETE", ""), ("PUT", ""), ("GET", "/history")):
        answer = server.client.request(method, path + under, json=body_of(dataset) if method == "PUT" else None)
        assert (answer.status_code, "not found" in answer.json()["message"]) == (404, True)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"name": ""}, "a monitor has a name"),
        ({"aplQuery": "demo | frobnicate x"}, "frobnicate"),
        ({"aplQuery": "['no-such-dataset'] | count"}, "aplQuery: dataset 'no-such-dataset' not found"),
        ({"notifierIds": ["no-such-notifier"]}, "there is no such notifier"),
        ({"operator": "Over"}, "it may be Below, BelowOrEqual, Above, AboveOrEqual"),
    ],
)
def test_what_is_no_monitor_is_400(server: "Server", dataset: str, more: dict[str, Any], message: str) -> None:
    answer = server.client.post("/v2/monitors", json=body_of(dataset, **more))
    assert answer.status_code == 400
    assert message in answer.json()["message"]


def test_a_token_cannot_ask_by_a_monitor_what_it_may_not_query(server: "Server", dataset: str) -> None:
    other = server.create(f"{dataset}-other")
    server.ingest(other, [{"status": 500}] * 3)
    capabilities = {
        "datasetCapabilities": {dataset: {"query": ["read"]}},
        "orgCapabilities": {"monitors": ["create", "read", "update"]},
    }
    token = server.client.post("/v2/tokens", json={"name": dataset, **capabilities}).json()["token"]
    headers = {"Authorization": f"Bearer {token}"}
    with httpx.Client(base_url=server.url, headers=headers, trust_env=False) as client:
        assert client.post("/v2/monitors", json=body_of(other)).status_code == 403
        # A pattern reaches what there is when it runs: of that, only what the token might read.
        pattern = f"union {dataset}* | summarize n = count()"
        made = client.post("/v2/monitors", json=body_of(dataset, aplQuery=pattern, threshold=0)).json()
        assert after_a_run(server, made)["open"] == []
        whole = create(server, dataset, aplQuery=pattern, threshold=0)
        assert after_a_run(server, whole)["open"] == [""]
        # "*" does not mean the audit trail, which says that the dataset was made.
        capabilities["datasetCapabilities"] = {"*": {"query": ["read"]}}
        every = server.client.post("/v2/tokens", json={"name": dataset, **capabilities}).json()["token"]
        trail = body_of(dataset, aplQuery=f"union * | where ['resource.id'] == '{other}' | count", threshold=0)
        made = client.post("/v2/monitors", json=trail, headers={"Authorization": f"Bearer {every}"}).json()
        assert after_a_run(server, made)["open"] == []
        assert after_a_run(server, server.client.post("/v2/monitors", json=trail).json())["open"] == [""]
        # Whoever changes it answers for what it reads.
        assert client.put(f"/v2/monitors/{whole['id']}", json=body_of(other)).status_code == 403


def test_a_private_address_is_not_called_and_the_history_says_so(server: "Server", dataset: str) -> None:
    hook = {"name": dataset, "properties": {"webhook": {"url": server.url}}}
    notifier = server.client.post("/v2/notifiers", json=hook).json()["id"]
    server.ingest(dataset, [{"status": 500}] * 2)
    made = create(server, dataset, notifierIds=[notifier])

    wait_until(lambda: len(standing(server, made)["history"]) == 2)
    opened, failed = standing(server, made)["history"]
    assert (opened["kind"], opened["value"], opened["group"]) == ("open", 2, "")
    assert (failed["kind"], failed["notifierId"], failed["attempts"]) == ("failed", notifier, 1)
    assert "127.0.0.1, which is not public (the setting outgoing_private allows it)" in failed["text"]
    assert failed["checkId"] == opened["checkId"]


def test_the_history_is_of_the_time_asked_for(server: "Server", dataset: str) -> None:
    server.ingest(dataset, [{"status": 500}] * 2)
    made = create(server, dataset)
    wait_until(lambda: bool(standing(server, made)["history"]))
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

    made = create(server, dataset, aplQuery=query, threshold=60, notifyByGroup=True)

    assert sorted(after_a_run(server, made)["open"]) == ["service=a", "service=c"]


def test_the_column_that_is_named_is_looked_at(server: "Server", dataset: str) -> None:
    server.ingest(dataset, [{"ms": 50}])
    query = f"['{dataset}'] | summarize low = min(ms) / 10, high = max(ms)"
    low = create(server, dataset, aplQuery=query, threshold=20, columnName="low")
    every = create(server, dataset, aplQuery=query, threshold=20)

    assert after_a_run(server, low)["open"] == []
    assert after_a_run(server, every)["open"] == [""]


def test_no_data_alerts_where_it_is_asked_for(server: "Server", dataset: str) -> None:
    query = f"['{dataset}'] | summarize avg(ms)"
    made = create(server, dataset, aplQuery=query, alertOnNoData=True)
    history = after_a_run(server, made)["history"]
    assert [(each["kind"], each["text"]) for each in history] == [("open", "The query has no data")]


def test_matching_events_are_in_the_history(server: "Server", dataset: str) -> None:
    server.ingest(dataset, [{"n": 1, "http": {"status": 500}}, {"n": 2, "http": {"status": 200}}])
    query = f"['{dataset}'] | where ['http.status'] >= 500 | project _time, n, http.status"
    made = create(server, dataset, type="MatchEvent", aplQuery=query, operator=None)
    [entry] = after_a_run(server, made)["history"]
    assert entry["kind"] == "open"
    assert '"n":1,"http.status":500' in entry["text"]


def test_an_anomaly_is_found_among_the_days_before(server: "Server", dataset: str) -> None:
    now = datetime.now(UTC)
    past = [{"_time": (now - timedelta(days=day, seconds=20)).isoformat()} for day in (1, 2, 3)]
    server.ingest(dataset, past * 10 + [{"_time": (now - timedelta(seconds=20)).isoformat()}] * 20)
    more = {"type": "AnomalyDetection", "operator": "AboveOrBelow", "compareDays": 3, "rangeMinutes": 10}
    query = f"['{dataset}'] | summarize count()"

    found = create(server, dataset, aplQuery=query, tolerance=50, **more)
    tolerated = create(server, dataset, aplQuery=query, tolerance=100, **more)

    assert "is above the expected value of 10 by more than 50%" in after_a_run(server, found)["history"][0]["text"]
    assert after_a_run(server, tolerated)["history"] == []
    assert standing(server, tolerated)["error"] == ""


def test_an_error_of_a_run_is_in_the_history(server: "Server", dataset: str) -> None:
    gone = server.create(f"{dataset}-gone")
    made = create(server, gone, disabled=True)
    server.client.delete(f"/v2/datasets/{gone}")
    again = server.client.put(f"/v2/monitors/{made['id']}", json=made | {"disabled": False})
    assert again.status_code == 400
    made = create(server, dataset, aplQuery=None, mplQuery="metrics:x")
    stands = after_a_run(server, made)
    assert [each["kind"] for each in stands["history"]] == ["error"]
    assert "does not run MPL" in stands["error"]


def test_what_axioms_go_client_and_terraform_send_is_taken(server: "Server", dataset: str) -> None:
    zero = "0001-01-01T00:00:00Z"
    made_by = {"createdAt": zero, "createdBy": "", "updatedAt": zero}
    hook = {"URL": "https://example.com/x", "Headers": None, "Body": "{{.Title}}"}
    notifier = server.client.post(
        "/v2/notifiers",
        json={"id": "", "name": "n", "disabledUntil": zero, "properties": {"customWebhook": hook}, **made_by},
    ).json()
    assert notifier["properties"] == {"customWebhook": {"url": "https://example.com/x", "body": "{{.Title}}"}}

    made = create(
        server,
        dataset,
        createdAt=zero,
        createdBy="",
        disabled=True,
        disabledUntil=zero,
        triggerFromNRuns=1,
        notifierIDs=[notifier["id"]],
        alertOnNoData=False,
        resolvable=False,
    )
    assert (made["notifierIds"], "disabledUntil" in made) == ([notifier["id"]], False)
    sent_back = server.client.put(f"/v2/monitors/{made['id']}", json={**body_of(dataset), "notifierIDs": None})
    assert sent_back.json()["notifierIds"] == []
