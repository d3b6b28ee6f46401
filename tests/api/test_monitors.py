"""Monitors over HTTP, and what they do on a server that may not call this machine."""

from typing import TYPE_CHECKING, Any

import httpx
import pytest
from support.monitors import create_monitor, monitor_body, status_after_a_run

if TYPE_CHECKING:
    from conftest import Server


def test_a_monitor_is_the_same_object_when_made_got_and_listed(server: "Server", dataset: str) -> None:
    made = create_monitor(server, dataset, disabled=True, triggerFromNRuns=1)

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
    made = create_monitor(server, dataset, disabled=True, description="why", disabledUntil="2100-01-01T00:00:00Z")
    path = f"/v2/monitors/{made['id']}"

    changed = server.client.put(path, json={**made, "threshold": 2.5, "type": "MatchEvent", "operator": ""}).json()

    expected = {**made, "threshold": 2.5, "type": "MatchEvent", "updatedAt": changed["updatedAt"]}
    del expected["operator"]
    assert changed == expected == server.client.get(path).json()


def test_a_query_in_mpl_is_kept_and_echoed(server: "Server", dataset: str) -> None:
    made = create_monitor(server, dataset, aplQuery=None, mplQuery="metrics:x", disabled=True)
    assert made["aplQuery"] == "metrics:x"
    assert "mplQuery" not in made  # as Axiom answers: its Go client asserts that it is empty
    changed = server.client.put(f"/v2/monitors/{made['id']}", json={**made, "name": "m"})
    assert changed.json() == {**made, "name": "m", "updatedAt": changed.json()["updatedAt"]}


def test_a_monitor_has_one_query(server: "Server", dataset: str) -> None:
    answer = server.client.post("/v2/monitors", json=monitor_body(dataset, mplQuery="metrics:x"))
    assert answer.status_code == 400
    assert answer.json()["message"] == "aplQuery and mplQuery are mutually exclusive, provide only one"


def test_a_monitor_that_is_deleted_is_gone_with_its_history(server: "Server", dataset: str) -> None:
    made = create_monitor(server, dataset)
    path = f"/v2/monitors/{made['id']}"

    assert server.client.delete(path).status_code == 204
    for method, under in (("GET", ""), ("DELETE", ""), ("PUT", ""), ("GET", "/history")):
        answer = server.client.request(method, path + under, json=monitor_body(dataset) if method == "PUT" else None)
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
    answer = server.client.post("/v2/monitors", json=monitor_body(dataset, **more))
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
        assert client.post("/v2/monitors", json=monitor_body(other)).status_code == 403
        # A pattern reaches what there is when it runs: of that, only what the token might read.
        pattern = f"union {dataset}* | summarize n = count()"
        made = client.post("/v2/monitors", json=monitor_body(dataset, aplQuery=pattern, threshold=0)).json()
        assert status_after_a_run(server, made)["open"] == []
        whole = create_monitor(server, dataset, aplQuery=pattern, threshold=0)
        assert status_after_a_run(server, whole)["open"] == [""]
        # "*" does not mean the audit trail, which says that the dataset was made.
        capabilities["datasetCapabilities"] = {"*": {"query": ["read"]}}
        every = server.client.post("/v2/tokens", json={"name": dataset, **capabilities}).json()["token"]
        trail = monitor_body(dataset, aplQuery=f"union * | where ['resource.id'] == '{other}' | count", threshold=0)
        made = client.post("/v2/monitors", json=trail, headers={"Authorization": f"Bearer {every}"}).json()
        assert status_after_a_run(server, made)["open"] == []
        assert status_after_a_run(server, server.client.post("/v2/monitors", json=trail).json())["open"] == [""]
        # Whoever changes it answers for what it reads.
        assert client.put(f"/v2/monitors/{whole['id']}", json=monitor_body(other)).status_code == 403


def test_what_axioms_go_client_and_terraform_send_is_taken(server: "Server", dataset: str) -> None:
    zero = "0001-01-01T00:00:00Z"
    made_by = {"createdAt": zero, "createdBy": "", "updatedAt": zero}
    hook = {"URL": "https://example.com/x", "Headers": None, "Body": "{{.Title}}"}
    notifier = server.client.post(
        "/v2/notifiers",
        json={"id": "", "name": "n", "disabledUntil": zero, "properties": {"customWebhook": hook}, **made_by},
    ).json()
    assert notifier["properties"] == {"customWebhook": {"url": "https://example.com/x", "body": "{{.Title}}"}}

    made = create_monitor(
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
    sent_back = server.client.put(f"/v2/monitors/{made['id']}", json={**monitor_body(dataset), "notifierIDs": None})
    assert sent_back.json()["notifierIds"] == []
