"""Monitors of a real server: an event in, the notifiers told, the history kept, over a restart too."""

from typing import TYPE_CHECKING, Any

from support.monitors import monitor_status
from support.receivers import http_receiver, mailbox
from support.waiting import wait_until

if TYPE_CHECKING:
    from conftest import MakeServer, Server


def create(server: "Server", path: str, **body: Any) -> dict[str, Any]:
    answer = server.client.post(path, json=body)
    assert answer.status_code == 200, answer.text
    thing: dict[str, Any] = answer.json()
    return thing


def run_again(server: "Server", monitor: dict[str, Any], **changes: Any) -> None:
    """Have a monitor run at once, as it does when it is changed."""
    before = monitor_status(server, monitor)["lastRun"]
    answer = server.client.put(f"/v2/monitors/{monitor['id']}", json=monitor | changes)
    assert answer.status_code == 200, answer.text
    wait_until(lambda: monitor_status(server, monitor)["lastRun"] not in (before, None))


def kinds(server: "Server", monitor: dict[str, Any]) -> list[str]:
    return [each["kind"] for each in monitor_status(server, monitor)["history"]]


def test_a_monitor_tells_when_it_triggers_and_when_it_resolves(make_server: "MakeServer") -> None:
    with http_receiver() as http, mailbox() as box:
        options = [
            "--outgoing-private=true",
            "--smtp-host=127.0.0.1",
            f"--smtp-port={box.port}",
            "--smtp-security=none",
        ]
        server = make_server(*options, "--smtp-from=alerts@example.com").start()
        hook = create(server, "/v2/notifiers", name="hook", properties={"webhook": {"url": f"{http.url}/hook"}})
        mail = create(server, "/v2/notifiers", name="mail", properties={"email": {"emails": ["ops@example.com"]}})
        server.ingest("demo", [{"status": 500}, {"status": 500}, {"status": 200}])
        monitor = create(
            server,
            "/v2/monitors",
            name="Errors",
            type="Threshold",
            aplQuery="demo | where status >= 500 | summarize count()",
            operator="Above",
            threshold=1,
            intervalMinutes=1,
            rangeMinutes=5,
            notifierIds=[hook["id"], mail["id"]],
        )

        [opened] = http.wait_for(1)
        wait_until(lambda: len(box.mails) == 1)
        body = "Current value of 2 is above the threshold value of 1"
        assert opened.path == "/hook"
        assert opened.json["action"] == "Open"
        assert {key: opened.json["event"][key] for key in ("monitorID", "title", "body", "value", "matchedEvent")} == {
            "monitorID": monitor["id"],
            "title": "Errors",
            "body": body,
            "value": 2,
            "matchedEvent": None,
        }
        to, sent = box.mails[0]
        assert (to, sent["From"], sent["Subject"]) == (["ops@example.com"], "alerts@example.com", "[Triggered] Errors")
        assert body in sent.get_content()
        wait_until(lambda: kinds(server, monitor).count("delivered") == 2)

        metrics = server.client.get("/metrics").text
        assert 'tailrace_monitor_runs_total{result="ok"} 1.0' in metrics
        assert 'tailrace_notifications_total{result="delivered"} 2.0' in metrics

        server.stop()
        server.start()
        assert monitor_status(server, monitor)["open"] == [""]
        run_again(server, monitor, threshold=10)

        assert http.wait_for(2)[1].json["action"] == "Closed"
        wait_until(lambda: len(box.mails) == 2)
        wait_until(lambda: kinds(server, monitor).count("delivered") == 4)
        alerts = server.client.get(
            f"/v2/monitors/{monitor['id']}/history",
            params={"startTime": "2020-01-01T00:00:00Z", "endTime": "2100-01-01T00:00:00Z"},
        ).json()
        assert [(set(each), each["name"], each["state"]) for each in alerts] == [
            ({"checkId", "name", "state", "timestamp"}, "Errors", state) for state in ("open", "closed")
        ]
        assert alerts[0]["checkId"] == alerts[1]["checkId"]
        assert monitor_status(server, monitor)["open"] == []


def test_a_notifier_is_tested_in_one_attempt_whose_result_is_told(make_server: "MakeServer") -> None:
    with http_receiver() as http:
        server = make_server("--outgoing-private=true").start()
        hook = create(server, "/v2/notifiers", name="hook", properties={"webhook": {"url": f"{http.url}/hook"}})
        stored = create(
            server, "/v2/notifiers", name="chat", properties={"discord": {"discordChannel": "c", "discordToken": "t"}}
        )

        assert create(server, f"/tailrace/v1/notifiers/{hook['id']}/test") == {"delivered": True, "reason": ""}
        [request] = http.requests
        assert (request.path, request.json["event"]["title"]) == ("/hook", "Test")
        assert "This is a test" in request.json["event"]["body"]
        http.statuses = [500]
        failed = create(server, f"/tailrace/v1/notifiers/{hook['id']}/test")
        assert not failed["delivered"]
        assert "answered 500" in failed["reason"]
        assert len(http.requests) == 2
        assert not create(server, f"/tailrace/v1/notifiers/{stored['id']}/test")["delivered"]
        assert server.client.post("/tailrace/v1/notifiers/none/test").status_code == 404
