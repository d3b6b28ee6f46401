"""Control characters in names and descriptions are refused, whatever they are of."""

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from conftest import Server

BODIES: dict[str, dict[str, Any]] = {
    "/v2/tokens": {"name": "{}", "description": "", "orgCapabilities": {"datasets": ["read"]}},
    "/v2/users": {"name": "{}", "email": "{}@example.com"},
    "/v2/orgs": {"name": "{}"},
    "/v2/rbac/roles": {"name": "{}", "description": ""},
    "/v2/rbac/groups": {"name": "{}", "description": ""},
    "/v2/datasets": {"name": "{}-new", "description": ""},
    "/v2/annotations": {"type": "deploy", "datasets": ["{}"], "title": "", "description": "", "url": ""},
    "/v2/vfields": {"dataset": "{}", "name": "v", "expression": "1", "description": "", "type": "", "unit": ""},
    "/v2/apl-starred-queries": {"name": "{}", "query": {"apl": "x"}},
    "/v2/views": {"name": "{}", "aplQuery": "x", "description": ""},
    "/v2/monitors": {"name": "{}", "description": "", "aplQuery": "['{}'] | count", "operator": "Above"},
    "/v2/notifiers": {"name": "{}", "properties": {"webhook": {"url": "https://example.com"}}},
    "/v2/datasets/{}/mapfields": {"name": "m"},
    "/v1/tokens/personal": {"name": "{}", "description": ""},
    "/v1/tokens/ingest": {"name": "{}", "description": "", "scopes": ["{}"]},
    "/tailrace/v1/keys": {"protocol": "moesif", "name": "{}", "dataset": "{}"},
}
MEMBERS = ("name", "description", "email", "title", "url", "expression", "type", "unit", "aplQuery")


def filled(value: Any, name: str) -> Any:
    if isinstance(value, dict):
        return {key: filled(each, name) for key, each in value.items()}
    if isinstance(value, list):
        return [filled(each, name) for each in value]
    return value.replace("{}", name) if isinstance(value, str) else value


@pytest.mark.parametrize("path", BODIES)
def test_a_control_character_is_refused(server: "Server", dataset: str, path: str) -> None:
    body = filled(BODIES[path], dataset)

    for member in (each for each in MEMBERS if each in body):
        answer = server.client.post(path.replace("{}", dataset), json={**body, member: f"{body[member]}\0"})
        assert answer.status_code == 400, (member, answer.text)
    if "description" in body:
        answer = server.client.post(path, json={**body, "description": "one\ntwo\x1b[2J"})
        assert (answer.status_code, "U+001B" in answer.text) == (400, True)


def test_a_control_character_is_refused_in_a_change(server: "Server", dataset: str) -> None:
    server.ingest(dataset, [{"n": 1}])
    token = server.client.post("/v2/tokens", json=filled(BODIES["/v2/tokens"], dataset)).json()["id"]
    for path, body in (
        (f"/v2/tokens/{token}", {"name": "\r"}),
        (f"/v2/tokens/{token}", {"description": "\0"}),
        ("/v2/user", {"name": "\x9b"}),
        (f"/v2/datasets/{dataset}", {"description": "\0"}),
        (f"/v2/datasets/{dataset}/fields/n", {"unit": "\n"}),
        (f"/v2/datasets/{dataset}/fields/n", {"description": "\0"}),
        (f"/v2/datasets/{dataset}/mapfields", ["a\0"]),
    ):
        assert server.client.put(path, json=body).status_code == 400, (path, body)
    dashboard = {"dashboard": {"name": "a\0"}}
    assert server.client.post("/v2/dashboards", json=dashboard).status_code == 400
    assert server.client.put(f"/v2/tokens/{token}", json={"description": "one\ntwo"}).status_code == 200
