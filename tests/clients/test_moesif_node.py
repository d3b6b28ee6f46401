"""Moesif's middleware for Node.js, unmodified, on an HTTP server: the calls that it logs come back."""

from typing import TYPE_CHECKING, Any

import pytest
from support.events import flat
from support.moesif import Application
from support.node import needs_node, run_program

if TYPE_CHECKING:
    from conftest import Server


pytestmark = needs_node


@pytest.fixture
def application(server: "Server") -> Application:
    return Application(server)


def run(application: Application, calls: list[dict[str, Any]], updates: Any = (), pause_ms: int = 0) -> dict[str, Any]:
    """Return what the program tells of its work."""
    task = {
        "url": application.server.url,
        "key": application.key,
        "calls": calls,
        "updates": list(updates),
        "pause": pause_ms,
    }
    told: dict[str, Any] = run_program("moesif.mjs", task, timeout_s=90)
    assert set(told["statuses"]) <= {200, 201}, told
    return told


def test_calls_of_a_server(application: Application) -> None:
    calls: list[dict[str, Any]] = [
        {"method": "GET", "path": "/hello?page=2", "headers": {"x-kind": "first"}},
        {"method": "POST", "path": "/things", "headers": {"content-type": "application/json"}, "body": '{"a":[1,2.5]}'},
        {"method": "GET", "path": "/missing"},
    ]
    told = run(application, calls)

    assert told["sent"] == 3
    first, second, third = application.stored(order='"request.time"')
    assert first["request.verb"] == "GET"
    assert first["request.uri"].endswith("/hello?page=2")
    assert first["request.headers.x-kind"] == "first"
    assert first["request.ip_address"] == "127.0.0.1"
    assert first["response.status"] == ("int", 200)
    assert first["response.headers.x-moesif-transaction-id"]
    assert {name: first[name] for name in ("user_id", "company_id", "direction", "metadata.deep.er", "event_type")} == {
        "user_id": "u1",
        "company_id": "c1",
        "direction": "Incoming",
        "metadata.deep.er": ("int", 1),
        "event_type": "api_call",
    }
    assert second["request.verb"] == "POST"
    assert second["request.body.a"] == [("int", 1), ("float", 2.5)]
    assert second["response.body.got.a"] == [("int", 1), ("float", 2.5)]
    assert third["response.status"] == ("int", 404)


def test_configuration_is_asked_for_only_as_often_as_needed(application: Application) -> None:
    told = run(application, [{"method": "GET", "path": f"/{number}"} for number in range(10)], pause_ms=250)

    assert told["seen"]["GET /v1/config"] <= 4
    assert told["seen"]["GET /v1/rules"] == 1
    assert application.count() == 10


def test_updates_and_actions(application: Application) -> None:
    updates = [
        ["updateUser", {"userId": "u1", "companyId": "c1", "metadata": {"email": "a@example.com", "deep": {"x": 1}}}],
        ["updateUsersBatch", [{"userId": "u1", "metadata": {"deep": {"y": 2}}}, {"userId": "u2"}]],
        ["updateCompany", {"companyId": "c1", "companyDomain": "example.com", "metadata": {"n": 1}}],
        ["updateCompaniesBatch", [{"companyId": "c1", "metadata": {"m": 2}}]],
        ["updateSubscription", {"subscriptionId": "s1", "companyId": "c1", "status": "active"}],
        ["updateSubscriptionsBatch", [{"subscriptionId": "s1", "companyId": "c1", "status": "paused"}]],
        [
            "sendAction",
            {
                "actionName": "Clicked",
                "userId": "u1",
                "request": {"uri": "https://example.com/", "time": "2026-08-16T09:21:56.998Z"},
                "metadata": {"button": "Buy"},
            },
        ],
    ]
    told = run(application, [], updates)

    assert told["statuses"].count(201) == len(updates)
    users = application.stored("users", "user_id")
    assert [user["user_id"] for user in users] == ["u1", "u2"]
    assert {path: value for path, value in users[0].items() if path.startswith("metadata")} == flat(
        {"metadata": {"email": "a@example.com", "deep": {"x": 1, "y": 2}}}
    )
    [company] = application.stored("companies")
    assert (company["company_domain"], company["metadata.n"], company["metadata.m"]) == (
        "example.com",
        ("int", 1),
        ("int", 2),
    )
    [subscription] = application.stored("subscriptions")
    assert (subscription["subscription_id"], subscription["status"]) == ("s1", "paused")
    [action] = application.stored(times=True)
    assert action["event_type"] == "action"
    assert action["action_name"] == "Clicked"
    assert action["metadata.button"] == "Buy"
    assert action["_time"] == "2026-08-16T09:21:56.998Z"
