"""Several clients change one thing at once: what is answered as done is there."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from support import http

if TYPE_CHECKING:
    from conftest import Server

CLIENTS = 8


def at_once(server: "Server", requests: Sequence[tuple[str, str, Any]]) -> list[httpx.Response]:
    """Return the answers to requests (method, path, body) that are sent at the same time, each over its own
    connection.
    """
    headers = {"Authorization": f"Bearer {server.token}"}

    def send(request: tuple[str, str, Any]) -> httpx.Response:
        method, path, body = request
        return http.request(method, server.url + path, json=body, headers=headers)

    with ThreadPoolExecutor(len(requests)) as threads:
        return list(threads.map(send, requests))


def made(server: "Server", path: str, body: dict[str, Any]) -> dict[str, Any]:
    answer = server.client.post(path, json=body)
    assert answer.status_code in (200, 201), answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_each_member_of_an_annotation_is_as_its_last_change_left_it(server: "Server", dataset: str) -> None:
    first = made(server, "/v2/annotations", {"type": "deploy", "datasets": [dataset]})
    path = f"/v2/annotations/{first['id']}"
    for number in range(4):
        changes = {"title": f"t{number}", "description": f"d{number}", "url": f"u{number}", "type": f"type{number}"}
        answers = at_once(server, [("PUT", path, {name: value}) for name, value in changes.items()])

        assert [answer.status_code for answer in answers] == [200] * 4
        for answer, (name, value) in zip(answers, changes.items(), strict=True):
            assert answer.json()[name] == value
        assert server.client.get(path).json() == first | changes


def test_each_member_of_a_field_is_as_its_last_change_left_it(server: "Server", dataset: str) -> None:
    server.ingest(dataset, [{"took": 1}])
    path = f"/v2/datasets/{dataset}/fields/took"
    for number in range(4):
        changes = {"unit": f"u{number}", "description": f"d{number}", "hidden": number % 2 == 0}
        answers = at_once(server, [("PUT", path, {name: value}) for name, value in changes.items()])

        assert [answer.status_code for answer in answers] == [200] * 3
        shown = server.client.get(path).json()
        assert {name: shown[name] for name in changes} == changes


def test_each_chart_of_a_dashboard_is_as_its_last_change_left_it(server: "Server", dataset: str) -> None:
    charts = [{"id": f"c{number}"} for number in range(CLIENTS)]
    uid = made(server, "/v2/dashboards", {"dashboard": {"name": dataset, "charts": charts}})["dashboard"]["uid"]

    path = f"/v2/dashboards/uid/{uid}/charts"
    answers = at_once(
        server, [("PATCH", f"{path}/{chart['id']}", {"chart": {"name": chart["id"]}}) for chart in charts]
    )

    assert [answer.status_code for answer in answers] == [200] * CLIENTS
    shown = server.client.get(f"/v2/dashboards/uid/{uid}").json()
    assert [chart.get("name") for chart in shown["dashboard"]["charts"]] == [chart["id"] for chart in charts]
    assert shown["version"] == 1 + CLIENTS


def test_of_changes_to_one_version_of_a_dashboard_one_is_taken(server: "Server", dataset: str) -> None:
    uid = made(server, "/v2/dashboards", {"dashboard": {"name": dataset}})["dashboard"]["uid"]
    bodies = [{"dashboard": {"name": f"{dataset}-{number}"}, "version": 1} for number in range(CLIENTS)]

    answers = at_once(server, [("PUT", f"/v2/dashboards/uid/{uid}", body) for body in bodies])

    assert sorted(answer.status_code for answer in answers) == [200] + [412] * (CLIENTS - 1)
    [taken] = [answer.json()["dashboard"] for answer in answers if answer.status_code == 200]
    assert server.client.get(f"/v2/dashboards/uid/{uid}").json() == taken


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v2/views", {"name": "{}", "aplQuery": "x"}),
        ("/v2/vfields", {"dataset": "{}", "name": "v", "expression": "1"}),
        ("/v2/users", {"name": "{}", "email": "{}@example.com"}),
        ("/v2/rbac/roles", {"name": "{}"}),
        ("/v2/rbac/groups", {"name": "{}"}),
        ("/v2/datasets/{}/mapfields", {"name": "m"}),
        ("/v2/datasets", {"name": "{}-new"}),
        ("/v2/dashboards", {"uid": "{}", "dashboard": {"name": "x"}}),
        ("/tailrace/v1/keys", {"protocol": "moesif", "name": "k", "dataset": "{}", "key": "{}-" + "k" * 60}),
    ],
)
def test_of_those_who_take_one_name_one_has_it(server: "Server", dataset: str, path: str, body: dict[str, str]) -> None:
    body = {name: value.replace("{}", dataset) if isinstance(value, str) else value for name, value in body.items()}

    answers = at_once(server, [("POST", path.replace("{}", dataset), body)] * CLIENTS)

    statuses = sorted(answer.status_code for answer in answers)
    assert statuses[0] in (200, 201)
    assert statuses[1:] == [409] * (CLIENTS - 1)


@pytest.mark.parametrize("area", ["views", "notifiers", "apl-starred-queries", "tokens"])
def test_the_answer_to_a_change_is_that_change(server: "Server", dataset: str, area: str) -> None:
    bodies: dict[str, dict[str, Any]] = {
        "views": {"aplQuery": f"['{dataset}']"},
        "notifiers": {"properties": {"webhook": {"url": "https://example.com"}}},
        "apl-starred-queries": {"query": {"apl": f"['{dataset}']"}},
        "tokens": {"orgCapabilities": {"datasets": ["read"]}},
    }
    path = f"/v2/{area}/{made(server, f'/v2/{area}', {'name': dataset, **bodies[area]})['id']}"
    names = [f"{dataset}-{number}" for number in range(CLIENTS)]

    answers = at_once(server, [("PUT", path, {"name": name, **bodies[area]}) for name in names])

    assert [answer.json().get("name") for answer in answers] == names
    assert server.client.get(path).json() in [answer.json() for answer in answers]
