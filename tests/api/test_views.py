"""Views over HTTP."""

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from conftest import Server

PATH = "/v2/views"


def body(name: str, **more: Any) -> dict[str, Any]:
    query = "['demo'] | where level == 'error'"
    return {"name": name, "aplQuery": query, "description": "d", "datasets": ["demo"], **more}


def test_one_is_the_same_when_made_read_listed_and_changed(server: "Server") -> None:
    made = server.client.post(PATH, json=body("view-same")).json()

    assert made == {"id": made["id"], **body("view-same")}
    assert server.client.get(f"{PATH}/{made['id']}").json() == made
    assert made in server.client.get(PATH).json()
    changed = server.client.put(f"{PATH}/{made['id']}", json=body("view-same", description="e")).json()
    assert changed == {**made, "description": "e"}
    assert server.client.get(f"{PATH}/{made['id']}").json() == changed
    assert server.client.delete(f"{PATH}/{made['id']}").status_code == 204
    for ask in (server.client.get, server.client.delete):
        assert ask(f"{PATH}/{made['id']}").status_code == 404
    assert server.client.put(f"{PATH}/{made['id']}", json=body("view-same")).status_code == 404


def test_a_name_that_is_taken_is_409(server: "Server") -> None:
    assert server.client.post(PATH, json=body("view-taken")).status_code == 200
    other = server.client.post(PATH, json=body("view-other")).json()

    assert server.client.post(PATH, json=body("view-taken")).status_code == 409
    assert server.client.put(f"{PATH}/{other['id']}", json=body("view-taken")).status_code == 409


@pytest.mark.parametrize(
    "change", [{"name": ""}, {"name": "x" * 129}, {"aplQuery": ""}, {"aplQuery": "['demo'] | where"}]
)
def test_what_is_no_view_is_400(server: "Server", change: dict[str, Any]) -> None:
    assert server.client.post(PATH, json={**body("view-bad"), **change}).status_code == 400
