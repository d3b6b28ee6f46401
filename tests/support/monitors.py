"""Monitors of a real server: making one, and its status once it has run."""

from typing import TYPE_CHECKING, Any

from support.waiting import wait_until

if TYPE_CHECKING:
    from conftest import Server


def monitor_body(dataset: str, **more: Any) -> dict[str, Any]:
    query = f"['{dataset}'] | where status >= 500 | summarize count()"
    rare = {"intervalMinutes": 1440, "rangeMinutes": 10}  # so that no monitor runs more than once beside other tests
    return {"name": dataset, "type": "Threshold", "aplQuery": query, "operator": "Above", "threshold": 1} | rare | more


def create_monitor(server: "Server", dataset: str, **more: Any) -> dict[str, Any]:
    answer = server.client.post("/v2/monitors", json=monitor_body(dataset, **more))
    assert answer.status_code == 200, answer.text
    monitor: dict[str, Any] = answer.json()
    return monitor


def monitor_status(server: "Server", monitor: dict[str, Any], **params: str) -> dict[str, Any]:
    answer = server.client.get(f"/tailrace/v1/monitors/{monitor['id']}", params=params)
    assert answer.status_code == 200, answer.text
    status: dict[str, Any] = answer.json()
    return status


def status_after_a_run(server: "Server", monitor: dict[str, Any]) -> dict[str, Any]:
    wait_until(lambda: monitor_status(server, monitor)["lastRun"] is not None)
    return monitor_status(server, monitor)
