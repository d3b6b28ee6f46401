"""Users over HTTP, and what a token that may not read them learns of people."""

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from conftest import Server


def user(server: "Server", name: str, role: str = "user") -> str:
    answer = server.client.post("/v2/users", json={"name": name, "email": f"{name}@example.com", "role": role})
    assert answer.status_code == 200, answer.text
    made: str = answer.json()["id"]
    return made


def bearer(server: "Server", **capabilities: Any) -> dict[str, str]:
    answer = server.client.post("/v2/tokens", json={"name": "in a browser", **capabilities})
    assert answer.status_code == 200, answer.text
    return {"Authorization": f"Bearer {answer.json()['token']}"}


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_a_user_is_called_something_else(server: "Server", version: str) -> None:
    member = user(server, f"users-before-{version}")

    changed = server.client.put(f"/{version}/users/{member}", json={"name": "After"})

    assert changed.status_code == 200
    shown = changed.json()
    assert (shown["id"], shown["name"], shown["email"]) == (member, "After", f"users-before-{version}@example.com")
    assert server.client.get(f"/v2/users/{member}").json() == shown
    assert server.client.put(f"/v2/users/{member}", json={"name": ""}).status_code == 400
    assert server.client.put("/v2/users/nobody", json={"name": "After"}).status_code == 404


def test_nobody_renames_who_is_above_them(server: "Server") -> None:
    admin, owner = user(server, "users-admin", "admin"), user(server, "users-owner", "owner")
    made = server.client.post(f"/tailrace/v1/users/{admin}/tokens", json={"name": "t"}).json()
    headers = {"Authorization": f"Bearer {made['token']}"}

    assert server.client.put(f"/v2/users/{owner}", json={"name": "x"}, headers=headers).status_code == 403
    assert server.client.put(f"/v2/users/{admin}", json={"name": "users-self"}, headers=headers).status_code == 200


def test_a_token_that_may_not_read_users_learns_nothing_of_people(server: "Server", dataset: str) -> None:
    user(server, "users-boss", "owner")
    people = server.client.get("/v2/users").json()
    known = {text for each in people for text in (each["name"], each["email"]) if text}
    rights = {"datasetCapabilities": {dataset: {"ingest": ["create"]}}}
    sender, reader = bearer(server, **rights), bearer(server, **rights, orgCapabilities={"users": ["read"]})
    paths = ("/v2/orgs", "/v2/orgs/tailrace", "/v2/user", "/v1/user", "/api/v1/user")

    for path in paths:
        answer = server.client.get(path, headers=sender)
        assert answer.status_code == 200
        assert [text for text in known if f'"{text}"' in answer.text] == [], path
    assert server.client.get("/v2/user", headers=sender).json()["name"] == "in a browser"
    assert "@example.com" in server.client.get("/v2/orgs", headers=reader).text
    assert "@example.com" in server.client.get("/v2/orgs").text
